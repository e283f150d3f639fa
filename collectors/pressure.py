"""Pressure stall information: the share of time in which tasks waited for a resource."""

from __future__ import annotations

from dataclasses import dataclass

from collectors.base import Context, collector
from collectors.model import UNKNOWN, Cause, Distribution, Unavailable
from collectors.rates import Track
from collectors.text import decimal, lines_of, natural

RESOURCES = ("cpu", "memory", "io", "irq")
_MICROSECONDS = 1e6
_AVERAGES = (b"avg10", b"avg60", b"avg300")


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of a pressure file.

    Attributes:
        avg10: Kernel's own mean of the last 10 s [ratio].
        avg60: Of the last 60 s [ratio].
        avg300: Of the last 300 s [ratio].
        total: Stalled time since boot [us].

    """

    avg10: float
    avg60: float
    avg300: float
    total: int


@dataclass(frozen=True, slots=True)
class Stall:
    """
    How tasks stalled on one resource during the window.

    Attributes:
        some: Share of time in which at least one task waited [ratio].
        full: Share of time in which all non-idle tasks waited [ratio].
        some_avg60: The kernel's own mean of the last 60 s, for comparison [ratio].
        full_avg60: The same for full [ratio].

    """

    some: Distribution = UNKNOWN
    full: Distribution = UNKNOWN
    some_avg60: float | None = None
    full_avg60: float | None = None


@dataclass(frozen=True, slots=True)
class PressureSample:
    """
    Stalls of the whole host.

    Attributes:
        window_seconds: Observed time [s].
        cpu: Waiting for a CPU; "full" has no meaning for the host and stays 0.
        memory: Waiting for memory.
        io: Waiting for block I/O.
        irq: Time lost to interrupts, only "full"; since kernel 6.1 where configured.

    """

    window_seconds: float
    cpu: Stall | None
    memory: Stall | None
    io: Stall | None
    irq: Stall | None


def parse(raw: bytes) -> dict[str, Line]:
    """
    Parse one pressure file.

    Args:
        raw: Content of `/proc/pressure/*` or of a cgroup's `*.pressure`.

    Returns:
        dict "some" or "full" -> its line.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        Documentation/accounting/psi.rst; since v4.20.

    """
    table = {}
    for kind, *fields in lines_of(raw):
        pairs = dict(f.split(b"=", 1) for f in fields if b"=" in f)
        try:
            ten, minute, five = (decimal(pairs[k]) / 100 for k in _AVERAGES)
            table[kind.decode("ascii")] = Line(ten, minute, five, natural(pairs[b"total"]))
        except (KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"not a pressure line: {kind[:20]!r}") from error
    return table


@collector(category="pressure")
def collect(ctx: Context) -> PressureSample:
    """
    Follow the stall totals through the window.

    Args:
        ctx: Paths and window.

    Returns:
        The stalls of each resource; None for a resource the kernel does not tell of.

    Raises:
        Unavailable: When the kernel keeps no pressure information.

    Source:
        `total` of /proc/pressure/{cpu,memory,io,irq}, Documentation/accounting/psi.rst.

    """
    if not (ctx.paths.proc / "pressure").is_dir():
        raise Unavailable(
            "/proc/pressure does not exist: boot with psi=1 (CONFIG_PSI=y)", Cause.ABSENT
        )
    track: Track[tuple[str, str]] = Track()
    raws: dict[str, bytes] = {}
    for at in ctx.ticks():
        raws = _read(ctx)
        track.add(at, {(r, k): t for r, raw in raws.items() for k, t in totals(raw).items()})
    stalls = {r: _stall(track, r, parse(raw)) for r, raw in raws.items()}
    return PressureSample(track.seconds, *(stalls.get(r) for r in RESOURCES))


def _read(ctx: Context) -> dict[str, bytes]:
    """Read the files that exist."""
    folder = ctx.paths.proc / "pressure"
    raws = {r: ctx.try_read(folder / r, limit=512) for r in RESOURCES}
    return {r: raw for r, raw in raws.items() if raw}


def totals(raw: bytes) -> dict[str, int]:
    """
    Read only the totals of a pressure file, a fifth of the cost of all of it.

    Args:
        raw: Content of `/proc/pressure/*` or of a cgroup's `*.pressure`.

    Returns:
        dict "some" or "full" -> stalled time since boot [us].

    Raises:
        ValueError: When a total is no number.

    Source:
        Documentation/accounting/psi.rst.

    """
    lines = (line.partition(b" total=") for line in raw.split(b"\n"))
    return {
        head[:4].decode("ascii", "replace"): natural(total) for head, mark, total in lines if mark
    }


def _stall(track: Track[tuple[str, str]], resource: str, lines: dict[str, Line]) -> Stall:
    """Turn stalled microseconds into shares of the window."""
    some, full = (_share(track.rate((resource, kind))) for kind in ("some", "full"))
    averages = (lines[k].avg60 if k in lines else None for k in ("some", "full"))
    return Stall(some, full, *averages)


def _share(stalled: Distribution) -> Distribution:
    """Turn a rate of microseconds per second into a ratio."""
    if stalled.mean is None or stalled.peak is None:
        return UNKNOWN
    samples = tuple(s / _MICROSECONDS for s in stalled.samples)
    return Distribution(stalled.mean / _MICROSECONDS, stalled.peak / _MICROSECONDS, samples)
