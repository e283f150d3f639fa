"""Neighbours: how full the tables of addresses on the local links are."""

from __future__ import annotations

from dataclasses import dataclass

from collectors import net_tables
from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.net_tables import parse_per_cpu
from collectors.rates import Track


@dataclass(frozen=True, slots=True)
class NeighbourSample:
    """
    The tables of neighbours, which all network namespaces share.

    Attributes:
        window_seconds: Observed time [s].
        entries: Neighbours by IPv4 address.
        entries_six: Neighbours by IPv6 address; None without IPv6.
        refused: New ones for which there was no room, in the window.
        refused_six: The same for IPv6.

    """

    window_seconds: float
    entries: int | None = None
    entries_six: int | None = None
    refused: int | None = None
    refused_six: int | None = None


@collector(category="network")
def collect(ctx: Context) -> NeighbourSample:
    """
    Read the tables at the window's ends.

    Args:
        ctx: Paths and window.

    Returns:
        The tables.

    Raises:
        Unavailable: When this kernel does not tell.

    Source:
        /proc/net/stat/{arp_cache,ndisc_cache}, neigh_stat_seq_show() in
        net/core/neighbour.c.

    """
    four: Track[str] = Track()
    six: Track[str] = Track()
    for at in ctx.ends():
        folder = net_tables.folder(ctx) / "stat"
        four.add(at, parse_per_cpu(ctx.try_read(folder / "arp_cache") or b""))
        six.add(at, parse_per_cpu(ctx.try_read(folder / "ndisc_cache") or b""))
    if not four.rows[-1]:
        raise Unavailable("this kernel does not count neighbours", Cause.ABSENT)
    return NeighbourSample(
        window_seconds=four.seconds,
        entries=four.last("entries"),
        entries_six=six.last("entries"),
        refused=four.increase("table_fulls"),
        refused_six=six.increase("table_fulls"),
    )
