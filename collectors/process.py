"""Processes: who uses CPU, memory, storage, descriptors and threads, and who is stuck."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from collectors.base import Context, collector
from collectors.cgroup_tree import mounted
from collectors.command_line import shown
from collectors.process_detail import (
    arguments,
    control_group,
    details,
    open_files,
    open_files_limit,
    sleeps_in,
    stack,
    swapped,
)
from collectors.process_sample import Process, ProcessSample
from collectors.process_scan import Account, Row, Scan
from collectors.process_watch import Watch
from collectors.rates import delta, rate
from collectors.swaps import read_swaps
from collectors.text import label

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NANOSECONDS = 1e9
_TOP = 10
# Most processes whose limit of open files is read: those with most open files,
# and with so many that they could be near a limit worth naming.
_MOST_LIMITS = 60
_MANY_FILES = 200
_MOST_SWAPPED = 300


@collector(category="process")
def collect(ctx: Context) -> ProcessSample:
    """
    Scan all processes at both ends of the window, and between as the cost allows.

    Args:
        ctx: Paths and window; options "top", "command_line" (off, argv0 or
            redacted), "exclude_pids", and the filters "pid" and "cgroup".

    Returns:
        Counts and the top processes. This program itself is left out. CPU time
        of a process that ended is known up to the last scan that saw it.

    Raises:
        Unavailable: When procfs cannot be listed.

    Source:
        /proc/PID/{stat,io,schedstat,fd,limits,cgroup,status,oom_score,wchan,stack},
        /proc/swaps.

    """
    watch = Watch(ctx)
    first, last = watch.follow()
    seconds, later = last.at - first.at, watch.later()
    known = [
        _process(row, first, last, watch.accounts.get(i), later.get(i))
        for i, row in watch.seen.items()
        if not (row.kernel_thread and _stood_still(row, first))
    ]
    alive = [p for p in known if p.state != "X"]
    tops = _tops(watch, _filtered(ctx, known), _filtered(ctx, alive))
    watch.note_refused()
    return ProcessSample(
        window_seconds=seconds,
        scans=watch.scans,
        total=len(last.rows),
        threads=sum(row.threads for row in last.rows.values()),
        states=dict(Counter(row.state for row in last.rows.values())),
        started=watch.started,
        exited=watch.exited,
        unreadable=last.unreadable,
        refused=len(watch.refused_pids()),
        blocked=_blocked(watch, alive),
        zombies=tuple(p for p in alive if p.state == "Z")[:_TOP],
        zombie_parents=_parents(last),
        page_bytes=_PAGE,
        **tops,
    )


def _process(
    row: Row, first: Scan, last: Scan, account: Account | None, later: Account | None
) -> Process:
    """Describe a process over the window."""
    moved = later.at - account.at if account and later else 0.0
    wait = rate(account.run_delay, later.run_delay, moved) if account and later else None
    ticks, faults, delay = _increases(row, first)
    seconds = last.at - first.at
    return Process(
        pid=row.pid,
        start_ticks=row.start,
        comm=label(row.comm),
        state=row.state if row.identity in last.rows else "X",
        parent=row.parent,
        cpu=_per_second(ticks, seconds, _TICKS),
        run_wait=None if wait is None else wait / _NANOSECONDS,
        rss_bytes=None if row.kernel_thread else row.pages * _PAGE,
        threads=row.threads,
        read_bytes_per_second=_moved("read_bytes", account, later, moved),
        write_bytes_per_second=_moved("write_bytes", account, later, moved),
        major_faults_per_second=_per_second(faults, seconds),
        pages_taken_per_second=_per_second(_taken(row, first), seconds),
        # Without delay accounting it stays 0 for ever, which is no answer.
        io_wait=_per_second(delay, seconds, _TICKS) if row.delay else None,
        kernel_thread=row.kernel_thread,
    )


def _increases(row: Row, first: Scan) -> tuple[int | None, int | None, int | None]:
    """Give how far ticks, faults and delay advanced since the first scan."""
    old = first.rows.get(row.identity)
    if old is not None:
        return (
            delta(old.ticks, row.ticks),
            delta(old.major_faults, row.major_faults),
            delta(old.delay, row.delay),
        )
    # A new process began at 0; one that the first scan missed began at nobody knows what.
    new = first.began_after(row)
    return (row.ticks, row.major_faults, row.delay) if new else (None, None, None)


def _taken(row: Row, first: Scan) -> int | None:
    """Give the pages a process asked for: one for each fault, or what it grew by if more."""
    old = first.rows.get(row.identity)
    if old is None:
        return (
            max(row.minor_faults + row.major_faults, row.pages) if first.began_after(row) else None
        )
    faults = delta(old.minor_faults + old.major_faults, row.minor_faults + row.major_faults)
    return None if faults is None else max(faults, row.pages - old.pages)


def _stood_still(row: Row, first: Scan) -> bool:
    """Tell whether a task did nothing, as most threads of the kernel: those are in no list."""
    old = first.rows.get(row.identity)
    return old is not None and old.ticks == row.ticks and old.major_faults == row.major_faults


def _per_second(increase: int | None, seconds: float, unit: int = 1) -> float | None:
    """Turn an increase into a rate."""
    return None if increase is None or seconds <= 0 else increase / unit / seconds


def _moved(
    name: str, account: Account | None, later: Account | None, seconds: float
) -> float | None:
    """Give the rate of bytes moved."""
    if account is None or later is None:
        return None
    return rate(getattr(account, name), getattr(later, name), seconds)


def _filtered(ctx: Context, processes: list[Process]) -> list[Process]:
    """Apply the filters of the command line."""
    pid, group = ctx.options.get("pid"), ctx.options.get("cgroup")
    if pid is not None:
        processes = [p for p in processes if p.pid == pid]
    if group is not None:
        below = mounted(ctx.paths).inside(str(group))
        paths = ((p, control_group(ctx.paths.proc, p.pid) or "") for p in processes)
        processes = [p for p, path in paths if PurePath(path).is_relative_to(below)]
    return processes


def _tops(watch: Watch, known: list[Process], alive: list[Process]) -> dict[str, Any]:
    """List the processes that matter most in each respect."""
    most, proc = watch.ctx.options.get("top", _TOP), watch.ctx.paths.proc
    users = [p for p in alive if not p.kernel_thread and p.state != "Z"]
    opened = {p.pid: open_files(proc, p.pid, watch.refused) for p in users}
    most_open = _top(users, lambda p: opened[p.pid], max(_MOST_LIMITS, most))
    limited = [
        replace(p, fds=opened[p.pid], fd_limit=open_files_limit(proc, p.pid))
        for place, p in enumerate(most_open)
        if place < most or (opened[p.pid] or 0) >= _MANY_FILES
    ]
    lists = {
        "top_cpu": _top(known, lambda p: p.cpu, most),
        "top_wait": _top(known, lambda p: p.run_wait, most),
        "top_memory": [_weighed(proc, p) for p in _top(users, lambda p: p.rss_bytes, most)],
        "top_io": _top(known, _bytes_moved, most),
        "top_fds": limited[:most],
        "top_fd_share": _top(limited, _fd_share, most),
        "top_threads": _top(users, lambda p: p.threads, most),
        "top_faults": _top(known, lambda p: p.major_faults_per_second, most),
        "top_taken": _top(known, lambda p: p.pages_taken_per_second, most),
        "top_swap": _swapped(watch.ctx, users),
    }
    return {name: tuple(_named(watch, part)) for name, part in lists.items()}


def _swapped(ctx: Context, users: list[Process]) -> list[Process]:
    """List who has most in swap, among the oldest: what is there has not been used for long."""
    if not any(s.used_bytes for s in read_swaps(ctx)):
        return []
    oldest = sorted(users, key=lambda p: p.start_ticks)[:_MOST_SWAPPED]
    held = {p.pid: swapped(ctx.paths.proc, p.pid) for p in oldest}
    most = _top(oldest, lambda p: held[p.pid], ctx.options.get("top", _TOP))
    return [_weighed(ctx.paths.proc, p) for p in most]


def _weighed(proc: Path, process: Process) -> Process:
    """Add what tells of a process's part in a shortage of memory."""
    user, swap, score = details(proc, process.pid)
    return replace(process, user=user, swap_bytes=swap, oom_score=score)


def _top(
    processes: Iterable[Process], value: Callable[[Process], float | None], most: int
) -> list[Process]:
    """Choose the processes with the largest values above 0."""
    some = [(v, p) for p in processes if (v := value(p))]
    some.sort(key=lambda pair: (-pair[0], pair[1].pid))
    return [p for _, p in some[:most]]


def _bytes_moved(process: Process) -> float | None:
    """Give the bytes a process moved to and from storage per second."""
    sides = (process.read_bytes_per_second, process.write_bytes_per_second)
    return None if sides == (None, None) else sum(s or 0.0 for s in sides)


def _fd_share(process: Process) -> float | None:
    """Give how much of its own limit of open files a process uses."""
    return process.fds / process.fd_limit if process.fds and process.fd_limit else None


def _named(watch: Watch, processes: Iterable[Process]) -> Iterator[Process]:
    """Add what is read only for the listed ones."""
    proc = watch.ctx.paths.proc
    mode = watch.ctx.options.get("command_line", "off")
    for p in processes:
        if p.state == "X":
            yield p
            continue
        line = None if mode == "off" else shown(arguments(proc, p.pid), mode)
        group = watch.remember((p.pid, p.start_ticks), control_group)
        yield replace(p, cgroup=group, command_line=line)


def _blocked(watch: Watch, alive: list[Process]) -> tuple[Process, ...]:
    """List the processes that were uninterruptible at the last two scans, the longest first."""
    waited = watch.waited
    stuck = [
        replace(
            p,
            wchan=sleeps_in(watch.ctx.paths.proc, p.pid),
            stack=stack(watch.ctx.paths.proc, p.pid),
            blocked_seconds=waited[p.pid, p.start_ticks],
        )
        for p in alive
        if (p.pid, p.start_ticks) in waited
    ]
    stuck.sort(key=lambda p: -(p.blocked_seconds or 0.0))
    return tuple(_named(watch, stuck[:_TOP]))


def _parents(last: Scan) -> Mapping[str, int]:
    """Count zombies by the parent that should collect them."""
    names = {row.pid: row.comm for row in last.rows.values()}
    zombies = Counter(row.parent for row in last.rows.values() if row.state == "Z")
    return {
        f"{label(names.get(pid, b'?'))} ({pid})": count for pid, count in zombies.most_common(_TOP)
    }
