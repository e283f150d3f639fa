"""
Packets that the kernel dropped, with its reason and the function that did it.

Event: skb:kfree_skb, which tells of TCP and of everything else alike. Cost: about 0.4 us per
packet dropped, hardly anything without. Missed: what a network card drops by itself, and requests
that a full listen queue refuses (see /proc/net/netstat, ListenDrops); which connection it was.
Values: `dropped`; apart from these `benign`, freed without a loss for anybody, and `unspecified`,
where this kernel gives no reason, be it a loss or not. Tops: `reason`, drops by reason, protocol
and function, and the same of what is `benign` or `unspecified`. The names are read from the
event's own format, because the numbers differ from kernel to kernel.
Kernels: all whose kfree_skb has a reason, 5.17 and later.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

from collectors.bpf.kernel import Kernel
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder
from collectors.bpf.spans import heaviest

_EVENT = "skb:kfree_skb"

_SHARED = r"""
struct tcpdrop_kind { u64 location; u32 reason; u16 protocol; u16 carried; };
BPF_HASH(tcpdrop_kinds, struct tcpdrop_kind, u64, 4096);
BPF_ARRAY(tcpdrop_lost, u64, 1);

/* What an IP packet carries: IPPROTO_TCP and so on; 0 when it is not known. */
static __always_inline u16 tcpdrop_carried(u64 skb, u16 protocol)
{
    u8 carried = 0;
#if defined(TCPDROP_HEAD) && defined(TCPDROP_NETWORK)
    u64 head = 0;
    u16 start = 0;
    bpf_probe_read_kernel(&head, sizeof(head), (void *)(skb + TCPDROP_HEAD));
    bpf_probe_read_kernel(&start, sizeof(start), (void *)(skb + TCPDROP_NETWORK));
    if (protocol == 0x0800)
        bpf_probe_read_kernel(&carried, 1, (void *)(head + start + 9));
    else if (protocol == 0x86dd)
        bpf_probe_read_kernel(&carried, 1, (void *)(head + start + 6));
#endif
    return carried;
}
"""

_DROP = r"""
    if (off_())
        return 0;
    struct tcpdrop_kind kind = {.location = (u64)args->location, .reason = args->reason};
    kind.protocol = args->protocol;
    kind.carried = tcpdrop_carried((u64)args->skbaddr, args->protocol);
    u64 none = 0, *count = tcpdrop_kinds.lookup_or_try_init(&kind, &none);
    if (count)
        __sync_fetch_and_add(count, 1);
    else
        tcpdrop_lost.atomic_increment(0);
"""

# Freed, but nobody misses it: sockets that were closed, what another host was meant to get,
# data that had arrived before. include/net/dropreason-core.h says when each is given.
BENIGN = frozenset({
    "QUEUE_PURGE", "SOCKET_CLOSE", "SOCKET_FILTER", "UNIX_DISCONNECT", "UNIX_SKIP_OOB",
    "OTHERHOST", "TCP_OFOMERGE", "TCP_OLD_DATA", "TCP_OLD_ACK", "TCP_RESET", "TCP_CLOSE",
    "PACKET_SOCK_ERROR",
})  # fmt: skip
UNSPECIFIED = "NOT_SPECIFIED"

_ETHERTYPES = {0: "none", 0x0800: "ipv4", 0x86DD: "ipv6", 0x0806: "arp"}
_CARRIED = {
    value: name.removeprefix("IPPROTO_").lower()
    for name, value in vars(socket).items()
    if name in ("IPPROTO_TCP", "IPPROTO_UDP", "IPPROTO_ICMP", "IPPROTO_ICMPV6", "IPPROTO_SCTP")
}


class TcpdropRecorder(Recorder):
    """Read the counts, and name the reasons."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Counts and rankings.

        """
        rows = _rows(kernel)
        counts = Counter({"dropped": 0, "benign": 0, "unspecified": 0})
        for row in rows:
            counts[row["class"]] += row["count"]
        lost = kernel.counts("tcpdrop_lost")[0]
        return ProbeSample(
            "tcpdrop",
            seconds,
            counts.total() + lost,
            lost=lost,
            values=dict(counts),
            tops={
                "reason": self._top(rows, "dropped"),
                "benign": self._top(rows, "benign"),
                "unspecified": self._top(rows, "unspecified"),
            },
        )

    def _top(self, rows: list[dict[str, Any]], kind: str) -> tuple[Any, ...]:
        """Rank what is of one class."""
        shown = [{k: v for k, v in r.items() if k != "class"} for r in rows if r["class"] == kind]
        return heaviest(shown, "count", self.settings.tops)


def _rows(kernel: Kernel) -> list[dict[str, Any]]:
    """Tell each kind of drop; addresses in one function are one place."""
    names = kernel.tracefs.names(_EVENT, "reason") if kernel.tracefs else {}
    counts: Counter[tuple[str, str, str | None, str]] = Counter()
    for key, count in kernel.items("tcpdrop_kinds"):
        reason = names.get(key.reason, str(key.reason))
        protocol = _ETHERTYPES.get(key.protocol, f"{key.protocol:#06x}")
        carried = _CARRIED.get(key.carried)
        counts[reason, protocol, carried, kernel.kernel_name(key.location)] += count
    return [
        {
            "reason": reason,
            "protocol": protocol,
            "carried": carried,
            "function": function,
            "count": count,
            "class": classify(reason),
        }
        for (reason, protocol, carried, function), count in counts.items()
    ]


def classify(reason: str) -> str:
    """
    Tell losses from what nobody misses.

    Args:
        reason: Its name.

    Returns:
        "dropped", "benign" or "unspecified".

    """
    if reason == UNSPECIFIED:
        return "unspecified"
    return "benign" if reason in BENIGN else "dropped"


PROBE = Probe(
    category="network",
    recorder=TcpdropRecorder,
    shared=_SHARED,
    parts=(Part(_EVENT, _DROP, ("skbaddr", "location", "protocol", "reason")),),
    optional_offsets={
        "TCPDROP_HEAD": ("sk_buff.head",),
        "TCPDROP_NETWORK": ("sk_buff.network_header",),
    },
)
