"""Packets between interrupt and protocol: the backlog of each CPU."""

from __future__ import annotations

from dataclasses import dataclass

from collectors.base import Context, collector
from collectors.model import Unavailable
from collectors.rates import Track

_COLUMNS = {"processed": 0, "dropped": 1, "squeezed": 2, "flow_limited": 10}
_LEAST = 9


@dataclass(frozen=True, slots=True)
class SoftnetSample:
    """
    All CPUs' backlogs during the window.

    Attributes:
        window_seconds: Observed time [s].
        processed_per_second: Packets [1/s].
        dropped: Packets dropped because the backlog was full, in the window.
        dropped_total: The same since boot.
        squeezed: Times a CPU had to stop with packets left, in the window.
        flow_limited: Packets dropped by the flow limit, in the window.

    """

    window_seconds: float
    processed_per_second: float | None = None
    dropped: int | None = None
    dropped_total: int | None = None
    squeezed: int | None = None
    flow_limited: int | None = None


def parse(raw: bytes) -> dict[str, int]:
    """
    Parse the backlogs and add up the CPUs.

    Args:
        raw: Content of /proc/net/softnet_stat.

    Returns:
        dict column -> sum; flow_limited only where the kernel has it. Rows come
        and go with CPUs, so "rows" tells whether two readings compare.

    Raises:
        ValueError: When a row is not of the kernel's form.

    Source:
        /proc/net/softnet_stat, softnet_seq_show() in net/core/net-procfs.c.

    """
    rows = [line.split() for line in raw.splitlines() if line.strip()]
    if any(len(row) < _LEAST or not all(map(_hex, row)) for row in rows):
        raise ValueError("not a table of backlogs")
    sums = {"rows": len(rows)}
    for name, place in _COLUMNS.items():
        if all(len(row) > place for row in rows):
            sums[name] = sum(int(row[place], 16) for row in rows)
    return sums


def _hex(raw: bytes) -> bool:
    """Tell whether a field is a number in hexadecimal digits."""
    return len(raw) <= 16 and all(c in b"0123456789abcdef" for c in raw)  # noqa: PLR2004


@collector(category="network")
def collect(ctx: Context) -> SoftnetSample:
    """
    Read the backlogs at the window's ends.

    Args:
        ctx: Paths and window.

    Returns:
        The backlogs; unknown when a CPU came or went.

    Raises:
        Unavailable: When the table cannot be read.

    Source:
        /proc/net/softnet_stat.

    """
    track: Track[str] = Track()
    for at in ctx.ends():
        table = parse(ctx.read(ctx.paths.proc / "net/softnet_stat"))
        if track.rows and track.rows[0]["rows"] != table["rows"]:
            raise Unavailable("a CPU came or went while its backlog was watched")
        track.add(at, table)
    return SoftnetSample(
        window_seconds=track.seconds,
        processed_per_second=track.rate("processed").mean,
        dropped=track.increase("dropped"),
        dropped_total=track.last("dropped"),
        squeezed=track.increase("squeezed"),
        flow_limited=track.increase("flow_limited"),
    )
