"""Other versions of Prometheus: Debian's, fetched by apt into a cache and never installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sysdx" / "prometheus"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org/debian"
_PACKAGES = ("prometheus", "promtool", "prometheus-alertmanager")


class Missing(Exception):  # noqa: N818  what apt does not offer is no failure of this program
    """What cannot be had, in words for people."""


@dataclass(frozen=True, slots=True)
class Tools:
    """
    The programs of one version.

    Attributes:
        prometheus: The server.
        promtool: Its tool.
        alertmanager: Alertmanager.

    """

    prometheus: str
    promtool: str
    alertmanager: str


def tools(release: str) -> Tools:
    """
    Find the programs, and fetch them when they are not in the cache yet.

    Args:
        release: Of Debian, such as "trixie"; "installed" for those on PATH.

    Returns:
        The programs.

    Raises:
        Missing: When they cannot be had.

    """
    if release == "installed":
        names = ("prometheus", "promtool", "prometheus-alertmanager")
        absent = [name for name in names if not shutil.which(name)]
        if absent:
            raise Missing(f"not installed: {', '.join(absent)}")
        return Tools(*names)
    folder = CACHE / release
    if not folder.is_dir():
        _fetch(release, folder)
    programs = folder / "usr/bin"
    return Tools(
        *(str(programs / n) for n in ("prometheus", "promtool", "prometheus-alertmanager"))
    )


def _fetch(release: str, folder: Path) -> None:
    """Unpack a release's packages, with lists and a cache of apt's of our own."""
    if not (shutil.which("apt-get") and KEYRING.exists()):
        raise Missing("this needs apt and the keys of Debian's archive")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".fetching-") as name:
        scratch = Path(name)
        apt = _apt(release, scratch)
        _run([*apt, "update", "-q"], scratch)
        _run([*apt, "download", "-q", *(f"{package}/{release}" for package in _PACKAGES)], scratch)
        for package in scratch.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(package), str(scratch / "tree")], scratch)
        (scratch / "tree").rename(folder)


def _apt(release: str, scratch: Path) -> list[str]:
    """Name apt with its own state, so that the system's stays as it is."""
    (scratch / "lists/partial").mkdir(parents=True)
    (scratch / "cache/archives/partial").mkdir(parents=True)
    sources = scratch / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {MIRROR} {release} main\n")
    options = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return [
        "apt-get",
        *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
    ]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        action = next((word for word in ("update", "download") if word in command), command[0])
        raise Missing(f"{action} failed: {done.stderr.strip()[-300:]}")
