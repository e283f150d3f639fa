"""Looking at all processes once: one pass over /proc, as cheap as it gets."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from collectors.text import natural

READ = 4096
_PF_KTHREAD = 0x00200000
_LAST_FIELD = 22  # rss is the 24th field of the file, the 22nd after the name
# Counted after the name: parent, flags, minor and major faults, user and system
# time, threads, start, resident pages.
_FIELDS = itemgetter(1, 6, 7, 9, 11, 12, 17, 19, 21)
_MOST_DIGITS = 200
_DELAY_FIELD = 39  # delayacct_blkio_ticks

Identity = tuple[int, int]


class Row(NamedTuple):
    """
    What /proc/PID/stat says of a process; a tuple, because thousands are made.

    Attributes:
        pid: Its id.
        start: Start after boot; with the pid its identity [clock ticks].
        comm: The name it gave itself, as it is.
        state: R, S, D, Z, T, t, X, I.
        parent: Its parent's id.
        ticks: CPU time used so far [clock ticks].
        threads: Its threads.
        pages: Resident memory [pages].
        minor_faults: Page faults that needed none, so far.
        major_faults: Page faults that needed storage, so far.
        delay: Time waiting for block I/O so far [clock ticks]; 0 without delay accounting.
        kernel_thread: Whether it is a thread of the kernel.

    """

    pid: int
    start: int
    comm: bytes
    state: str
    parent: int
    ticks: int
    threads: int
    pages: int
    minor_faults: int
    major_faults: int
    delay: int
    kernel_thread: bool

    @property
    def identity(self) -> Identity:
        """The pid with the start time, which no other process ever has."""
        return self.pid, self.start


@dataclass(frozen=True, slots=True)
class Scan:
    """
    One look at all processes.

    Attributes:
        at: When, on the monotonic clock [s].
        rows: Identity to row.
        unreadable: Processes that vanished or were hidden while they were read.
        newest: The latest start among them, after boot [clock ticks].

    """

    at: float
    rows: dict[Identity, Row]
    unreadable: int = 0
    newest: int = 0

    def began_after(self, row: Row) -> bool:
        """
        Tell whether a process started after this scan, so that its counters began at 0.

        Args:
            row: A process that this scan does not have.

        Returns:
            False for one that was there and was missed.

        """
        return row.start >= self.newest


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
        files: Name of the file below /proc/PID to the processes whose it is.

    """

    files: dict[str, set[int]] = field(default_factory=dict)

    def add(self, name: str, pid: int) -> None:
        """
        Note a refusal; the same file of the same process counts once.

        Args:
            name: The file below /proc/PID.
            pid: The process.

        """
        self.files.setdefault(name, set()).add(pid)


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
        /proc/PID/stat, proc(5); PF_KTHREAD of its flags, include/linux/sched.h.

    """
    opened, closed = raw.find(b"("), raw.rfind(b")")
    fields = raw[closed + 1 :].split()
    if opened < 0 or closed < opened or len(fields) < _LAST_FIELD:
        raise ValueError(f"not a process: {raw[:40]!r}")
    if len(fields[0]) != 1 or not fields[0].isalpha():
        raise ValueError(f"not a state: {fields[0][:20]!r}")
    delay = fields[_DELAY_FIELD] if len(fields) > _DELAY_FIELD else b"0"
    wanted = [raw[:opened].strip(), delay, *_FIELDS(fields)]
    # One look at all digits costs a third of one at each number; with it, every
    # one of them is a plain number, for none can be empty but the first.
    digits = b"".join(wanted)
    if not wanted[0] or not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise ValueError(f"not numbers: {digits[:40]!r}")
    pid, waited, parent, flags, minor, faults, user, system, threads, start, pages = map(
        int, wanted
    )
    return Row(
        pid=pid,
        start=start,
        comm=raw[opened + 1 : closed],
        state=fields[0].decode("ascii"),
        parent=parent,
        ticks=user + system,
        threads=threads,
        pages=pages,
        minor_faults=minor,
        major_faults=faults,
        delay=waited,
        # Not by its parent: in a container, process 2 is like any other.
        kernel_thread=bool(flags & _PF_KTHREAD),
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
    return Scan(at, rows, gone, max((start for _, start in rows), default=0))


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
        moved = parse_io(attempt(base, row.pid, "io", refused) or b"")
        waits = attempt(base, row.pid, "schedstat", refused)
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


def _read(path: str) -> bytes:
    """Read a small file in one go."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, READ)
    finally:
        os.close(handle)


def attempt(base: str, pid: int, name: str, refused: Refused | None = None) -> bytes | None:
    """
    Read a small file of a process that may have ended or belong to another user.

    Args:
        base: procfs.
        pid: The process.
        name: The file's name below /proc/PID.
        refused: Takes it when the kernel did not let us read.

    Returns:
        Its content; None when it could not be read.

    """
    try:
        return _read(f"{base}/{pid}/{name}")
    except PermissionError:
        if refused is not None:
            refused.add(name, pid)
    except OSError:
        pass
    return None
