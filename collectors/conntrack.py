"""Connection tracking: how full its table is, and what it lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors import net_tables
from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.net_tables import parse_per_cpu
from collectors.rates import Track
from collectors.text import natural_or_none

_FOLDER = "sys/net/netfilter"


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


@collector(category="network")
def collect(ctx: Context) -> ConntrackSample:
    """
    Read the statistics at the window's ends and the limit.

    Args:
        ctx: Paths and window.

    Returns:
        The table.

    Raises:
        Unavailable: When connections are not tracked.

    Source:
        /proc/net/stat/nf_conntrack of the host's network namespace, see `net_tables`;
        /proc/sys/net/netfilter, which is always that of the own one: the limit is the
        same in all, and the count is taken from there only if it is the host's.

    """
    if not (ctx.paths.proc / _FOLDER / "nf_conntrack_max").exists():
        raise Unavailable("connections are not tracked on this host", Cause.ABSENT)
    track: Track[str] = Track()
    for at in ctx.ends():
        net, folder = net_tables.folder(ctx), ctx.paths.proc / _FOLDER
        table = parse_per_cpu(ctx.try_read(net / "stat/nf_conntrack") or b"")
        count = table.pop("entries", None)
        track.add(at, table)
    if count is None and (net_tables.is_own(net) or net == ctx.paths.proc / "net"):
        count = natural_or_none(ctx.try_read(folder / "nf_conntrack_count"))
    return ConntrackSample(
        window_seconds=track.seconds,
        count=count,
        max=natural_or_none(ctx.try_read(folder / "nf_conntrack_max")),
        increases={n: track.increase(n) for n in track.names()},
        totals=dict(track.rows[-1]),
    )
