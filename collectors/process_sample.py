"""What is told of processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
        run_wait: Time that its first thread waited for a CPU per second of the window
            [ratio]; the kernel tells no sum of all threads.
        rss_bytes: Resident memory [bytes].
        threads: Its threads.
        fds: Open file descriptors.
        fd_limit: Most it may open.
        read_bytes_per_second: Fetched from storage [bytes/s].
        write_bytes_per_second: Sent to storage [bytes/s].
        major_faults_per_second: Page faults that needed storage [1/s].
        pages_taken_per_second: Memory it asked for: page faults of both kinds, or its
            growth where that is more, since a huge page comes with one fault [pages/s].
        io_wait: Time waiting for block I/O per second; where delay accounting is on [ratio].
        kernel_thread: Whether it is one.
        command_line: As configured; by default not read at all.
        user: Its effective user's id; read for those listed by memory or swap only.
        swap_bytes: What it has in swap [bytes]; read as `user` is.
        oom_score: Whom the kernel kills first when memory runs out: the highest, of
            0 to 2000; read as `user` is.
        wchan: The kernel function it sleeps in, for blocked processes.
        stack: The functions that led there, innermost first, for blocked processes;
            empty when unknown.
        blocked_seconds: How long a blocked process has not run at all, as far as
            it was watched [s].

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
    pages_taken_per_second: float | None = None
    io_wait: float | None = None
    kernel_thread: bool = False
    command_line: str | None = None
    wchan: str | None = None
    blocked_seconds: float | None = None
    user: int | None = None
    swap_bytes: int | None = None
    oom_score: int | None = None
    stack: tuple[str, ...] = ()


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
        refused: Processes that did not let their I/O or descriptors be read: what
            those do to storage is unknown.
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
        top_taken: By memory asked for.
        top_swap: By what they have in swap; of the 300 oldest processes, and only
            looked for when there is anything in swap.
        page_bytes: Size of a page of memory [bytes]; None when it was not told.

    """

    window_seconds: float
    scans: int
    total: int
    threads: int
    states: Mapping[str, int]
    started: int = 0
    exited: int = 0
    unreadable: int = 0
    refused: int = 0
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
    top_taken: tuple[Process, ...] = ()
    top_swap: tuple[Process, ...] = ()
    page_bytes: int | None = None
