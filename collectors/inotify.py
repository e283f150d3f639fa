"""Who watches files: the kernel counts it per user, and tells it of each descriptor only."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from collectors.base import Context
from collectors.process_detail import parse_status
from collectors.process_scan import attempt
from collectors.text import label

_INOTIFY = "anon_inode:inotify"
_MOST_DESCRIPTORS = 50_000
_MOST_USERS = 5
_MOST_BYTES = 16 << 20  # about 60 bytes for each watch


@dataclass(frozen=True, slots=True)
class Watcher:
    """
    What one user watches.

    Attributes:
        user: The user's id.
        instances: inotify descriptors; one that a child inherited counts again, so
            the kernel's own count is this or less.
        watches: Watched files and directories, in the same way.
        process: Who of them watches most, as "name (pid)".

    """

    user: int
    instances: int
    watches: int
    process: str


def watchers(ctx: Context) -> tuple[Watcher, ...] | None:
    """
    Walk all descriptors for those of inotify.

    Args:
        ctx: Paths.

    Returns:
        The users with most watches, at most 5; None when there are more than
        50,000 descriptors, because a part of them would tell a wrong number.
        Processes that cannot be read are left out.

    Source:
        /proc/PID/fd, and "inotify wd:" lines of /proc/PID/fdinfo, proc(5).

    """
    base, left = os.fspath(ctx.paths.proc), _MOST_DESCRIPTORS
    instances: Counter[int] = Counter()
    watches: Counter[int] = Counter()
    most: dict[int, tuple[int, int]] = {}
    for pid in _pids(base):
        found, looked = _watched(base, pid, left)
        left -= looked
        if left <= 0:
            return None
        user = parse_status(attempt(base, pid, "status") or b"")[0] if found else None
        if user is None:
            continue
        instances[user] += len(found)
        watches[user] += sum(found)
        most[user] = max(most.get(user, (-1, 0)), (sum(found), pid))
    return tuple(
        Watcher(user, instances[user], count, _named(ctx.paths.proc, most[user][1]))
        for user, count in watches.most_common(_MOST_USERS)
    )


def count_watches(raw: bytes) -> int:
    """
    Count what an inotify descriptor watches.

    Args:
        raw: Content of /proc/PID/fdinfo/N.

    Returns:
        Its watches.

    Source:
        One line "inotify wd:..." each, proc(5).

    """
    return raw.count(b"\ninotify wd:") + raw.startswith(b"inotify wd:")


def _pids(base: str) -> list[int]:
    """List the processes."""
    try:
        return [int(name) for name in os.listdir(base) if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []


def _watched(base: str, pid: int, most: int) -> tuple[list[int], int]:
    """Give the watches of each inotify descriptor of a process, and how many were looked at."""
    found: list[int] = []
    try:
        numbers = os.listdir(f"{base}/{pid}/fd")  # noqa: PTH208
    except OSError:
        return found, 0
    for number in numbers[:most]:
        try:
            if os.readlink(f"{base}/{pid}/fd/{number}") == _INOTIFY:  # noqa: PTH115
                found.append(count_watches(_content(f"{base}/{pid}/fdinfo/{number}")))
        except OSError:
            continue
    return found, len(numbers)


def _content(path: str) -> bytes:
    """Read a file whose length is not known; thousands of watches have a line each."""
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(_MOST_BYTES)


def _named(proc: Path, pid: int) -> str:
    """Name a process."""
    name = attempt(os.fspath(proc), pid, "comm") or b"?"
    return f"{label(name.rstrip())} ({pid})"
