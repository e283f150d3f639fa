"""
TCP round trip time: the smoothed one that the kernel keeps, at each segment that came in.

Event: tcp:tcp_probe, for every segment that an established connection gets. Cost: about 0.6 us
per segment, a tenth of what a loopback connection can carry. Missed: connections that got nothing
in the window; a connection with many segments weighs more than one with few, therefore the tops
tell each connection's own mean. Values: `connections`, those the table of 2,048 recently used
ones held. Tops: connections and remote addresses, slowest on average first.
Kernels: all with this tracepoint, 4.17 and later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from collectors.bpf.kernel import Kernel
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder
from collectors.bpf.tcp import address, family_maps, histograms

_FAMILY = "sysdx_tcp_round_trip_time_seconds"
_MICROSECOND = 1e-6  # [s]

_SHARED = (
    family_maps("tcprtt")
    + r"""
struct tcprtt_flow { struct tcprtt_address remote; u16 remote_port, local_port; u32 pad; };
struct tcprtt_total { u64 count, sum; u32 most, least, last, pad; };
BPF_TABLE("lru_hash", struct tcprtt_flow, struct tcprtt_total, tcprtt_flows, 2048);

/* One connection's segments are handled one after the other: no atomic sums needed. */
static __always_inline void tcprtt_sum(struct tcprtt_flow *flow, u32 srtt)
{
    struct tcprtt_total none = {.least = srtt};
    struct tcprtt_total *total = tcprtt_flows.lookup_or_try_init(flow, &none);
    if (!total)
        return;
    total->count += 1;
    total->sum += srtt;
    total->last = srtt;
    if (srtt > total->most)
        total->most = srtt;
    if (srtt < total->least)
        total->least = srtt;
}
"""
)

# The addresses are a struct sockaddr_in or sockaddr_in6.
_SEGMENT = r"""
    /* 0: nothing measured yet. */
    if (off_() || !args->srtt)
        return 0;
    struct tcprtt_flow flow = {.remote_port = args->dport, .local_port = args->sport};
    u16 family;
    __builtin_memcpy(&family, args->daddr, 2);
    if (family == 10) {
        __builtin_memcpy(&flow.remote, args->daddr + 8, 16);
    } else {
        flow.remote.low[2] = 0xff;
        flow.remote.low[3] = 0xff;
        __builtin_memcpy(&flow.remote.low[4], args->daddr + 4, 4);
    }
    tcprtt_add(tcprtt_family(&flow.remote), args->srtt);
    tcprtt_sum(&flow, args->srtt);
"""


class TcprttRecorder(Recorder):
    """Read the histograms and the connections."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram per address family; an event is a segment.

        """
        spreads = histograms(kernel, "tcprtt", _FAMILY, unit=_MICROSECOND)
        flows = list(kernel.items("tcprtt_flows"))
        connections = [_row(key, [total]) for key, total in flows]
        return ProbeSample(
            "tcprtt",
            seconds,
            sum(h.count for h in spreads),
            histograms=spreads,
            values={"connections": len(flows)},
            tops={
                "connection": self._slowest(connections),
                "remote": self._slowest(_remotes(flows)),
            },
        )

    def _slowest(self, rows: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        """Rank rows."""
        ranked = sorted(rows, key=lambda row: (-row["mean_seconds"], str(row)))
        return tuple(ranked[: self.settings.tops])


def _remotes(flows: Iterable[tuple[Any, Any]]) -> Iterable[dict[str, Any]]:
    """Add up what goes to one address and port, or from it."""
    groups: dict[bytes, list[tuple[Any, Any]]] = defaultdict(list)
    for key, total in flows:
        groups[bytes(key.remote)].append((key, total))
    for members in groups.values():
        row = _row(members[0][0], [total for _, total in members])
        yield {
            name: value
            for name, value in row.items()
            if name not in ("remote_port", "local_port", "last_seconds")
        } | {"connections": len(members)}


def _row(key: Any, totals: list[Any]) -> dict[str, Any]:
    """Tell one or more connections' round trips."""
    count = sum(total.count for total in totals)
    return {
        "remote": address(bytes(key.remote)),
        "remote_port": key.remote_port,
        "local_port": key.local_port,
        "count": count,
        "mean_seconds": sum(total.sum for total in totals) / count * _MICROSECOND,
        "min_seconds": min(total.least for total in totals) * _MICROSECOND,
        "max_seconds": max(total.most for total in totals) * _MICROSECOND,
        "last_seconds": totals[-1].last * _MICROSECOND,
    }


PROBE = Probe(
    category="network",
    recorder=TcprttRecorder,
    shared=_SHARED,
    parts=(Part("tcp:tcp_probe", _SEGMENT, ("daddr", "sport", "dport", "srtt")),),
    families=(
        Family(
            _FAMILY,
            "The kernel's smoothed round trip time at each segment that came in, in all windows "
            "since start.",
            tuple(2.0**power * _MICROSECOND for power in range(6, 21)),
            ("family",),
        ),
    ),
)
