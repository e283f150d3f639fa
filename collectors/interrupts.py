"""Interrupts and softirqs: how many, from what, and on which CPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from collectors.base import Context, collector
from collectors.model import Unavailable
from collectors.text import label

_TOP = 10
_LEAST = 100  # fewer interrupts than this say nothing about how they are spread
_LARGE = 32 << 20  # eleven bytes for each CPU and source: 22 MB with 1,024 and 2,000


@dataclass(frozen=True, slots=True)
class Table:
    """
    Counts per CPU as the kernel wrote them, not taken apart yet.

    Attributes:
        cpus: Names of the columns.
        rows: Source to the rest of its line.

    """

    cpus: tuple[bytes, ...]
    rows: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """
    A source of interrupts in the window.

    Attributes:
        id: Its number or short name.
        name: The device or meaning.
        per_second: Interrupts [1/s].
        busiest_cpu_share: Share of them on the CPU with most of them [ratio]; None
            when there are too few to say.

    """

    id: str
    name: str
    per_second: float
    busiest_cpu_share: float | None


@dataclass(frozen=True, slots=True)
class InterruptsSample:
    """
    Interrupts during the window.

    Attributes:
        window_seconds: Observed time [s].
        cpus: CPUs with a column, which are those online.
        per_second: All interrupts [1/s].
        sources: The busiest sources.
        softirqs: Kind to softirqs per second [1/s]; None when unknown.
        network_receive_share: Share of received-packet softirqs on the busiest CPU
            [ratio]; None when there are too few to say.
        network_receive_per_second: Received-packet softirqs [1/s].
        machine_checks: Machine check exceptions since boot; None where there are none to count.
        machine_checks_increase: The same in the window.
        thermal_events: Interrupts of thermal sensors since boot: a CPU became too hot,
            or has cooled again.
        thermal_events_increase: The same in the window.
        corrected_increase: Interrupts for corrected hardware errors beyond a threshold (x86: THR)
            in the window.
        nmi_increase: Non-maskable interrupts in the window.
        errors_increase: Interrupts that came broken or unexpected (ERR, MIS, Err) in the window.

    """

    window_seconds: float
    cpus: int
    per_second: float | None
    sources: tuple[Source, ...] = ()
    softirqs: Mapping[str, float | None] = field(default_factory=dict)
    network_receive_share: float | None = None
    network_receive_per_second: float | None = None
    machine_checks: int | None = None
    machine_checks_increase: int | None = None
    thermal_events: int | None = None
    thermal_events_increase: int | None = None
    corrected_increase: int | None = None
    nmi_increase: int | None = None
    errors_increase: int | None = None


def parse(raw: bytes) -> Table:
    """
    Split a table of counts per CPU into its lines.

    Args:
        raw: Content of /proc/interrupts or /proc/softirqs.

    Returns:
        The columns and lines; a line cut off by the reader's limit is left out.

    Raises:
        ValueError: When the first line names no CPU.

    Source:
        /proc/interrupts and /proc/softirqs, proc(5). The former has a column
        for each online CPU, the latter for each possible one.

    """
    header, _, rest = raw.partition(b"\n")
    cpus = tuple(header.split())
    if not cpus or not cpus[0].startswith(b"CPU"):
        raise ValueError(f"no CPU columns: {header[:40]!r}")
    lines = (line.partition(b":") for line in rest.split(b"\n")[:-1])
    return Table(cpus, {name.strip(): values for name, colon, values in lines if colon})


def parse_counts(raw: bytes, cpus: int) -> tuple[tuple[int, ...], str]:
    """
    Take a line apart.

    Args:
        raw: What follows the source's name.
        cpus: Number of columns.

    Returns:
        Its counts, fewer than columns where it has fewer (ERR, MIS), and the
        device or meaning behind them.

    """
    fields = raw.split(None, cpus)
    if len(fields) >= cpus and b"".join(fields[:cpus]).isdigit():
        counts = fields[:cpus]
    else:
        counts = list(takewhile(bytes.isdigit, fields[:cpus]))
    name = b" ".join(b" ".join(fields[len(counts) :]).split())
    return tuple(map(int, counts)), label(name)


@collector(category="cpu")
def collect(ctx: Context) -> InterruptsSample:
    """
    Read both tables at the window's ends: with many CPUs they are large.

    Args:
        ctx: Paths and window.

    Returns:
        Rates over the window.

    Raises:
        Unavailable: When neither table can be read.

    Source:
        /proc/interrupts and /proc/softirqs.

    """
    readings = [(at, _read(ctx, "interrupts"), _read(ctx, "softirqs")) for at in ctx.ends()]
    (start, *first), (end, *last) = readings[0], readings[-1]
    if last == [None, None]:
        raise Unavailable(f"{ctx.paths.proc}/interrupts and softirqs cannot be read")
    hard, soft = (_increases(a, b) for a, b in zip(first, last, strict=True))
    return _summarize(end - start, hard, soft, last[0])


def _read(ctx: Context, name: str) -> Table | None:
    """Read a table; None when it cannot be read."""
    raw = ctx.try_read(ctx.paths.proc / name, _LARGE)
    return None if raw is None else parse(raw)


@dataclass(frozen=True, slots=True)
class _Increase:
    """What a source did in the window: its increase per CPU, and its name."""

    counts: tuple[int, ...]
    name: str

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def busiest_share(self) -> float | None:
        return max(self.counts) / self.total if self.total >= _LEAST else None


def _increases(first: Table | None, last: Table | None) -> dict[bytes, _Increase]:
    """Compare two tables; a source that cannot be compared is left out."""
    # A CPU that came or went shifts the columns: then nothing can be compared.
    if first is None or last is None or first.cpus != last.cpus:
        return {}
    pairs = ((n, first.rows.get(n), new, len(last.cpus)) for n, new in last.rows.items())
    found = ((n, _compare(old, new, cpus)) for n, old, new, cpus in pairs if old is not None)
    return {n: step for n, step in found if step is not None}


def _compare(old: bytes, new: bytes, cpus: int) -> _Increase | None:
    """Compare two readings of a line; None when a count went back or the device is another."""
    # Most of thousands of lines stand still: those need no taking apart.
    if old == new:
        return _Increase((0,), "") if new.lstrip()[:1].isdigit() else None
    (before, device), (after, name) = parse_counts(old, cpus), parse_counts(new, cpus)
    if len(before) != len(after) or not after or device != name:
        return None
    steps = tuple(b - a for a, b in zip(before, after, strict=True))
    return None if min(steps) < 0 else _Increase(steps, name)


def _summarize(
    seconds: float,
    hard: Mapping[bytes, _Increase],
    soft: Mapping[bytes, _Increase],
    table: Table | None,
) -> InterruptsSample:
    """Turn increases into rates."""
    totals = {n: step.total for n, step in hard.items()}
    received = soft.get(b"NET_RX")
    return InterruptsSample(
        window_seconds=seconds,
        cpus=len(table.cpus) if table else 0,
        per_second=_per_second(sum(totals.values()), seconds) if totals else None,
        sources=_sources(hard, seconds),
        softirqs={label(n): _per_second(step.total, seconds) for n, step in soft.items()},
        network_receive_share=received.busiest_share if received else None,
        network_receive_per_second=_per_second(received.total, seconds) if received else None,
        machine_checks=_total(table, b"MCE"),
        machine_checks_increase=totals.get(b"MCE"),
        thermal_events=_total(table, b"TRM"),
        thermal_events_increase=totals.get(b"TRM"),
        corrected_increase=totals.get(b"THR"),
        nmi_increase=totals.get(b"NMI"),
        errors_increase=_sum(totals.get(n) for n in (b"ERR", b"MIS", b"Err")),
    )


def _sources(hard: Mapping[bytes, _Increase], seconds: float) -> tuple[Source, ...]:
    """List the busiest sources."""
    if seconds <= 0:
        return ()
    busy = sorted(((n, s) for n, s in hard.items() if s.total), key=lambda pair: -pair[1].total)
    return tuple(
        Source(label(n), step.name, step.total / seconds, step.busiest_share)
        for n, step in busy[:_TOP]
    )


def _total(table: Table | None, name: bytes) -> int | None:
    """Give a source's count since boot over all CPUs."""
    raw = table.rows.get(name) if table else None
    if table is None or raw is None:
        return None
    counts, _ = parse_counts(raw, len(table.cpus))
    return sum(counts) if counts else None


def _per_second(count: int, seconds: float) -> float | None:
    """Give a rate."""
    return count / seconds if seconds > 0 else None


def _sum(counts: Iterable[int | None]) -> int | None:
    """Add up what is known; None when nothing is."""
    known = [c for c in counts if c is not None]
    return sum(known) if known else None
