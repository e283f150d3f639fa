"""
Who holds sockets: the kernel tells it by the links of descriptors only.

To read them all is dear, one call for each descriptor of the host. So it is done
only for sockets that are many of a kind or that lose data, and within bounds.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from collectors import rights
from collectors.base import Context
from collectors.model import Cause
from collectors.process_detail import control_group
from collectors.process_scan import attempt
from collectors.text import label

_MOST_PROCESSES = 2_000
_MOST_DESCRIPTORS = 50_000
_MOST_SECONDS = 0.25
_MOST_HOLDERS = 10
_LOOKS_AT_THE_CLOCK = 256  # descriptors between two of them
_RIGHTS = ("CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH")


@dataclass(frozen=True, slots=True)
class Holder:
    """
    A process, and its part of what was looked for.

    Attributes:
        pid: Its id.
        comm: The name it gave itself, made safe.
        cgroup: Its control group's path; None when unknown.
        count: Its sockets, or what they lost.

    """

    pid: int
    comm: str
    cgroup: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """
    Sockets of one kind that are many, and who holds them.

    Attributes:
        sockets: How many there are.
        holders: Processes that hold most of them, most first; at most 10. A socket
            that several processes share counts for that with most descriptors.
        unowned: Those that no process was found for: it may not be read, or there
            is none, as for TIME_WAIT.
        remote: The service that all are connected to, as "address:port"; None where
            they differ.

    """

    sockets: int
    holders: tuple[Holder, ...] = ()
    unowned: int = 0
    remote: str | None = None


def find(ctx: Context, inodes: Collection[int]) -> dict[int, int]:
    """
    Find the processes that hold sockets, those with most descriptors first.

    Args:
        ctx: Paths.
        inodes: The sockets' inode numbers. All network namespaces share one row of
            numbers, so a link names the same socket wherever its process is.

    Returns:
        dict inode -> process id; a socket whose process is not known is left out.
        At most 2,000 processes, 50,000 descriptors and 0.25 s are spent on it.

    Source:
        /proc/PID/fd, "socket:[inode]", proc(5).

    """
    wanted = {f"socket:[{inode}]": inode for inode in inodes if inode}
    if not wanted:
        return {}
    walk = _Walk(os.fspath(ctx.paths.proc), time.monotonic() + _MOST_SECONDS)
    owners: dict[int, int] = {}
    for pid, link in walk.links():
        inode = wanted.get(link)
        if inode is not None:
            owners.setdefault(inode, pid)
            if len(owners) == len(wanted):
                break
    if 2 * len(owners) < len(wanted):
        _tell(ctx, walk, len(wanted) - len(owners))
    return owners


def crowd(
    ctx: Context,
    owners: Mapping[int, int],
    inodes: Collection[int],
    sockets: int | None = None,
    remote: str | None = None,
) -> Crowd:
    """
    Describe who holds many sockets.

    Args:
        ctx: Paths.
        owners: As given by `find`.
        inodes: The sockets; 0 for one that no process ever had.
        sockets: How many there are, where some have no inode; None for all of `inodes`.
        remote: The service they are connected to.

    Returns:
        The crowd.

    """
    counts = Counter(owners[inode] for inode in inodes if inode in owners)
    whole = max(sockets or 0, len(inodes))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_HOLDERS]
    held = tuple(holder(ctx, pid, count) for pid, count in ranked)
    return Crowd(whole, held, whole - counts.total(), remote)


def holder(ctx: Context, pid: int, count: int) -> Holder:
    """
    Describe a process.

    Args:
        ctx: Paths.
        pid: Its id.
        count: Its part.

    Returns:
        The process with its name and group.

    Source:
        /proc/PID/{comm,cgroup}, proc(5).

    """
    name = attempt(os.fspath(ctx.paths.proc), pid, "comm") or b"?"
    return Holder(pid, label(name.rstrip(b"\n")), control_group(ctx.paths.proc, pid), count)


class _Walk:
    """One pass over the descriptors of all processes, within bounds."""

    def __init__(self, base: str, until: float) -> None:
        self.base, self.until = base, until
        self.left = _MOST_DESCRIPTORS
        self.refused = 0
        self.ended_early = False

    def links(self) -> Iterator[tuple[int, str]]:
        """Give what each descriptor is, with its process."""
        for pid in self._pids():
            folder = f"{self.base}/{pid}/fd"
            for number in self._numbers(folder):
                if not self._may_go_on():
                    return
                try:
                    yield pid, os.readlink(f"{folder}/{number}")  # noqa: PTH115
                except OSError:
                    continue

    def _may_go_on(self) -> bool:
        """Count a descriptor, and tell whether there is still room and time for it."""
        self.left -= 1
        late = self.left % _LOOKS_AT_THE_CLOCK == 0 and time.monotonic() > self.until
        self.ended_early = late or self.left < 0
        return not self.ended_early

    def _pids(self) -> list[int]:
        """List the processes, those with most descriptors first; before Linux 6.2 by their id."""
        sizes: list[tuple[int, int]] = []
        for name in os.listdir(self.base):  # noqa: PTH208  half the cost of Path
            if name.isdigit():
                try:
                    # The number of descriptors, without listing them.
                    sizes.append((-os.stat(f"{self.base}/{name}/fd").st_size, int(name)))  # noqa: PTH116
                except OSError:
                    continue
        sizes.sort()
        told = bool(sizes) and sizes[0][0] < 0
        return [pid for size, pid in sizes[:_MOST_PROCESSES] if size or not told]

    def _numbers(self, folder: str) -> list[str]:
        """List a process's descriptors."""
        try:
            return os.listdir(folder)  # noqa: PTH208
        except PermissionError:
            self.refused += 1
        except OSError:
            pass
        return []


def _tell(ctx: Context, walk: _Walk, unknown: int) -> None:
    """Say why the owners of most sockets stay unknown."""
    if walk.refused:
        text = (
            f"/proc/PID/fd: permission denied for {walk.refused} processes, so that the owners "
            f"of {unknown} sockets are unknown ({rights.way_out(*_RIGHTS)})"
        )
        ctx.note("/proc/PID/fd", Cause.PERMISSION, text)
    elif walk.ended_early:
        text = f"/proc/PID/fd: too many descriptors; the owners of {unknown} sockets are unknown"
        ctx.note("/proc/PID/fd", Cause.TIMEOUT, text)
