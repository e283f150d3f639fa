"""Where control groups are mounted and which of them exist."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from collectors.base import Paths
from collectors.text import lines_of

# The v1 controllers that account what is read here.
CONTROLLERS = ("cpu", "cpuacct", "memory", "pids", "blkio")
# Most directories looked at in one hierarchy; a host has a few hundred.
_MOST_VISITED = 4_000
_OCTAL = re.compile(rb"\\([0-7]{3})")
_LEAF_LINKS = 2


@dataclass(frozen=True, slots=True)
class Mount:
    """
    One mounted hierarchy.

    Attributes:
        point: Where it is mounted, as the kernel says.
        root: Which of its groups is mounted there; "/" for all.
        unified: Whether it is the unified hierarchy (v2).
        controllers: The v1 controllers on it, and "systemd" for the named one.

    """

    point: str
    root: str
    unified: bool
    controllers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """
    Where groups are read.

    Attributes:
        unified: Directory of the unified hierarchy; None when it is not mounted.
        v1: Controller to the directory of its hierarchy.
        features: What the unified hierarchy tells: its controllers, and "pressure".

    """

    unified: str | None = None
    v1: dict[str, str] = field(default_factory=dict)
    features: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        """Which generation is in use: v1, hybrid or v2."""
        if self.unified is None:
            return "v1"
        return "hybrid" if self.v1 else "v2"

    def directories(self) -> tuple[str, ...]:
        """
        List the distinct hierarchies.

        Returns:
            Their directories, the unified one first; controllers mounted
            together share one.

        """
        # Where both exist, systemd keeps the same groups in both.
        named = [d for c, d in self.v1.items() if c != "systemd" or self.unified is None]
        every = ([self.unified] if self.unified else []) + named
        return tuple(dict.fromkeys(every))

    def within(self, bases: Collection[str]) -> Hierarchies:
        """
        Leave only some of the hierarchies.

        Args:
            bases: Their directories.

        Returns:
            Those hierarchies.

        """
        v1 = {c: d for c, d in self.v1.items() if d in bases}
        return replace(self, unified=self.unified if self.unified in bases else None, v1=v1)


@dataclass(frozen=True, slots=True)
class Mounted:
    """
    The hierarchies of a host.

    Attributes:
        mounts: As the kernel tells them.
        tree: Their directories, as seen from here.

    """

    mounts: tuple[Mount, ...]
    tree: Hierarchies

    def inside(self, path: str) -> str:
        """
        Give a group's path as /proc/PID/cgroup has it.

        Args:
            path: That path, or the directory of the group.

        Returns:
            The path below the root of its hierarchy, beginning with a slash.

        """
        bases = {m.point for m in self.mounts} | {*self.tree.directories()}
        for base in sorted(bases, key=len, reverse=True):
            if path == base or path.startswith(base.rstrip("/") + "/"):
                return "/" + path[len(base) :].strip("/")
        return "/" + path.strip("/")

    def has(self, path: str) -> bool | None:
        """
        Tell whether there is such a group in any hierarchy.

        Args:
            path: As for `inside`.

        Returns:
            None when no hierarchy is mounted.

        """
        bases = self.tree.directories()
        return any(Path(base + self.inside(path)).is_dir() for base in bases) if bases else None


def parse_mounts(raw: bytes) -> tuple[Mount, ...]:
    """
    Find the control group mounts.

    Args:
        raw: Content of /proc/PID/mountinfo.

    Returns:
        The mounts, in the order in which they were made.

    Source:
        /proc/PID/mountinfo, proc(5): mount point is field 5, root field 4, and
        file system type, source and super options follow the lone dash.

    """
    found = []
    for fields in lines_of(raw):
        if b"-" not in fields[5:]:
            continue
        after = fields[fields.index(b"-", 5) + 1 :]
        if len(after) < 3 or after[0] not in (b"cgroup", b"cgroup2"):  # noqa: PLR2004
            continue
        options = {o.removeprefix(b"name=") for o in after[2].split(b",")}
        names = frozenset(n for n in (*CONTROLLERS, "systemd") if n.encode() in options)
        found.append(Mount(_path(fields[4]), _path(fields[3]), after[0] == b"cgroup2", names))
    return tuple(found)


def hierarchies(mounts: tuple[Mount, ...], sys: Path, root: Path) -> Hierarchies:
    """
    Choose the directory of each hierarchy.

    Args:
        mounts: The control group mounts of the host.
        sys: Where sysfs is seen from here.
        root: Where the host's root is seen from here.

    Returns:
        One directory each; where a hierarchy is mounted twice, the whole of it is preferred.

    """
    unified: str | None = None
    v1: dict[str, str] = {}
    for mount in sorted(mounts, key=lambda m: m.root != "/"):
        place = _seen(mount.point, sys, root)
        if mount.unified:
            unified = unified or place
        for name in mount.controllers:
            v1.setdefault(name, place)
    return Hierarchies(unified, v1, _features(unified))


def mounted(paths: Paths, read: Callable[[Path], bytes | None] | None = None) -> Mounted:
    """
    Find the mounted hierarchies, as the host's first process sees them.

    Args:
        paths: Where the kernel's file systems are.
        read: Reads a file; None for one that cannot be read.

    Returns:
        The mounts and their directories; none of them when nothing is mounted there.

    Source:
        /proc/1/mountinfo, or that of this process.

    """
    for pid in ("1", "self"):
        raw = (read or _read)(paths.proc / pid / "mountinfo")
        found = parse_mounts(raw or b"")
        tree = hierarchies(found, paths.sys, paths.root)
        if any(Path(base).is_dir() for base in tree.directories()):
            return Mounted(found, tree)
    return Mounted((), Hierarchies())


def _read(path: Path) -> bytes | None:
    """Read a file, if that can be done."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def walk(tree: Hierarchies) -> dict[str, Hierarchies]:
    """
    List every group of every hierarchy, the upper ones first.

    Args:
        tree: The hierarchies.

    Returns:
        dict path below the root -> the hierarchies that have it; the root is left out.

    Source:
        Directories of cgroupfs; a directory with two links has no subdirectory.

    """
    places: dict[str, tuple[str, ...]] = {}
    for base in tree.directories():
        for path in _below(base):
            places[path] = (*places.get(path, ()), base)
    # Nearly all groups are in the same hierarchies.
    parts = {bases: tree.within(bases) for bases in set(places.values())}
    return {p: parts[places[p]] for p in sorted(places, key=lambda p: (p.count("/"), p))}


def _features(unified: str | None) -> frozenset[str]:
    """Ask the unified hierarchy what it tells of its groups."""
    if unified is None:
        return frozenset()
    try:
        names = Path(unified, "cgroup.controllers").read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        names = []
    pressure = ["pressure"] if Path(unified, "cpu.pressure").exists() else []
    return frozenset(names + pressure)


def _below(base: str) -> Iterator[str]:
    """Walk one hierarchy breadth first."""
    queue, visited = deque([""]), 0
    while queue and visited < _MOST_VISITED:
        path = queue.popleft()
        for child, inner in _children(base + path):
            visited += 1
            yield f"{path}/{child}"
            if inner:
                queue.append(f"{path}/{child}")


def _children(directory: str) -> list[tuple[str, bool]]:
    """List a group's subgroups, and whether these have subgroups themselves."""
    try:
        with os.scandir(directory) as entries:
            groups = [e for e in entries if e.is_dir(follow_symlinks=False)]
            # A file system that does not count links says 1 for all of them.
            return [(e.name, e.stat(follow_symlinks=False).st_nlink != _LEAF_LINKS) for e in groups]
    except OSError:
        return []


def _seen(point: str, sys: Path, root: Path) -> str:
    """Translate the host's mount point to where it is seen from here."""
    below = point.removeprefix("/sys/")
    return os.fspath(root / point.lstrip("/") if below == point else sys / below)


def _path(raw: bytes) -> str:
    """Undo the escaping of blanks in mountinfo."""
    return os.fsdecode(_OCTAL.sub(lambda m: bytes([int(m[1], 8) & 0xFF]), raw))
