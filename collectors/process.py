"""Processes: who uses CPU, memory, storage, descriptors and threads, and who is stuck."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from collectors.base import Context, collector
from collectors.command_line import shown
from collectors.model import Cause, Unavailable
from collectors.process_scan import (
    Account,
    Identity,
    Refused,
    Row,
    Scan,
    accounts,
    arguments,
    control_group,
    open_files,
    open_files_limit,
    scan,
    sleeps_in,
)
from collectors.rates import rate
from collectors.text import label

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Scanning may cost half a per cent of a core: the next scan waits 200 times as
# long as the last one took. 100 processes are scanned every second, 2,000
# about every 5 s.
_COST_FACTOR = 200.0
_NANOSECONDS = 1e9
# A few processes refuse even root (a sealed init); that is no gap in the picture.
_FEW_REFUSED = 0.2
_TOP = 10
# Most processes whose dearer files are read; beyond that only those that ran.
_MOST_ACCOUNTS = 400


@dataclass(frozen=True, slots=True)
class Process:
    """
    One process in the window; None is unknown.

    Attributes:
        pid: Its id, reused after its end.
        start_ticks: Start after boot, with the pid its identity [clock ticks].
        comm: The name it gave itself, made safe.
        state: R running, S sleeping, D uninterruptible, Z zombie, T stopped, I idle, X ended.
        parent: Its parent's id.
        cgroup: Its control group's path.
        cpu: CPU time per second of the window [cores].
        run_wait: Time on a run queue per second of the window [ratio of one task].
        rss_bytes: Resident memory [bytes].
        threads: Its threads.
        fds: Open file descriptors.
        fd_limit: Most it may open.
        read_bytes_per_second: Fetched from storage [bytes/s].
        write_bytes_per_second: Sent to storage [bytes/s].
        major_faults_per_second: Page faults that needed storage [1/s].
        io_wait: Time waiting for block I/O per second; where delay accounting is on [ratio].
        kernel_thread: Whether it is one.
        command_line: As configured; by default not read at all.
        wchan: The kernel function it sleeps in, for blocked processes.

    """

    pid: int
    start_ticks: int
    comm: str
    state: str
    parent: int
    cgroup: str | None = None
    cpu: float | None = None
    run_wait: float | None = None
    rss_bytes: int | None = None
    threads: int | None = None
    fds: int | None = None
    fd_limit: int | None = None
    read_bytes_per_second: float | None = None
    write_bytes_per_second: float | None = None
    major_faults_per_second: float | None = None
    io_wait: float | None = None
    kernel_thread: bool = False
    command_line: str | None = None
    wchan: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """
    All processes, counted, and the few that matter.

    Attributes:
        window_seconds: Time between the first and the last scan [s].
        scans: How often all processes were looked at.
        total: Processes at the last scan.
        threads: Their threads.
        states: State letter to processes at the last scan.
        started: Processes that appeared between two scans.
        exited: Processes that vanished between two scans.
        unreadable: Processes that vanished while they were read.
        blocked: In state D at the last two scans, kernel threads left out.
        zombies: Some of the processes that ended and were not collected by their parent.
        zombie_parents: Name of the parent to its zombies, most first.
        top_cpu: By CPU time, ended processes among them.
        top_wait: By time on a run queue.
        top_memory: By resident memory.
        top_io: By bytes to and from storage.
        top_fds: By open file descriptors.
        top_fd_share: By open file descriptors against their own limit.
        top_threads: By threads.
        top_faults: By major faults.

    """

    window_seconds: float
    scans: int
    total: int
    threads: int
    states: Mapping[str, int]
    started: int = 0
    exited: int = 0
    unreadable: int = 0
    blocked: tuple[Process, ...] = ()
    zombies: tuple[Process, ...] = ()
    zombie_parents: Mapping[str, int] = field(default_factory=dict)
    top_cpu: tuple[Process, ...] = ()
    top_wait: tuple[Process, ...] = ()
    top_memory: tuple[Process, ...] = ()
    top_io: tuple[Process, ...] = ()
    top_fds: tuple[Process, ...] = ()
    top_fd_share: tuple[Process, ...] = ()
    top_threads: tuple[Process, ...] = ()
    top_faults: tuple[Process, ...] = ()


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
        /proc/PID/{stat,io,schedstat,fd,limits,cgroup,wchan}.

    """
    watch = _Watch(ctx)
    at = due = 0.0
    for at in ctx.ticks():
        if at >= due or ctx.duration <= 0:
            began = time.thread_time()
            watch.look(at)
            due = at + (time.thread_time() - began) * _COST_FACTOR
    watch.close(at)
    return watch.summarize()


class _Watch:
    """Follow the processes through a window."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.proc = ctx.paths.proc
        self.without = frozenset((os.getpid(), *ctx.options.get("exclude_pids", ())))
        self.refused = Refused()
        self.scans = 0
        self.started = self.exited = 0
        self.first: Scan | None = None
        self.before: Scan | None = None
        self.last: Scan | None = None
        self.seen: dict[Identity, Row] = {}
        self.accounts: dict[Identity, Account] = {}

    def look(self, at: float) -> None:
        """Scan all processes."""
        self.proc = self.ctx.paths.proc
        try:
            found = scan(self.proc, at, self.without)
        except OSError as error:
            raise Unavailable(f"{self.proc}: {error.strerror}", Cause.UNREADABLE) from error
        if self.last is not None:
            self.started += len(found.rows.keys() - self.last.rows.keys())
            self.exited += len(self.last.rows.keys() - found.rows.keys())
        self.scans += 1
        self.first = self.first or found
        self.before, self.last = self.last, found
        self.seen |= found.rows
        if not self.accounts:
            self.accounts = accounts(self.proc, self._candidates(found), at, self.refused)

    def close(self, end: float) -> None:
        """Make sure that the window ends with a scan."""
        if self.last is not None and end > self.last.at:
            self.look(end)

    def _candidates(self, found: Scan) -> list[Row]:
        """Choose the processes whose dearer files are read."""
        rows = [r for r in found.rows.values() if not r.kernel_thread and r.state != "Z"]
        if len(rows) <= _MOST_ACCOUNTS:
            return rows
        if self.before is None:
            return []
        # Whoever moves data or waits for a CPU has used some CPU time as well.
        old = self.before.rows
        ran = [r for r in rows if r.identity not in old or r.ticks > old[r.identity].ticks]
        return ran[:_MOST_ACCOUNTS]

    def summarize(self) -> ProcessSample:
        """Turn scans into a sample."""
        first, last = self.first, self.last
        if first is None or last is None:
            raise Unavailable("the sweep was cancelled before the first scan", Cause.CANCELLED)
        listed = _listed(self, first, last)
        self._note_refused()
        return replace(
            listed,
            scans=self.scans,
            started=self.started,
            exited=self.exited,
            unreadable=last.unreadable,
        )

    def _note_refused(self) -> None:
        """Say once what an ordinary user may not read."""
        refused = max(self.refused.files.values(), default=0)
        if refused <= len(self.accounts) * _FEW_REFUSED:
            return
        files = ", ".join(f"/proc/PID/{name}" for name in sorted(self.refused.files))
        text = (
            f"{files}: permission denied for {refused} processes of other users "
            "(run as root, or grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH)"
        )
        self.ctx.note("/proc/PID", Cause.PERMISSION, text)


def _listed(watch: _Watch, first: Scan, last: Scan) -> ProcessSample:
    """List and count what was seen."""
    seconds = last.at - first.at
    later = accounts(
        watch.proc,
        (last.rows[i] for i in watch.accounts if i in last.rows),
        last.at,
        watch.refused,
    )
    known = [
        _process(row, first.rows.get(i), last, seconds, watch.accounts.get(i), later.get(i))
        for i, row in watch.seen.items()
    ]
    alive = [p for p in known if p.state != "X"]
    tops = _tops(watch, _filtered(watch.ctx, known), _filtered(watch.ctx, alive))
    return ProcessSample(
        window_seconds=seconds,
        scans=watch.scans,
        total=len(last.rows),
        threads=sum(row.threads for row in last.rows.values()),
        states=dict(Counter(row.state for row in last.rows.values())),
        blocked=_blocked(watch, alive),
        zombies=tuple(p for p in alive if p.state == "Z")[:_TOP],
        zombie_parents=_parents(last),
        **tops,
    )


def _process(
    row: Row,
    old: Row | None,
    last: Scan,
    seconds: float,
    account: Account | None,
    later: Account | None,
) -> Process:
    """Describe a process over the window; one that was not there at first began at 0."""
    ended = row.identity not in last.rows
    # Since its identity was not in the first scan, all its counters are of this window.
    ticks, faults, delay = (old.ticks, old.major_faults, old.delay) if old else (0, 0, 0)
    moved = later.at - account.at if account and later else 0.0
    wait = rate(account.run_delay, later.run_delay, moved) if account and later else None
    spent = rate(ticks, row.ticks, seconds)
    delayed = rate(delay, row.delay, seconds) if row.delay else None
    return Process(
        pid=row.pid,
        start_ticks=row.start,
        comm=label(row.comm),
        state="X" if ended else row.state,
        parent=row.parent,
        cpu=None if spent is None else spent / _TICKS,
        run_wait=None if wait is None else wait / _NANOSECONDS,
        rss_bytes=None if row.kernel_thread else row.pages * _PAGE,
        threads=row.threads,
        read_bytes_per_second=_moved("read_bytes", account, later, moved),
        write_bytes_per_second=_moved("write_bytes", account, later, moved),
        major_faults_per_second=rate(faults, row.major_faults, seconds),
        io_wait=None if delayed is None else delayed / _TICKS,
        kernel_thread=row.kernel_thread,
    )


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
        below = "/" + str(group).removeprefix("/sys/fs/cgroup").strip("/")
        paths = ((p, control_group(ctx.paths.proc, p.pid) or "") for p in processes)
        processes = [p for p, path in paths if path == below or path.startswith(below + "/")]
    return processes


def _tops(watch: _Watch, known: list[Process], alive: list[Process]) -> dict[str, Any]:
    """List the processes that matter most in each respect."""
    most = watch.ctx.options.get("top", _TOP)
    users = [p for p in alive if not p.kernel_thread and p.state != "Z"]
    counted = [replace(p, fds=open_files(watch.proc, p.pid, watch.refused)) for p in users]
    fds = _top(counted, lambda p: p.fds, 3 * most)
    limited = [replace(p, fd_limit=open_files_limit(watch.proc, p.pid)) for p in fds]
    lists = {
        "top_cpu": _top(known, lambda p: p.cpu, most),
        "top_wait": _top(known, lambda p: p.run_wait, most),
        "top_memory": _top(users, lambda p: p.rss_bytes, most),
        "top_io": _top(known, _bytes_moved, most),
        "top_fds": limited[:most],
        "top_fd_share": _top(limited, _fd_share, most),
        "top_threads": _top(users, lambda p: p.threads, most),
        "top_faults": _top(known, lambda p: p.major_faults_per_second, most),
    }
    return {name: tuple(_named(watch, part)) for name, part in lists.items()}


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


def _named(watch: _Watch, processes: Iterable[Process]) -> Iterator[Process]:
    """Add what is read only for the listed ones; each of them is read once."""
    mode = watch.ctx.options.get("command_line", "off")
    for p in processes:
        if p.state == "X":
            yield p
            continue
        line = None if mode == "off" else shown(arguments(watch.proc, p.pid), mode)
        yield replace(p, cgroup=_cgroup(watch, p), command_line=line)


def _cgroup(watch: _Watch, process: Process) -> str | None:
    """Read a process's control group, once per identity and sweep."""
    cache: dict[Identity, str | None] = watch.ctx.memory.setdefault("cgroups", {})
    key = (process.pid, process.start_ticks)
    if len(cache) > 10 * _MOST_ACCOUNTS:
        cache.clear()
    if key not in cache:
        cache[key] = control_group(watch.proc, process.pid)
    return cache[key]


def _blocked(watch: _Watch, alive: list[Process]) -> tuple[Process, ...]:
    """List the processes that were uninterruptible at the last two scans."""
    before: Mapping[Identity, Row] = watch.before.rows if watch.before else {}
    stuck = []
    for p in alive:
        old = before.get((p.pid, p.start_ticks))
        if p.state == "D" and not p.kernel_thread and old is not None and old.state == "D":
            stuck.append(replace(p, wchan=sleeps_in(watch.proc, p.pid)))
    return tuple(_named(watch, stuck[:_TOP]))


def _parents(last: Scan) -> dict[str, int]:
    """Count zombies by the parent that should collect them."""
    names = {row.pid: row.comm for row in last.rows.values()}
    zombies = Counter(row.parent for row in last.rows.values() if row.state == "Z")
    return {
        f"{label(names.get(pid, b'?'))} ({pid})": count for pid, count in zombies.most_common(_TOP)
    }
