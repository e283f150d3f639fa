"""The two commands of the README, on a machine that has nothing of this one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUITE = "bookworm"
# What this machine needs to reach its registries; a fresh machine elsewhere needs none of it.
REACH = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/apt/apt.conf.d")
SETTINGS = ("PIP_", "http", "HTTP")
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making a root file system needs root"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed"),
    pytest.mark.timeout(600),
]


def mirror():
    files = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    words = [w for f in files if f.is_file() for line in f.read_text().splitlines()
             if not line.lstrip().startswith("#") for w in line.split()]  # fmt: skip
    found = [w for w in words if w.startswith("http") and w.rstrip("/").endswith("/debian")]
    return found[0] if found else "http://deb.debian.org/debian"


def copy_in(source, root):
    target = root / str(source).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(source).is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, symlinks=False)
    elif Path(source).exists():
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Make a Debian with nothing but its essential packages, and a checkout in it."""
    root = tmp_path_factory.mktemp("fresh") / "root"
    command = ["debootstrap", "--variant=minbase", SUITE, str(root), mirror()]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-2000:]
    for path in REACH:
        copy_in(path, root)
    # Under a name of its own: installing ca-certificates writes the usual one anew.
    if Path(AUTHORITIES).exists():
        shutil.copy(AUTHORITIES, root / "authorities.crt")
    for link in os.environ.get("PIP_FIND_LINKS", "").split():
        copy_in(link, root)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            target = root / "src" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    for command in ("make", "python3"):
        assert not (root / "usr/bin" / command).exists()
    return root


def inside(root, command, user=None):
    """Run a command in the root, with /proc and /dev, in a mount namespace of its own."""
    environment = {k: v for k, v in os.environ.items() if k.startswith(SETTINGS)}
    environment |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    environment |= {"PIP_CERT": "/authorities.crt", "PIP_CONFIG_FILE": "/etc/pip.conf"}
    change = f"chroot --userspec={user} ." if user else "chroot ."
    script = (
        f"cd {root} && mount -t proc proc proc && mount --rbind /dev dev && "
        f"mount --rbind /sys sys && exec {change} sh -c 'cd /src && {command}'"
    )
    return subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_ordinary_user_is_told_the_one_line_to_run(fresh):
    done = inside(fresh, "./dev setup", user="65534:65534")
    assert done.returncode == 1
    assert "sudo apt-get install" in done.stderr
    assert "python3-venv" in done.stderr


def test_both_commands_set_everything_up_and_sysdx_examines_the_host(fresh):
    first = inside(fresh, "./dev setup")
    assert first.returncode == 0, first.stderr[-3000:]
    assert inside(fresh, '/usr/bin/python3 -c "import bcc"').returncode == 0
    swept = inside(fresh, ".venv/bin/sysdx sweep --duration 1 --format text")
    assert swept.returncode in (0, 1, 2), swept.stderr[-3000:]
    assert "USE" in swept.stdout
    again = inside(fresh, "./dev setup")
    assert (again.returncode, again.stderr) == (0, "")
    tools = inside(fresh, "./dev setup_dev")
    assert tools.returncode == 0, tools.stderr[-3000:]
    collected = inside(fresh, ".venv/bin/pytest -q --collect-only tests/analysis")
    assert collected.returncode == 0, collected.stdout[-2000:]
