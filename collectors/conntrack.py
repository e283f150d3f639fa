"""Connection tracking: how full its table is, and what it lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.rates import Track
from collectors.text import label, natural_or_none


@dataclass(frozen=True, slots=True)
class ConntrackSample:
    """
    The table of tracked connections.

    Attributes:
        window_seconds: Observed time [s].
        count: Connections in it.
        max: Most it takes.
        increases: drop, early_drop, insert_failed and so on, in the window.
        totals: The same since the network namespace was made.

    """

    window_seconds: float
    count: int | None
    max: int | None
    increases: Mapping[str, int | None] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)


def parse(raw: bytes) -> dict[str, int]:
    """
    Parse the statistics per CPU and add up the CPUs.

    Args:
        raw: Content of /proc/net/stat/nf_conntrack.

    Returns:
        dict column -> sum over all CPUs; "entries", which is the same in each
        row, is left out.

    Raises:
        ValueError: When a row does not fit the header.

    Source:
        /proc/net/stat/nf_conntrack, ct_cpu_seq_show() in
        net/netfilter/nf_conntrack_standalone.c; the numbers are hexadecimal.

    """
    lines = [line.split() for line in raw.splitlines() if line.strip()]
    if not lines:
        return {}
    names = [label(n) for n in lines[0]]
    sums = dict.fromkeys(names, 0)
    for row in lines[1:]:
        if len(row) != len(names):
            raise ValueError("a row does not fit the header")
        for name, value in zip(names, row, strict=True):
            if not value.isalnum():
                raise ValueError(f"not a number: {value[:20]!r}")
            sums[name] += int(value, 16)
    sums.pop("entries", None)
    return sums


@collector(category="network")
def collect(ctx: Context) -> ConntrackSample:
    """
    Read count and limit at the window's end and the statistics at both ends.

    Args:
        ctx: Paths and window.

    Returns:
        The table.

    Raises:
        Unavailable: When connections are not tracked.

    Source:
        /proc/sys/net/netfilter/nf_conntrack_{count,max}, /proc/net/stat/nf_conntrack.

    """
    folder = ctx.paths.proc / "sys/net/netfilter"
    if not (folder / "nf_conntrack_max").exists():
        raise Unavailable("connections are not tracked on this host", Cause.ABSENT)
    track: Track[str] = Track()
    for at in ctx.ends():
        track.add(at, parse(ctx.try_read(ctx.paths.proc / "net/stat/nf_conntrack") or b""))
    return ConntrackSample(
        window_seconds=track.seconds,
        count=natural_or_none(ctx.try_read(folder / "nf_conntrack_count")),
        max=natural_or_none(ctx.try_read(folder / "nf_conntrack_max")),
        increases={n: track.increase(n) for n in track.names()},
        totals=dict(track.rows[-1]),
    )
