"""Packets between interrupt and protocol: the backlog of each CPU."""

from __future__ import annotations

from dataclasses import dataclass

from collectors import net_tables
from collectors.base import Context, collector
from collectors.model import Unavailable
from collectors.rates import Track, ratio

_COLUMNS = {"processed": 0, "dropped": 1, "squeezed": 2, "flow_limited": 10}
_CPU = 12
_LEAST = 9

Row = tuple[int, str]


@dataclass(frozen=True, slots=True)
class SoftnetSample:
    """
    All CPUs' backlogs during the window; unknown when a CPU came or went.

    Attributes:
        window_seconds: Observed time [s].
        processed_per_second: Packets [1/s].
        dropped: Packets dropped because the backlog was full, in the window.
        dropped_total: The same since boot.
        squeezed: Times a CPU had to stop with packets left, in the window.
        flow_limited: Packets dropped by the flow limit, in the window.
        busiest_cpu: The CPU that had to stop most often; None when none did.
        busiest_squeezed: Times it had to.

    """

    window_seconds: float
    processed_per_second: float | None = None
    dropped: int | None = None
    dropped_total: int | None = None
    squeezed: int | None = None
    flow_limited: int | None = None
    busiest_cpu: int | None = None
    busiest_squeezed: int | None = None


def parse(raw: bytes) -> dict[Row, int]:
    """
    Parse the backlogs.

    Args:
        raw: Content of /proc/net/softnet_stat.

    Returns:
        dict (CPU, column) -> value; "flow_limited" only where the kernel has it.

    Raises:
        ValueError: When a row is not of the kernel's form.

    Source:
        /proc/net/softnet_stat, softnet_seq_show() in net/core/net-procfs.c. Offline
        CPUs have no row, so a row's place is not its CPU; since 5.10 the thirteenth
        column tells it.

    """
    table: dict[Row, int] = {}
    for place, line in enumerate(line for line in raw.splitlines() if line.strip()):
        row = [net_tables.hexadecimal(field) for field in line.split()]
        if len(row) < _LEAST:
            raise ValueError(f"not a backlog: {line[:40]!r}")
        cpu = row[_CPU] if len(row) > _CPU else place
        if (cpu, "processed") in table:
            raise ValueError(f"two backlogs of CPU {cpu}")
        table |= {(cpu, name): row[at] for name, at in _COLUMNS.items() if at < len(row)}
    return table


@collector(category="network")
def collect(ctx: Context) -> SoftnetSample:
    """
    Read the backlogs at the window's ends.

    Args:
        ctx: Paths and window.

    Returns:
        The backlogs.

    Raises:
        Unavailable: When the table cannot be read.

    Source:
        /proc/net/softnet_stat.

    """
    track: Track[Row] = Track()
    for at in ctx.ends():
        track.add(at, parse(ctx.read(net_tables.folder(ctx) / "softnet_stat")))
    if not track.rows[-1]:
        raise Unavailable("there is no backlog of any CPU")
    processed = _sum(_increases(track, "processed"))
    squeezed = _increases(track, "squeezed")
    worst = max(squeezed, key=lambda cpu: squeezed[cpu] or 0)
    return SoftnetSample(
        window_seconds=track.seconds,
        processed_per_second=ratio(processed, track.seconds),
        dropped=_sum(_increases(track, "dropped")),
        dropped_total=sum(v for (_, name), v in track.rows[-1].items() if name == "dropped"),
        squeezed=_sum(squeezed),
        flow_limited=_sum(_increases(track, "flow_limited")),
        busiest_cpu=worst if squeezed[worst] else None,
        busiest_squeezed=squeezed[worst] if _sum(squeezed) is not None else None,
    )


def _increases(track: Track[Row], name: str) -> dict[int, int | None]:
    """Give a column's increase for each CPU of either end."""
    cpus = sorted({cpu for row in track.rows for cpu, column in row if column == name})
    return {cpu: track.increase((cpu, name)) for cpu in cpus}


def _sum(increases: dict[int, int | None]) -> int | None:
    """Add up the CPUs; unknown unless each is known."""
    known = [v for v in increases.values() if v is not None]
    return sum(known) if increases and len(known) == len(increases) else None
