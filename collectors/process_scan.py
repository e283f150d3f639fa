"""Looking at all processes once: one pass over /proc, as cheap as it gets."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from collectors.text import label, natural

READ = 4096
_KTHREADD = 2
_LAST_FIELD = 22  # rss is the 24th field of the file, the 22nd after the name
_DELAY_FIELD = 39  # delayacct_blkio_ticks

Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Row:
    """
    What /proc/PID/stat says of a process.

    Attributes:
        pid: Its id.
        start: Start after boot; with the pid its identity [clock ticks].
        comm: The name it gave itself, as it is.
        state: R, S, D, Z, T, t, X, I.
        parent: Its parent's id.
        ticks: CPU time used so far [clock ticks].
        threads: Its threads.
        pages: Resident memory [pages].
        major_faults: Page faults that needed storage, so far.
        delay: Time waiting for block I/O so far [clock ticks]; 0 without delay accounting.

    """

    pid: int
    start: int
    comm: bytes
    state: str
    parent: int
    ticks: int
    threads: int
    pages: int
    major_faults: int
    delay: int

    @property
    def identity(self) -> Identity:
        """The pid with the start time, which no other process ever has."""
        return self.pid, self.start

    @property
    def kernel_thread(self) -> bool:
        """Whether it is a thread of the kernel."""
        return _KTHREADD in (self.pid, self.parent)


@dataclass(frozen=True, slots=True)
class Scan:
    """
    One look at all processes.

    Attributes:
        at: When, on the monotonic clock [s].
        rows: Identity to row.
        unreadable: Processes that vanished or were hidden while they were read.

    """

    at: float
    rows: dict[Identity, Row]
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """
    The dearer counters of a process.

    Attributes:
        at: When they were read, on the monotonic clock [s].
        read_bytes: Fetched from storage [bytes]; None when not readable.
        write_bytes: Sent to storage [bytes]; None when not readable.
        run_delay: Time on a run queue [ns]; None when the kernel does not tell.

    """

    at: float
    read_bytes: int | None = None
    write_bytes: int | None = None
    run_delay: int | None = None


@dataclass(slots=True)
class Refused:
    """
    Sources that the kernel refused.

    Attributes:
        files: Name of the file below /proc/PID to how often.

    """

    files: dict[str, int] = field(default_factory=dict)


def parse_stat(raw: bytes) -> Row:
    """
    Parse a process's status line.

    Args:
        raw: Content of /proc/PID/stat. The name may hold anything, newlines and
            closing parentheses among it, so only the last parenthesis ends it.

    Returns:
        The row.

    Raises:
        ValueError: When it is not of the kernel's form.

    Source:
        /proc/PID/stat, proc(5).

    """
    opened, closed = raw.find(b"("), raw.rfind(b")")
    fields = raw[closed + 1 :].split()
    if opened < 0 or closed < opened or len(fields) < _LAST_FIELD:
        raise ValueError(f"not a process: {raw[:40]!r}")
    if len(fields[0]) != 1 or not fields[0].isalpha():
        raise ValueError(f"not a state: {fields[0][:20]!r}")
    return Row(
        pid=natural(raw[:opened].strip()),
        start=natural(fields[19]),
        comm=raw[opened + 1 : closed],
        state=fields[0].decode("ascii"),
        parent=natural(fields[1]),
        ticks=natural(fields[11]) + natural(fields[12]),
        threads=natural(fields[17]),
        pages=natural(fields[21]),
        major_faults=natural(fields[9]),
        delay=natural(fields[_DELAY_FIELD]) if len(fields) > _DELAY_FIELD else 0,
    )


def scan(proc: Path, at: float, without: Collection[int] = ()) -> Scan:
    """
    Look at all processes.

    Args:
        proc: procfs.
        at: The present time on the monotonic clock [s].
        without: Process ids to leave out.

    Returns:
        The rows; a process that vanished meanwhile is counted and left out.

    Raises:
        OSError: When procfs itself cannot be listed.

    Source:
        /proc/PID/stat.

    """
    base, rows, gone = os.fspath(proc), {}, 0
    for name in os.listdir(base):  # noqa: PTH208  half the cost of Path
        if not name.isdigit() or int(name) in without:
            continue
        try:
            row = parse_stat(_read(f"{base}/{name}/stat"))
        except (OSError, ValueError):
            gone += 1
            continue
        rows[row.identity] = row
    return Scan(at, rows, gone)


def accounts(
    proc: Path, rows: Iterable[Row], at: float, refused: Refused
) -> dict[Identity, Account]:
    """
    Read the dearer counters of some processes.

    Args:
        proc: procfs.
        rows: The processes.
        at: The present time on the monotonic clock [s].
        refused: Takes what the kernel did not let us read.

    Returns:
        dict identity -> account.

    Source:
        read_bytes and write_bytes of /proc/PID/io (needs CAP_SYS_PTRACE for
        other users'); the second number of /proc/PID/schedstat.

    """
    base = os.fspath(proc)
    table: dict[Identity, Account] = {}
    for row in rows:
        moved = parse_io(_try(f"{base}/{row.pid}/io", "io", refused) or b"")
        waits = _try(f"{base}/{row.pid}/schedstat", "schedstat", refused)
        table[row.identity] = Account(at, *moved, None if waits is None else parse_delay(waits))
    return table


def parse_io(raw: bytes) -> tuple[int | None, int | None]:
    """
    Parse a process's I/O counters.

    Args:
        raw: Content of /proc/PID/io.

    Returns:
        Bytes fetched from and sent to storage; None where a line is missing.

    """
    found: dict[bytes, int] = {}
    for line in raw.split(b"\n"):
        key, _, value = line.partition(b": ")
        if key in (b"read_bytes", b"write_bytes") and value.isdigit():
            found[key] = natural(value[:20])
    return found.get(b"read_bytes"), found.get(b"write_bytes")


def parse_delay(raw: bytes) -> int | None:
    """
    Parse the time a process spent on run queues.

    Args:
        raw: Content of /proc/PID/schedstat.

    Returns:
        The time [ns]; None when the file is empty or of another form.

    """
    fields = raw.split()
    if len(fields) < 2 or not fields[1].isdigit():  # noqa: PLR2004
        return None
    return natural(fields[1][:20])


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
        refused.files["fd"] = refused.files.get("fd", 0) + 1
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
    raw = _try(f"{os.fspath(proc)}/{pid}/limits", "limits", Refused()) or b""
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
    raw = _try(f"{os.fspath(proc)}/{pid}/cgroup", "cgroup", Refused())
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
    raw = _try(f"{os.fspath(proc)}/{pid}/wchan", "wchan", Refused())
    return label(raw) if raw and raw != b"0" else None


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
    raw = _try(f"{os.fspath(proc)}/{pid}/cmdline", "cmdline", Refused()) or b""
    return [word for word in raw.split(b"\0") if word]


def _read(path: str) -> bytes:
    """Read a small file in one go."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, READ)
    finally:
        os.close(handle)


def _try(path: str, name: str, refused: Refused) -> bytes | None:
    """Read a small file of a process that may have ended or belong to another user."""
    try:
        return _read(path)
    except PermissionError:
        refused.files[name] = refused.files.get(name, 0) + 1
    except OSError:
        pass
    return None
