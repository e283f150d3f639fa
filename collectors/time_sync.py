"""The clock: whether something keeps it right, how wrong it may be, and what it is read from."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.text import label

# struct timex of include/uapi/linux/timex.h, as the C library has it: modes; offset, freq,
# maxerror, esterror; status; constant, precision, tolerance; time; tick; then PPS; tai.
_TIMEX = struct.Struct("@I4l i3l 2l 3l i5l i")
_ROOM = 256  # the structure ends in unused words
_INSERT, _DELETE, _UNSYNC, _NANO = 0x0010, 0x0020, 0x0040, 0x2000
_STATES = ("ok", "insert", "delete", "in_progress", "wait", "error")
_FLAGS = {
    0x0001: "pll", 0x0002: "pps_frequency", 0x0004: "pps_time", 0x0008: "fll", 0x0010: "insert",
    0x0020: "delete", 0x0040: "unsync", 0x0080: "frequency_hold", 0x0100: "pps_signal",
    0x0200: "pps_jitter", 0x0400: "pps_wander", 0x0800: "pps_error", 0x1000: "clock_error",
    0x2000: "nano", 0x4000: "mode_fll", 0x8000: "clock_b",
}  # fmt: skip
_MICRO, _NANO_SECOND = 1e-6, 1e-9
_FREQUENCY = 65_536  # parts per million with 16 bits of fraction
_TICK = 10_000  # unless a daemon changes it, on kernels with USER_HZ 100, which all now are
_PATIENCE = 0.005
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Timex:
    """
    What the kernel knows of its clock.

    Attributes:
        synchronized: Whether something told the kernel that it keeps the clock right.
        state: ok, error (not synchronized), or where a leap second stands.
        flags: The status bits that are set.
        offset: What is still to be corrected, by the kernel's own loop; daemons
            that correct in other ways (chrony) leave it at 0 [s].
        frequency_ppm: Correction of the clock's speed [parts per million].
        max_error: The clock is not more wrong than this; grows by 0.5 ms a second
            until a daemon says otherwise, up to 16 s [s].
        estimated_error: As the daemon estimates it [s].
        time_constant: Of the kernel's loop, as a power of two.
        tick: Microseconds the clock advances a hundredth of a second, normally 10,000 [us].
        tai_offset: TAI minus UTC; 0 when nobody told [s].
        leap: Leap second to come at the day's end: insert, delete or none.
        wall: The clock itself, since the epoch [s].

    """

    synchronized: bool
    state: str
    flags: tuple[str, ...]
    offset: float
    frequency_ppm: float
    max_error: float
    estimated_error: float
    time_constant: int
    tick: int
    tai_offset: int
    leap: str
    wall: float


@dataclass(frozen=True, slots=True)
class TimeSyncSample:
    """
    The clock at the window's end.

    Attributes:
        timex: What the kernel knows of it; None when it was not asked.
        was_synchronized: Whether an earlier sweep since this program's start found
            it synchronized.
        disciplined: Whether a daemon has corrected it since boot, as its speed
            shows, or as an earlier sweep found; None when unknown.
        step_seconds: By how much the clock was set forward (or back, negative) since
            the sweep before, or in the window of the first one; what is corrected
            by its speed is not in it [s]. None when unknown.
        clocksource: What time is read from.
        clocksources: What it could be read from.

    """

    timex: Timex | None
    was_synchronized: bool = False
    disciplined: bool | None = None
    step_seconds: float | None = None
    clocksource: str | None = None
    clocksources: tuple[str, ...] = ()


def parse_timex(raw: bytes, state: int = 0) -> Timex:
    """
    Take the kernel's answer apart.

    Args:
        raw: A struct timex of this machine's word size.
        state: What adjtimex returned.

    Returns:
        What it says.

    Raises:
        ValueError: When it is too short or the state is not known.

    Source:
        adjtimex(2), include/uapi/linux/timex.h.

    """
    if len(raw) < _TIMEX.size or not 0 <= state < len(_STATES):
        raise ValueError(f"not an answer of adjtimex: {len(raw)} bytes, state {state}")
    fields = _TIMEX.unpack_from(raw)
    _, offset, frequency, most, estimated, status, constant, _, _, seconds, part, tick = fields[:12]
    unit = _NANO_SECOND if status & _NANO else _MICRO
    return Timex(
        synchronized=not status & _UNSYNC and _STATES[state] != "error",
        state=_STATES[state],
        flags=tuple(name for bit, name in _FLAGS.items() if status & bit),
        offset=offset * unit,
        frequency_ppm=frequency / _FREQUENCY,
        max_error=most * _MICRO,
        estimated_error=estimated * _MICRO,
        time_constant=constant,
        tick=tick,
        tai_offset=fields[-1],
        leap="insert" if status & _INSERT else "delete" if status & _DELETE else "none",
        wall=seconds + part * unit,
    )


@collector(category="system")
def collect(ctx: Context) -> TimeSyncSample:
    """
    Ask the kernel of its clock; nothing is changed, and no right is needed.

    Args:
        ctx: Paths, window, and memory of earlier sweeps.

    Returns:
        The clock at the window's end.

    Raises:
        Unavailable: When nothing is told.

    Source:
        adjtimex(2) with modes 0, unless procfs is another host's;
        /sys/devices/system/clocksource/clocksource0/{current,available}_clocksource.

    """
    readings = [_ask(ctx) for _ in ctx.ends()]
    timex, base = readings[-1]
    first = ctx.memory.get("base", readings[0][1])
    current = _clocksources(ctx, "current")
    if timex is None and not current:
        raise Unavailable("neither adjtimex nor sysfs tell of the clock", Cause.MISSING)
    sample = TimeSyncSample(
        timex=timex,
        was_synchronized=ctx.memory.get("synchronized", False),
        disciplined=_disciplined(ctx, timex),
        step_seconds=None if base is None or first is None else base - first,
        clocksource=current[0] if current else None,
        clocksources=_clocksources(ctx, "available"),
    )
    _remember(ctx, timex, base)
    return sample


def _ask(ctx: Context) -> tuple[Timex | None, float | None]:
    """Ask the kernel, and set its clock against one that nobody can set."""
    # The kernel that answers is this host's, whatever the paths are.
    if ctx.paths.proc != Path("/proc"):
        return None, None
    timex, adjtimex = None, _adjtimex()
    try:
        for _ in range(_ATTEMPTS):
            before = time.clock_gettime(time.CLOCK_BOOTTIME)
            timex = parse_timex(*adjtimex())
            after = time.clock_gettime(time.CLOCK_BOOTTIME)
            # A thread that was set aside between the two cannot compare them.
            if after - before <= _PATIENCE:
                return timex, timex.wall - (before + after) / 2
    except OSError as error:
        refused = error.errno in (errno.EPERM, errno.EACCES)
        cause = Cause.PERMISSION if refused else Cause.UNREADABLE
        ctx.note("adjtimex", cause, f"adjtimex: {(error.strerror or 'no answer').lower()}")
    return timex, None


def _adjtimex() -> Callable[[], tuple[bytes, int]]:
    """Give the kernel's call, with modes 0, which only reads."""
    # Imported here: it takes memory, and another host's clock is not asked for.
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)

    def call() -> tuple[bytes, int]:
        room = ctypes.create_string_buffer(_ROOM)
        state: int = library.adjtimex(room)
        if state < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return room.raw, state

    return call


def _disciplined(ctx: Context, timex: Timex | None) -> bool | None:
    """Tell whether a daemon ever corrected the clock's speed; the kernel by itself does not."""
    if timex is None:
        return None
    moved = timex.frequency_ppm != 0 or timex.tick != _TICK
    return moved or timex.synchronized or bool(ctx.memory.get("synchronized"))


def _remember(ctx: Context, timex: Timex | None, base: float | None) -> None:
    """Keep what the next sweep compares with."""
    if base is not None:
        ctx.memory["base"] = base
    if timex is not None and timex.synchronized:
        ctx.memory["synchronized"] = True


def _clocksources(ctx: Context, which: str) -> tuple[str, ...]:
    """Read the names of clock sources."""
    path = ctx.paths.sys / f"devices/system/clocksource/clocksource0/{which}_clocksource"
    raw = ctx.try_read(path, 4096) or b""
    return tuple(label(name) for name in raw.split())
