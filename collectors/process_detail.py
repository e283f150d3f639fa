"""What is read only of the few processes that matter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from collectors.process_scan import Refused, Row, attempt
from collectors.text import label, natural, natural_or_none

_MOST_FRAMES = 8


class Details(NamedTuple):
    """
    What is read only of processes that are listed for their memory.

    Attributes:
        user: Its effective user's id.
        swap_bytes: What it has in swap [bytes]; None for a kernel thread.
        oom_score: Its badness.

    """

    user: int | None
    swap_bytes: int | None
    oom_score: int | None


def details(proc: Path, pid: int) -> Details:
    """
    Read what says more of a process's memory.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        The details; each None when unknown.

    Source:
        /proc/PID/{status,oom_score}, proc(5).

    """
    user, swap = parse_status(attempt(os.fspath(proc), pid, "status") or b"")
    score = natural_or_none(attempt(os.fspath(proc), pid, "oom_score"))
    return Details(user, swap, score)


def parse_status(raw: bytes) -> tuple[int | None, int | None]:
    """
    Read a process's user and its swapped memory.

    Args:
        raw: Content of /proc/PID/status.

    Returns:
        Effective user id, and memory in swap [bytes]; each None when it is not told.

    Source:
        Second number of "Uid", and "VmSwap" [KiB] of /proc/PID/status, proc(5).
        Shared memory in swap is nobody's and not in it.

    """
    users = raw.partition(b"\nUid:")[2].split(None, 2)[1:2]
    swaps = raw.partition(b"\nVmSwap:")[2].split(None, 1)[:1]
    user, swap = (natural_or_none(words[0]) if words else None for words in (users, swaps))
    return user, None if swap is None else swap << 10


def swapped(proc: Path, pid: int) -> int | None:
    """
    Read what a process has in swap.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        Its memory there [bytes]; None when unknown.

    Source:
        See `parse_status`.

    """
    return parse_status(attempt(os.fspath(proc), pid, "status") or b"")[1]


def progress(proc: Path, row: Row) -> bytes:
    """
    Read something that changes whenever a process runs at all.

    Args:
        proc: procfs.
        row: The process.

    Returns:
        Bytes to compare with those of another time.

    Source:
        /proc/PID/schedstat, which counts nanoseconds and turns on a CPU; CPU
        ticks where the kernel does not have it.

    """
    waits = attempt(os.fspath(proc), row.pid, "schedstat")
    return waits or b"%d" % row.ticks


def open_files(proc: Path, pid: int, refused: Refused) -> int | None:
    """
    Count a process's open file descriptors.

    Args:
        proc: procfs.
        pid: The process.
        refused: Takes what the kernel did not let us read.

    Returns:
        Their number; None when unknown.

    Source:
        Size of /proc/PID/fd, which is the count since Linux 6.2 (f1f1f2569901);
        older kernels say 0 and the directory is listed.

    """
    path = f"{os.fspath(proc)}/{pid}/fd"
    try:
        return os.stat(path).st_size or len(os.listdir(path))  # noqa: PTH116, PTH208  as above
    except PermissionError:
        refused.add("fd", pid)
    except OSError:
        pass
    return None


def open_files_limit(proc: Path, pid: int) -> int | None:
    """
    Read how many files a process may open.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        The soft limit; None when unknown or unlimited.

    Source:
        "Max open files" of /proc/PID/limits.

    """
    raw = attempt(os.fspath(proc), pid, "limits") or b""
    _, _, rest = raw.partition(b"Max open files")
    fields = rest.split(None, 1)
    return natural(fields[0][:20]) if fields and fields[0].isdigit() else None


def control_group(proc: Path, pid: int) -> str | None:
    """
    Read which control group a process is in.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        Its path, of the unified hierarchy unless that is not used; None when unknown.

    Source:
        /proc/PID/cgroup, cgroups(7).

    """
    raw = attempt(os.fspath(proc), pid, "cgroup")
    if not raw:
        return None
    lines = (line.split(b":", 2) for line in raw.splitlines())
    groups = {parts[0]: parts[2] for parts in lines if len(parts) == 3}  # noqa: PLR2004
    unified = groups.get(b"0", b"/")
    used = next((g for g in (unified, *groups.values()) if g != b"/"), b"/")
    return label(used, 128)


def sleeps_in(proc: Path, pid: int) -> str | None:
    """
    Read the kernel function a process sleeps in.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        Its name; None when unknown.

    Source:
        /proc/PID/wchan, proc(5).

    """
    raw = attempt(os.fspath(proc), pid, "wchan")
    return label(raw) if raw and raw != b"0" else None


def stack(proc: Path, pid: int) -> tuple[str, ...]:
    """
    Read which kernel functions led a process to where it sleeps.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        Their names, innermost first, at most 8; none when unknown.

    Source:
        /proc/PID/stack, proc(5); needs CAP_SYS_ADMIN.

    """
    return parse_stack(attempt(os.fspath(proc), pid, "stack") or b"")


def parse_stack(raw: bytes) -> tuple[str, ...]:
    """
    Take the functions out of a kernel stack.

    Args:
        raw: Content of /proc/PID/stack.

    Returns:
        Their names without offsets, innermost first, at most 8.

    Source:
        A line is "[<0>] name+offset/size", fs/proc/base.c.

    """
    names = (line.partition(b"] ")[2].partition(b"+")[0] for line in raw.split(b"\n"))
    return tuple(label(name) for name in names if name.strip())[:_MOST_FRAMES]


def arguments(proc: Path, pid: int) -> list[bytes]:
    """
    Read a process's command line, which may wait for the process's memory lock.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        Its words; empty when unknown.

    Source:
        /proc/PID/cmdline, proc(5).

    """
    raw = attempt(os.fspath(proc), pid, "cmdline") or b""
    return [word for word in raw.split(b"\0") if word]
