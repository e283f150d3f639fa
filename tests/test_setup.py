"""`./dev` sets up a machine on which nothing but the base system is installed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

REPOSITORY = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sysdx"
KEYRING_PACKAGE = "pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb"
KEYRING_SHA256 = "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8"
# Mounts live and processes die with the namespaces; the caches spare the mirrors.
ENTER = """
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
mount --bind "$2/apt" "$1/var/cache/apt/archives"
mount --bind "$2/pip" "$1/var/cache/pip"
exec chroot --userspec="$3" "$1" /bin/sh -c "cd /checkout; $4"
"""
INTERRUPT = """
setsid ./dev run --help &
until [ -e .venv/bin/pip ]; do sleep 0.1; done
kill -9 -- -$!
"""
TWO_AT_ONCE = "./dev setup & ./dev setup && wait $!"


@dataclass(frozen=True)
class Release:
    name: str
    mirror: str
    components: str
    python: str


RELEASES = (
    Release("bookworm", "http://deb.debian.org/debian", "main", "python3.11"),
    Release("noble", "http://archive.ubuntu.com/ubuntu", "main,universe", "python3.12"),
)
Machine = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a machine of its own"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed"),
]


@pytest.fixture(scope="module")
def cache() -> Iterator[Path]:
    for name in ("apt/partial", "pip"):
        (CACHE / name).mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE


@pytest.fixture(params=RELEASES, ids=lambda release: release.name)
def release(request: pytest.FixtureRequest) -> Release:
    try:
        urlopen(f"{request.param.mirror}/dists/{request.param.name}/Release", timeout=20).close()
    except OSError as error:
        pytest.skip(f"the mirror of {request.param.name} is out of reach: {error}")
    return request.param


@pytest.fixture
def machine(release: Release, cache: Path, tmp_path: Path) -> Iterator[Machine]:
    root = tmp_path / "root"
    root.mkdir()
    archive = base_system(release, cache, tmp_path)
    subprocess.run(["tar", "-xf", archive, "-C", root], check=True)
    copy_network_settings(root)
    copy_checkout(root / "checkout")
    (root / "var/cache/pip").mkdir()

    def run(script: str, user: str = "0:0") -> subprocess.CompletedProcess[str]:
        inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", ENTER]
        command = [*inside, "enter", root, cache, user, script]
        return subprocess.run(
            command,
            env=environment(),
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    yield run
    shutil.rmtree(root)


def base_system(release: Release, cache: Path, scratch: Path) -> Path:
    archive = cache / f"{release.name}.tar"
    if archive.exists():
        return archive
    root = scratch / "base"
    options = ["--variant=minbase", f"--components={release.components}", *keyring(release, cache)]
    script = "gutsy" if release.name == "noble" else release.name
    where = [release.name, str(root), release.mirror, f"/usr/share/debootstrap/scripts/{script}"]
    subprocess.run(["debootstrap", *options, *where], check=True, stdout=subprocess.DEVNULL)
    partial = archive.with_suffix(".partial")
    subprocess.run(["tar", "-cf", partial, "-C", root, "."], check=True)
    partial.rename(archive)
    shutil.rmtree(root)
    return archive


def keyring(release: Release, cache: Path) -> list[str]:
    """The archive keys of the other distribution, from a package known by its hash."""
    if release.name != "noble":
        return []
    with urlopen(f"{release.mirror}/{KEYRING_PACKAGE}", timeout=60) as answer:
        package = answer.read()
    assert hashlib.sha256(package).hexdigest() == KEYRING_SHA256
    (cache / "keyring.deb").write_bytes(package)
    subprocess.run(["dpkg-deb", "-x", cache / "keyring.deb", cache / "keyring"], check=True)
    return [f"--keyring={cache}/keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg"]


def copy_network_settings(root: Path) -> None:
    """How this machine reaches the mirrors: names, proxies, certificates."""
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    dump = subprocess.check_output(["apt-config", "dump", "Acquire"], text=True)
    lines = [line for line in dump.splitlines() if re.match("Acquire::(https?|Check-)", line)]
    (root / "etc/apt/apt.conf.d/99host").write_text("\n".join(lines) + "\n")
    for path in ("etc/pip.conf", "usr/local/share/ca-certificates", "root/.config/pip"):
        source, target = Path("/", path), root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, target)


def copy_checkout(target: Path) -> None:
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-coz", "--exclude-standard"]
    names = subprocess.check_output(listing, cwd=REPOSITORY, text=True).split("\0")
    for name in filter(None, names):
        if (source := REPOSITORY / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def environment() -> dict[str, str]:
    wanted = re.compile("PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|.*_proxy", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if wanted.fullmatch(name)}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return kept | {"PATH": path, "HOME": "/root", "PIP_CACHE_DIR": "/var/cache/pip"}


def works(machine: Machine, script: str) -> str:
    result = machine(script)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout + result.stderr


def test_an_ordinary_user_is_told_the_one_line_that_root_must_run(machine: Machine) -> None:
    assert machine("command -v python3 make pip").returncode != 0

    told = machine("./dev run", user="65534:65534")

    assert told.returncode == 1
    line = told.stdout.strip()
    assert re.fullmatch(r"apt-get update && apt-get install [a-z0-9 -]+", line)
    assert {"python3", "python3-venv", "python3-bpfcc"} <= set(line.split())
    assert machine("[ -e .venv ]").returncode != 0


def test_a_bare_machine_is_set_up_by_run_and_by_test(machine: Machine, release: Release) -> None:
    machine(INTERRUPT)
    assert machine("[ -e .venv ] && [ ! -e .venv/.ready-run ]").returncode == 0
    assert "usage: sysdx serve" in works(machine, "./dev run --help")
    assert release.python in works(machine, "ls .venv/bin")
    assert "/dist-packages/" in works(machine, ".venv/bin/python -c 'print(__import__(\"bcc\"))'")

    assert works(machine, TWO_AT_ONCE).count("setting up .venv") == 1
    works(machine, "for tool in pytest ruff mypy sysdx; do .venv/bin/$tool --help; done")
    works(machine, "promtool --version; stress-ng --version; ss --version; vmstat; sar -V")
    works(machine, ".venv/bin/python -m pip check")

    assert works(machine, "./dev setup") == ""
    works(machine, "./dev run --help && [ -e .venv/.ready-dev ]")
