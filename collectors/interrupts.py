"""Interrupts and softirqs: how many, from what, and on which CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.base import Context, collector
from collectors.model import Unavailable
from collectors.rates import delta, ratio
from collectors.text import label

_TOP = 10


@dataclass(frozen=True, slots=True)
class Line:
    """
    One source of interrupts.

    Attributes:
        counts: Interrupts per column since boot.
        name: The device or meaning, as the kernel writes it.

    """

    counts: tuple[int, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Source:
    """
    A source of interrupts in the window.

    Attributes:
        id: Its number or short name.
        name: The device or meaning.
        per_second: Interrupts [1/s].
        busiest_cpu_share: Share of them on the CPU with most of them [ratio].

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
        network_receive_share: Share of received-packet softirqs on the busiest CPU [ratio].
        network_receive_per_second: Received-packet softirqs [1/s].
        machine_checks: Machine check exceptions since boot; None where there are none to count.
        machine_checks_increase: The same in the window.
        thermal_events: Times a CPU was slowed for its heat, since boot.
        thermal_events_increase: The same in the window.
        nmi_increase: Non-maskable interrupts in the window.

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
    nmi_increase: int | None = None


Table = Mapping[str, Line]


def parse(raw: bytes) -> tuple[int, dict[str, Line]]:
    """
    Parse a table of counts per CPU.

    Args:
        raw: Content of /proc/interrupts or /proc/softirqs.

    Returns:
        The number of CPU columns, and source -> its line. A line with fewer
        counts (ERR, MIS) keeps those it has.

    Raises:
        ValueError: When the first line names no CPU.

    Source:
        /proc/interrupts and /proc/softirqs, proc(5). The former has a column
        for each online CPU, the latter for each possible one.

    """
    header, _, rest = raw.partition(b"\n")
    cpus = len(header.split())
    if not header.split()[:1] or not header.split()[0].startswith(b"CPU"):
        raise ValueError(f"no CPU columns: {header[:40]!r}")
    table: dict[str, Line] = {}
    for text in rest.split(b"\n"):
        name, colon, values = text.partition(b":")
        if colon:
            table[label(name.strip())] = _line(values, cpus)
    return cpus, table


def _line(values: bytes, cpus: int) -> Line:
    """Split a line into its counts and its name."""
    fields = values.split(None, cpus)
    counts: list[int] = []
    for raw in fields[:cpus]:
        if not raw.isdigit() or len(raw) > 20:  # noqa: PLR2004
            break
        counts.append(int(raw))
    name = b" ".join(b" ".join(fields[len(counts) :]).split())
    return Line(tuple(counts), label(name))


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
    return _summarize(end - start, (first[0], first[1]), (last[0], last[1]))


Reading = tuple[int, dict[str, Line]] | None


def _read(ctx: Context, name: str) -> Reading:
    """Read a table; None when it cannot be read."""
    raw = ctx.try_read(ctx.paths.proc / name)
    return None if raw is None else parse(raw)


def _summarize(
    seconds: float, first: tuple[Reading, Reading], last: tuple[Reading, Reading]
) -> InterruptsSample:
    """Turn two pairs of tables into rates."""
    old, new = (r[1] if r else {} for r in (first[0], last[0]))
    # A CPU that came or went shifts the columns: then nothing can be compared.
    same = bool(first[0] and last[0] and first[0][0] == last[0][0])
    hard = {n: _increases(old.get(n), line) for n, line in new.items()} if same else {}
    totals = {n: sum(c) for n, c in hard.items() if c is not None}
    soft = _softirqs(first[1], last[1])
    received = soft.get("NET_RX")
    return InterruptsSample(
        window_seconds=seconds,
        cpus=last[0][0] if last[0] else 0,
        per_second=_per_second(sum(totals.values()) if totals else None, seconds),
        sources=_sources(new, hard, seconds),
        softirqs={n: _per_second(_sum(c), seconds) for n, c in soft.items()},
        network_receive_share=ratio(max(received, default=0), sum(received)) if received else None,
        network_receive_per_second=_per_second(_sum(received), seconds),
        machine_checks=_total(new, "MCE"),
        machine_checks_increase=totals.get("MCE"),
        thermal_events=_total(new, "TRM"),
        thermal_events_increase=totals.get("TRM"),
        nmi_increase=totals.get("NMI"),
    )


def _increases(old: Line | None, new: Line) -> tuple[int, ...] | None:
    """Give the increase per column; None when any of them is unknown."""
    if old is None or len(old.counts) != len(new.counts):
        return None
    steps = [delta(a, b) for a, b in zip(old.counts, new.counts, strict=True)]
    return None if None in steps else tuple(s or 0 for s in steps)


def _softirqs(first: Reading, last: Reading) -> dict[str, tuple[int, ...] | None]:
    """Give the increases of each kind of softirq."""
    if first is None or last is None or first[0] != last[0]:
        return {}
    return {n: _increases(first[1].get(n), line) for n, line in last[1].items()}


def _sources(
    table: Table, increases: Mapping[str, tuple[int, ...] | None], seconds: float
) -> tuple[Source, ...]:
    """List the busiest sources."""
    known = {n: c for n, c in increases.items() if c and sum(c)}
    ranked = sorted(known, key=lambda n: -sum(known[n]))[:_TOP]
    if seconds <= 0:
        return ()
    return tuple(
        Source(n, table[n].name, sum(known[n]) / seconds, ratio(max(known[n]), sum(known[n])))
        for n in ranked
    )


def _total(table: Table, name: str) -> int | None:
    """Give a source's count since boot over all CPUs."""
    line = table.get(name)
    return None if line is None or not line.counts else sum(line.counts)


def _per_second(count: int | None, seconds: float) -> float | None:
    """Give a rate."""
    return None if count is None or seconds <= 0 else count / seconds


def _sum(counts: tuple[int, ...] | None) -> int | None:
    """Add up the columns."""
    return None if counts is None else sum(counts)
