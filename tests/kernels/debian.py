"""Debian's kernels: found and fetched by apt, unpacked into a cache, never installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sysdx" / "kernels"


class Missing(Exception):  # noqa: N818  what apt does not offer is no failure of this program
    """What cannot be had, in words for people."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """
    A kernel that can be booted.

    Attributes:
        series: "6.1".
        folder: Where its package is unpacked.
        release: As `uname -r` says it.

    """

    series: str
    folder: Path
    release: str

    @property
    def image(self) -> Path:
        return self.folder / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return self.folder / "lib/modules" / self.release


def kernel(series: str) -> Kernel:
    """Fetch the newest kernel of a series, unless it is in the cache already."""
    name = newest(series, _offered(series)) or newest(series, _offered(series, update=True))
    if name is None:
        raise Missing(f"apt offers no kernel {series} for amd64; Debian 12 has one")
    folder = CACHE / _stem(name)
    if not folder.is_dir():
        _unpack(name, folder)
    for old in CACHE.glob(f"linux-image-{series}.*"):
        if old != folder:
            shutil.rmtree(old)
    (modules,) = folder.glob("lib/modules/*")
    return Kernel(series, folder, modules.name)


def newest(series: str, names: Iterable[str]) -> str | None:
    """Choose the newest plain kernel: neither for clouds nor for real time, and no symbols."""
    plain = re.compile(rf"linux-image-{re.escape(series)}\.[0-9][^-]*(-[0-9]+)?-amd64(-unsigned)?")
    return max(filter(plain.fullmatch, names), key=_age, default=None)


def _age(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall("[0-9]+", name)], name


def _offered(series: str, *, update: bool = False) -> list[str]:
    if update and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
    pattern = rf"^linux-image-{re.escape(series)}\."
    lines = _ask("apt-cache", "search", "--names-only", pattern).splitlines()
    return [line.split()[0] for line in lines]


def _stem(name: str) -> str:
    """Name a package with its version, as its file is called."""
    answer = _ask("apt-get", "download", "--print-uris", name)
    return answer.split()[1].removesuffix(".deb").replace("%3a", ":")


def _unpack(name: str, folder: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".fetching-") as scratch:
        _ask("apt-get", "download", "-q", name, cwd=scratch)
        (package,) = Path(scratch).glob("*.deb")
        tree = Path(scratch, "tree")
        _ask("dpkg-deb", "-x", str(package), str(tree))
        if not (tree / "lib").exists():
            (tree / "lib").symlink_to("usr/lib")
        (modules,) = tree.glob("lib/modules/*")
        _ask("depmod", "-b", str(tree), modules.name)
        tree.rename(folder)


def _ask(*command: str, cwd: str | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise Missing(f"{' '.join(command[:2])} failed: {done.stderr.strip()}")
    return done.stdout
