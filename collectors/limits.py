"""What the kernel has only so much of: open files, tasks, process ids, watches."""

from __future__ import annotations

from dataclasses import dataclass

from collectors.base import Context, collector
from collectors.model import Unavailable
from collectors.text import natural, natural_or_none

# An "unlimited" file-max on 64-bit kernels since 5.0 is the largest long.
_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class LimitsSample:
    """
    Use and limit of what the whole host shares.

    Attributes:
        files: Open file handles.
        files_max: Most of them; None when there is no limit in effect.
        tasks: Processes and threads.
        threads_max: Most of them.
        pid_max: Process ids there are; each thread needs one.
        inotify_instances_max: Per user.
        inotify_watches_max: Per user. How many are in use is told nowhere
            without walking all processes' fdinfo, so it is not read.

    """

    files: int | None
    files_max: int | None
    tasks: int | None
    threads_max: int | None
    pid_max: int | None
    inotify_instances_max: int | None
    inotify_watches_max: int | None


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
    Read use and limits once, at the window's end.

    Args:
        ctx: Paths and window.

    Returns:
        The limits.

    Raises:
        Unavailable: When neither files nor tasks are told.

    Source:
        /proc/sys/fs/file-nr, /proc/loadavg, /proc/sys/kernel/{threads-max,pid_max},
        /proc/sys/fs/inotify.

    """
    for _ in ctx.ends():
        pass
    tree = ctx.paths.proc / "sys"
    handles = ctx.try_read(tree / "fs/file-nr")
    loads = ctx.try_read(ctx.paths.proc / "loadavg")
    if handles is None and loads is None:
        raise Unavailable(f"{tree}/fs/file-nr and {ctx.paths.proc}/loadavg cannot be read")
    used, most = parse_file_nr(handles) if handles else (None, None)
    return LimitsSample(
        files=used,
        files_max=most,
        tasks=parse_tasks(loads) if loads else None,
        threads_max=natural_or_none(ctx.try_read(tree / "kernel/threads-max")),
        pid_max=natural_or_none(ctx.try_read(tree / "kernel/pid_max")),
        inotify_instances_max=natural_or_none(ctx.try_read(tree / "fs/inotify/max_user_instances")),
        inotify_watches_max=natural_or_none(ctx.try_read(tree / "fs/inotify/max_user_watches")),
    )
