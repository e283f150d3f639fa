"""What the kernel has only so much of: open files, tasks, process ids, asynchronous I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collectors.base import Context, collector
from collectors.inotify import Watcher, watchers
from collectors.model import UNKNOWN, Distribution, Unavailable
from collectors.rates import distribution, ratio
from collectors.text import natural, natural_or_none

# An "unlimited" file-max on 64-bit kernels since 5.0 is the largest long.
_UNLIMITED = 1 << 62
_MOST_USERS = 5
_LONG = 30.0  # [s]


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
        inotify_watches_max: Per user.
        aio_requests: Asynchronous I/O requests that contexts were set up for.
        aio_requests_max: Most of them.
        files_utilization: Share of the file handles in use [ratio]; unknown without a limit.
        tasks_utilization: Share of the tasks that may exist [ratio].
        pids_utilization: Share of the process ids in use [ratio].
        terminals: Pseudo-terminals in use.
        terminals_max: Most of them.
        key_users: The users who hold most of the kernel's keys they may, fullest
            first, at most 5; a full ring makes containers and logins fail.
        inotify_users: The users who watch most files, at most 5; None in windows
            shorter than 30 s, because all descriptors are walked to know it.

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
    terminals: int | None = None
    terminals_max: int | None = None
    key_users: tuple[KeyUser, ...] = ()
    inotify_users: tuple[Watcher, ...] | None = None


@dataclass(frozen=True, slots=True)
class KeyUser:
    """
    One user's share of the kernel's keys.

    Attributes:
        user: The user's id.
        keys: Keys held.
        keys_max: Most of them.
        bytes: Their memory [bytes].
        bytes_max: Most of it [bytes].

    """

    user: int
    keys: int
    keys_max: int
    bytes: int
    bytes_max: int

    @property
    def utilization(self) -> float:
        """The fuller of both [ratio]; 1 when none may be held."""
        return max(self.keys / max(self.keys_max, 1), self.bytes / max(self.bytes_max, 1))


def parse_key_users(raw: bytes) -> tuple[KeyUser, ...]:
    """
    Parse who holds the kernel's keys.

    Args:
        raw: Content of /proc/key-users.

    Returns:
        The users, in the kernel's order.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        "uid: usage keys/instantiated keys/maxkeys bytes/maxbytes" of /proc/key-users,
        keyrings(7).

    """
    users = []
    for line in raw.splitlines():
        fields = line.split()
        if len(fields) != 5:  # noqa: PLR2004
            raise ValueError(f"not a user of keys: {line[:40]!r}")
        keys, size = (f.partition(b"/") for f in fields[3:])
        numbers = (keys[0], keys[2], size[0], size[2])
        users.append(KeyUser(natural(fields[0].rstrip(b":")), *map(natural, numbers)))
    return tuple(users)


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
        /proc/sys/kernel/{threads-max,pid_max,pty}, /proc/sys/fs/{aio-nr,aio-max-nr},
        /proc/sys/fs/inotify, /proc/key-users, and for inotify /proc/PID/{fd,fdinfo}.

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
        terminals=_number(ctx, "kernel/pty/nr"),
        terminals_max=_number(ctx, "kernel/pty/max"),
        key_users=_key_users(ctx),
        inotify_users=watchers(ctx) if ctx.duration >= _LONG else None,
    )


def _key_users(ctx: Context) -> tuple[KeyUser, ...]:
    """Read who is nearest to the limit of keys."""
    users = parse_key_users(ctx.try_read(ctx.paths.proc / "key-users") or b"")
    return tuple(sorted(users, key=lambda u: -u.utilization)[:_MOST_USERS])


def _number(ctx: Context, name: str) -> int | None:
    """Read a setting that is one number."""
    return natural_or_none(ctx.try_read(ctx.paths.proc / "sys" / name, 64))


def _shares(counts: Iterable[int | None], most: int | None) -> Distribution:
    """Give the share of a limit at each end."""
    return distribution(ratio(count, most) for count in counts)
