"""What the kernel itself reports: its log's error messages, each counted once."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from collectors.base import READ_LIMIT, Context, collector
from collectors.kernel_log_classes import (
    ALARM,
    CLASSES,
    LEVELS,
    Record,
    classify,
    parse_record,
)
from collectors.model import Cause, Unavailable
from collectors.text import label

# The log may be many megabytes: at up to 10 us a message this is a fifth of a second.
_MOST_RECORDS = 20_000
_LONGEST = 16_384  # beyond the kernel's longest message (CONSOLE_EXT_LOG_MAX, 8 KiB)
_KMSG = os.makedev(1, 11)  # Documentation/admin-guide/devices.txt
_SHOWN = 10
_SUBJECTS = 32
_TEXT = 200
_SERIOUS = 5  # levels from emerg to warning
_WAY_OUT = "run as root, grant CAP_SYSLOG, or set the sysctl kernel.dmesg_restrict to 0"


@dataclass(frozen=True, slots=True)
class LogMessage:
    """
    One error the kernel reported.

    Attributes:
        sequence: Its place among all messages since boot.
        since_boot: When, on the kernel's clock, which stands still in suspend [s].
        error: Its class.
        level: Its level's name.
        text: The message, cut and safe to show.
        new: It counts among `increases`; an older one is shown for its text.

    """

    sequence: int
    since_boot: float
    error: str
    level: str
    text: str
    new: bool


@dataclass(frozen=True, slots=True)
class LogSubject:
    """
    What new errors of a class name.

    Attributes:
        error: The class.
        name: The device, interface or program.
        count: New messages that name it.

    """

    error: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class KernelLogSample:
    """
    Errors in the kernel's log; what programs write there is not counted.

    Attributes:
        totals: Class to messages counted since boot; at least so many where
            `complete` is false.
        increases: The same since the sweep before; in the first sweep, in its window.
        levels: Level (emerg to warning) to messages of the kernel since boot, likewise.
        levels_increase: The same since the sweep before.
        subjects: What the new errors name, most often named first; at most 32.
        messages: The newest errors, oldest first: at most ten, of which the class
            "alarm" has at most five.
        records: Messages read for this sweep, of the kernel or not.
        lost: Messages since boot that were overwritten before they were read.
        lost_increase: The same since the sweep before.
        complete: Whether `totals` holds everything since boot.
        caught_up: False when reading stopped at its limit and goes on in the next sweep.

    """

    totals: Mapping[str, int]
    increases: Mapping[str, int]
    levels: Mapping[str, int]
    levels_increase: Mapping[str, int]
    subjects: tuple[LogSubject, ...] = ()
    messages: tuple[LogMessage, ...] = ()
    records: int = 0
    lost: int = 0
    lost_increase: int = 0
    complete: bool = True
    caught_up: bool = True


class _Device:
    """
    The open log: kept from sweep to sweep, because a new reader starts at the oldest message.

    Args:
        handle: Its descriptor, not blocking.

    """

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __del__(self) -> None:
        os.close(self.handle)

    def records(self) -> Iterator[bytes]:
        """Read on, one message at a time, until there is no newer one."""
        while True:
            try:
                yield os.read(self.handle, _LONGEST)
            except BlockingIOError:
                return
            except BrokenPipeError:
                # Overwritten under the reader; the next read gives the oldest one left,
                # and the gap in the sequence tells how many were lost.
                yield b""

    def skip(self) -> None:
        """Go behind the newest message."""
        os.lseek(self.handle, 0, os.SEEK_END)


@dataclass(slots=True)
class _Notes:
    """
    What is remembered from sweep to sweep.

    Attributes:
        path: The log's path.
        boot_id: The boot in which it was written; None when unknown.
        device: The open device; None for a plain file.
        expected: Sequence number of the next message; all before it are counted or
            lost. None where messages were left out, so that a gap means nothing.
        last: Highest sequence number seen.
        first: Whether no window has been watched yet.
        complete: Whether everything since boot was counted.

    """

    path: Path
    boot_id: bytes | None
    device: _Device | None = None
    expected: int | None = 0
    last: int = -1
    first: bool = True
    complete: bool = True
    totals: Counter[str] = field(default_factory=Counter)
    levels: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    errors: deque[LogMessage] = field(default_factory=lambda: deque(maxlen=_SHOWN))
    alarms: deque[LogMessage] = field(default_factory=lambda: deque(maxlen=_SHOWN // 2))


@dataclass(slots=True)
class _Sweep:
    """What a sweep found new; what was there before the first one's window is not."""

    increases: Counter[str] = field(default_factory=Counter)
    levels: Counter[int] = field(default_factory=Counter)
    subjects: Counter[tuple[str, str]] = field(default_factory=Counter)
    first_new: int = 0
    records: int = 0
    lost: int = 0
    caught_up: bool = True


@collector(category="kernel")
def collect(ctx: Context) -> KernelLogSample:
    """
    Read what the kernel reported since the sweep before, at the window's end.

    The first sweep reads the whole log when its window opens, so that what is
    older is counted since boot but not as new.

    Args:
        ctx: Paths, window, and memory, in which the place in the log is kept.

    Returns:
        The errors.

    Raises:
        Unavailable: When the log cannot be read.

    Source:
        /dev/kmsg, Documentation/ABI/testing/dev-kmsg; /proc/sys/kernel/random/boot_id.

    """
    notes = _notes(ctx)
    found = _Sweep(first_new=notes.last + 1)
    for number, _ in enumerate(ctx.ends()):
        if notes.first and number == 0:
            found = _read_history(ctx, notes)
    _read(ctx, notes, found)
    notes.first = False
    return _sample(notes, found)


def _notes(ctx: Context) -> _Notes:
    """Find the place in the log where the sweep before stopped; none after a reboot."""
    path = ctx.paths.root / "dev/kmsg"
    boot_id = ctx.try_read(ctx.paths.proc / "sys/kernel/random/boot_id", 64)
    notes: _Notes | None = ctx.memory.get("notes")
    if notes is None or notes.boot_id != boot_id or (notes.device and notes.path != path):
        notes = _Notes(path, boot_id, _open(path))
    notes.path = path
    ctx.memory["notes"] = notes
    return notes


def _open(path: Path) -> _Device | None:
    """Open the log; None when it is a plain file, which needs no place to be kept."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise _refused(path, error) from error
    device, status = _Device(handle), os.fstat(handle)
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == _KMSG:
        return device
    if stat.S_ISREG(status.st_mode):
        return None
    raise Unavailable(f"{path} is not the kernel's log", Cause.MISSING)


def _refused(path: Path, error: OSError) -> Unavailable:
    """Turn a failed open or read into an answer with the way out."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return Unavailable(f"{path}: not permitted ({_WAY_OUT})", Cause.PERMISSION)
    cause = Cause.MISSING if error.errno in (errno.ENOENT, errno.ENXIO) else Cause.UNREADABLE
    return Unavailable(f"{path}: {(error.strerror or 'unreadable').lower()}", cause)


def _read_history(ctx: Context, notes: _Notes) -> _Sweep:
    """Count what is in the log already, and begin anew behind it."""
    history = _Sweep()
    _read(ctx, notes, history)
    if not history.records:
        # The kernel's own first words are there for ever, or others in their place.
        raise Unavailable(f"{notes.path} holds no message at all", Cause.MISSING)
    if not history.caught_up:
        notes.complete, notes.expected = False, None
        _skip(ctx, notes)
    return _Sweep(first_new=notes.last + 1, records=history.records)


def _skip(ctx: Context, notes: _Notes) -> None:
    """Go behind the newest message."""
    if notes.device is not None:
        notes.device.skip()
        return
    for line in _lines(ctx, notes):
        with suppress(ValueError):
            notes.last = parse_record(line).sequence


def _read(ctx: Context, notes: _Notes, found: _Sweep) -> None:
    """Count every message behind the notes' place, up to the limit."""
    before = found.records
    try:
        source = notes.device.records() if notes.device else _lines(ctx, notes)
        for raw in islice(source, _MOST_RECORDS):
            found.records += 1
            if raw:
                _take(ctx, notes, found, raw)
    except OSError as error:
        raise _refused(notes.path, error) from error
    if found.records - before == _MOST_RECORDS:
        found.caught_up = False
        text = f"{notes.path}: reading stopped after {_MOST_RECORDS} messages"
        ctx.note(str(notes.path), Cause.UNREADABLE, text)


def _lines(ctx: Context, notes: _Notes) -> Iterator[bytes]:
    """Read a log that was copied into a file; a device's properties are indented."""
    for line in ctx.read(ctx.paths.root / "dev/kmsg", READ_LIMIT).split(b"\n"):
        if line and not line.startswith(b" ") and not _seen(line, notes.last):
            yield line


def _seen(line: bytes, last: int) -> bool:
    """Tell whether a line was counted; what is no message says so in each sweep."""
    try:
        return parse_record(line).sequence <= last
    except ValueError:
        return False


def _take(ctx: Context, notes: _Notes, found: _Sweep, raw: bytes) -> None:
    """Count one message, and the gap before it."""
    try:
        record = parse_record(raw)
    except ValueError as error:
        ctx.note(str(notes.path), Cause.GARBLED, str(error))
        return
    gap = 0 if notes.expected is None else record.sequence - notes.expected
    notes.lost += gap
    found.lost += gap
    notes.last, notes.expected = record.sequence, record.sequence + 1
    # Programs may write to the log too, but never as facility 0.
    if record.facility == 0:
        _count(notes, found, record)


def _count(notes: _Notes, found: _Sweep, record: Record) -> None:
    """Count a message of the kernel."""
    if record.level < _SERIOUS:
        notes.levels[record.level] += 1
        found.levels[record.level] += 1
    error = classify(record.text.decode("ascii", "replace"), record.level)
    if error is None:
        return
    kind, subject = error
    notes.totals[kind] += 1
    found.increases[kind] += 1
    key = (kind, label(subject or ""))
    if subject and (key in found.subjects or len(found.subjects) < _SUBJECTS):
        found.subjects[key] += 1
    (notes.alarms if kind == ALARM else notes.errors).append(_message(record, kind))


def _message(record: Record, kind: str) -> LogMessage:
    """Keep what a message says."""
    seconds, level = record.microseconds / 1e6, LEVELS[record.level]
    return LogMessage(record.sequence, seconds, kind, level, label(record.text, _TEXT), new=False)


def _sample(notes: _Notes, found: _Sweep) -> KernelLogSample:
    """Write the counts out."""
    serious = range(_SERIOUS)
    return KernelLogSample(
        totals={name: notes.totals[name] for name in CLASSES},
        increases={name: found.increases[name] for name in CLASSES},
        levels={LEVELS[n]: notes.levels[n] for n in serious},
        levels_increase={LEVELS[n]: found.levels[n] for n in serious},
        subjects=tuple(LogSubject(*key, count) for key, count in found.subjects.most_common()),
        messages=_newest(notes, found.first_new),
        records=found.records,
        lost=notes.lost,
        lost_increase=found.lost,
        complete=notes.complete and notes.lost == 0,
        caught_up=found.caught_up,
    )


def _newest(notes: _Notes, first_new: int) -> tuple[LogMessage, ...]:
    """Choose the newest errors; alarms, which may be many, leave room for the rest."""
    both = sorted((*notes.errors, *notes.alarms), key=lambda m: m.sequence)
    return tuple(replace(m, new=m.sequence >= first_new) for m in both[-_SHOWN:])
