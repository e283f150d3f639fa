"""Connection tracking: how full its table is, and what it lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collectors import net_tables
from collectors.base import Context, collector
from collectors.conntrack_peers import Peers, peers
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
        peers: Who opened the connections and where they go, looked at when the table
            is more than half full; None otherwise, and when it may not be read.

    """

    window_seconds: float
    count: int | None
    max: int | None
    increases: Mapping[str, int | None] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    peers: Peers | None = None


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
        same in all, and the count is taken from there only if it is the host's;
        NETLINK_NETFILTER, likewise.

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
    most = natural_or_none(ctx.try_read(folder / "nf_conntrack_max"))
    return ConntrackSample(
        window_seconds=track.seconds,
        count=count,
        max=most,
        increases={n: track.increase(n) for n in track.names()},
        totals=dict(track.rows[-1]),
        peers=_peers(ctx, net) if count and most and 2 * count > most else None,
    )


def _peers(ctx: Context, net: Path) -> Peers | None:
    """Look at a part of the table, where netlink tells of the same namespace."""
    if not net_tables.is_own(net):
        return None
    try:
        return peers()
    except Unavailable as error:
        ctx.note("conntrack netlink", error.cause, str(error))
    except ValueError as error:
        ctx.note("conntrack netlink", Cause.GARBLED, f"conntrack netlink: {error}")
    return None
