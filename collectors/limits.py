"""What the kernel has only so much of: open files, tasks, process ids, asynchronous I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collectors.base import Context, collector
from collectors.model import UNKNOWN, Distribution, Unavailable
from collectors.rates import distribution, ratio
from collectors.text import natural, natural_or_none

# An "unlimited" file-max on 64-bit kernels since 5.0 is the largest long.
_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class LimitsSample:
    """
    Use and limit of what the whole host shares.

    Attributes:
        files: Open file handles at the window's end.
        files_max: Most of them; None when there is no limit in effect.
        tasks: Processes and threads at the window's end.
        threads_max: Most of them.
        pid_max: Process ids there are; each thread needs one.
        inotify_instances_max: Per user.
        inotify_watches_max: Per user. How many are in use is told nowhere
            without walking all processes' fdinfo, so it is not read.
        aio_requests: Asynchronous I/O requests that contexts were set up for.
        aio_requests_max: Most of them.
        files_utilization: Share of the file handles in use [ratio]; unknown without a limit.
        tasks_utilization: Share of the tasks that may exist [ratio].
        pids_utilization: Share of the process ids in use [ratio].

    """

    files: int | None
    files_max: int | None
    tasks: int | None
    threads_max: int | None
    pid_max: int | None
    inotify_instances_max: int | None
    inotify_watches_max: int | None
    aio_requests: int | None = None
    aio_requests_max: int | None = None
    files_utilization: Distribution = UNKNOWN
    tasks_utilization: Distribution = UNKNOWN
    pids_utilization: Distribution = UNKNOWN


def parse_file_nr(raw: bytes) -> tuple[int, int | None]:
    """
    Parse the use of file handles.

    Args:
        raw: Content of /proc/sys/fs/file-nr.

    Returns:
        Handles in use and the limit; None when it is none in effect.

    Raises:
        ValueError: When there are not three numbers.

    Source:
        /proc/sys/fs/file-nr, Documentation/admin-guide/sysctl/fs.rst.

    """
    fields = raw.split()
    if len(fields) != 3:  # noqa: PLR2004
        raise ValueError(f"not three numbers: {raw[:40]!r}")
    used, spare, limit = map(natural, fields)
    return max(used - spare, 0), None if limit >= _UNLIMITED else limit


def parse_tasks(raw: bytes) -> int | None:
    """
    Parse the number of tasks.

    Args:
        raw: Content of /proc/loadavg.

    Returns:
        All tasks, threads included; None when it is not told.

    Source:
        The part after the slash in the fourth field of /proc/loadavg, proc(5).

    """
    fields = raw.split()
    return natural_or_none(fields[3].partition(b"/")[2]) if len(fields) > 3 else None  # noqa: PLR2004


@collector(category="kernel", essential=True)
def collect(ctx: Context) -> LimitsSample:
    """
    Read use at the window's ends, and limits once.

    Args:
        ctx: Paths and window.

    Returns:
        The limits.

    Raises:
        Unavailable: When neither files nor tasks are told.

    Source:
        /proc/sys/fs/file-nr and /proc/loadavg at both ends; at the end
        /proc/sys/kernel/{threads-max,pid_max}, /proc/sys/fs/{aio-nr,aio-max-nr}
        and /proc/sys/fs/inotify.

    """
    files: list[tuple[int, int | None]] = []
    tasks: list[int | None] = []
    for _ in ctx.ends():
        handles = ctx.try_read(ctx.paths.proc / "sys/fs/file-nr", 128)
        loads = ctx.try_read(ctx.paths.proc / "loadavg", 128)
        files += [parse_file_nr(handles)] if handles else []
        tasks += [parse_tasks(loads)] if loads else []
    if not files and not tasks:
        raise Unavailable(f"{ctx.paths.proc}/sys/fs/file-nr and loadavg cannot be read")
    return _sample(ctx, files, tasks)


def _sample(
    ctx: Context, files: list[tuple[int, int | None]], tasks: list[int | None]
) -> LimitsSample:
    """Set what was followed against its limits."""
    threads_max, pid_max = _number(ctx, "kernel/threads-max"), _number(ctx, "kernel/pid_max")
    return LimitsSample(
        files=files[-1][0] if files else None,
        files_max=files[-1][1] if files else None,
        tasks=tasks[-1] if tasks else None,
        threads_max=threads_max,
        pid_max=pid_max,
        inotify_instances_max=_number(ctx, "fs/inotify/max_user_instances"),
        inotify_watches_max=_number(ctx, "fs/inotify/max_user_watches"),
        aio_requests=_number(ctx, "fs/aio-nr"),
        aio_requests_max=_number(ctx, "fs/aio-max-nr"),
        files_utilization=distribution(ratio(used, most) for used, most in files),
        tasks_utilization=_shares(tasks, threads_max),
        pids_utilization=_shares(tasks, pid_max),
    )


def _number(ctx: Context, name: str) -> int | None:
    """Read a setting that is one number."""
    return natural_or_none(ctx.try_read(ctx.paths.proc / "sys" / name, 64))


def _shares(counts: Iterable[int | None], most: int | None) -> Distribution:
    """Give the share of a limit at each end."""
    return distribution(ratio(count, most) for count in counts)
