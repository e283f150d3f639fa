"""
TCP retransmits: what had to be sent again, and to whom.

Event: tcp:tcp_retransmit_skb and tcp:tcp_retransmit_synack. Cost: about 2.4 us per retransmit,
nothing without. Missed: before about 6.15, what could not even be sent again for want of a local
queue's room is told only in the segments of the connection's next retransmit; without type
information (BTF), the segments. Values: `skbs`, what the kernel took up at once, and `segments`,
what went over the wire: one skb may be up to 64 kB; both count a SYN as one. Of the skbs, `syn`
asked for a connection, and `not_sent` never left this host (absent where the kernel does not
say); `synacks` were answers to a SYN and are not among the skbs. Tops: by remote network (/24,
/64), local and remote port, state. Records: single retransmits.
Kernels: all with these tracepoints, 4.16 and later.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

from collectors.bpf.kernel import Kernel
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, Settings, counters
from collectors.bpf.sampling import Ranking, Reservoir
from collectors.bpf.tcp import address, network, state

_RECORD = struct.Struct("=Q16s16sIiHHHH")  # struct tcpretrans_record
_SEGMENTS = ("TCPRETRANS_TOTAL", "TCPRETRANS_CB", "TCPRETRANS_PARTS")

_SHARED = (
    counters("tcpretrans_seen", "skbs", "segments", "syn", "synacks", "not_sent", "lost")
    + r"""
struct tcpretrans_record {
    u64 at;
    u8 local[16], remote[16];
    u32 segments;
    s32 error;
    u16 local_port, remote_port, state, synack;
};
BPF_TABLE("lru_hash", u64, u32, tcpretrans_totals, 4096);
BPF_RINGBUF_OUTPUT(tcpretrans_ring, 64);

/* How many segments a socket has sent again since it was last asked. */
static __always_inline u32 tcpretrans_segments(u64 socket, u64 skb)
{
    u16 parts = 0;
#if defined(TCPRETRANS_TOTAL) && defined(TCPRETRANS_CB) && defined(TCPRETRANS_PARTS)
    u32 total = 0, *before = tcpretrans_totals.lookup(&socket), more;
    bpf_probe_read_kernel(&total, sizeof(total), (void *)(socket + TCPRETRANS_TOTAL));
    bpf_probe_read_kernel(&parts, sizeof(parts),
                          (void *)(skb + TCPRETRANS_CB + TCPRETRANS_PARTS));
    more = before ? total - *before : 0;
    tcpretrans_totals.update(&socket, &total);
    /* Another socket at the same address begins again with its first retransmit. */
    if (before && total > *before && total != parts)
        return more;
#endif
    return parts;
}

static __always_inline void tcpretrans_tell(struct tcpretrans_record *record)
{
    record->at = bpf_ktime_get_ns();
    if (record->synack) {
        tcpretrans_seen_count(TCPRETRANS_SEEN_SYNACKS, 1);
    } else {
        tcpretrans_seen_count(TCPRETRANS_SEEN_SKBS, 1);
        tcpretrans_seen_count(TCPRETRANS_SEEN_SEGMENTS, record->segments);
        tcpretrans_seen_count(TCPRETRANS_SEEN_SYN, record->state == 2);
        tcpretrans_seen_count(TCPRETRANS_SEEN_NOT_SENT, record->error != 0);
    }
    if (tcpretrans_ring.ringbuf_output(record, sizeof(*record), 0))
        tcpretrans_seen_count(TCPRETRANS_SEEN_LOST, 1);
}
"""
)

_PLACES = r"""
    if (off_())
        return 0;
    struct tcpretrans_record record = {};
    __builtin_memcpy(record.local, args->saddr_v6, 16);
    __builtin_memcpy(record.remote, args->daddr_v6, 16);
    record.local_port = args->sport;
    record.remote_port = args->dport;
"""

_SKB = (
    _PLACES
    + r"""
    record.state = args->state;
#ifdef HAVE__tcp_retransmit_skb__err
    record.error = args->err;
#endif
    record.segments = tcpretrans_segments((u64)args->skaddr, (u64)args->skbaddr);
    tcpretrans_tell(&record);
"""
)

_SYNACK = (
    _PLACES
    + r"""
    record.state = 12;
    record.segments = 1;
    record.synack = 1;
    tcpretrans_tell(&record);
"""
)


class TcpretransRecorder(Recorder):
    """Keep a sample of the retransmits, and rank where they went."""

    ring: ClassVar[str | None] = "tcpretrans_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._single = Reservoir(settings.records)
        self._ranks = {
            what: Ranking() for what in ("network", "local_port", "remote_port", "state")
        }

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one retransmit.

        Args:
            raw: struct tcpretrans_record.
            kernel: Not needed.

        """
        del kernel
        at, local, remote, segments, error, here, there, number, _ = _RECORD.unpack_from(raw)
        groups = {"network": network(remote), "local_port": here, "remote_port": there}
        for what, key in (groups | {"state": state(number)}).items():
            self._ranks[what].add(key, segments)
        self._single.add({
            "monotonic_seconds": at * NANOSECOND,
            "local": address(local),
            "local_port": here,
            "remote": address(remote),
            "remote_port": there,
            "state": state(number),
            "segments": segments or None,
            "sent": not error,
        })  # fmt: skip

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Counts, rankings and a sample of single ones.

        """
        skbs, segments, syn, synacks, not_sent, lost = kernel.counts("tcpretrans_seen")
        values: dict[str, float] = {"skbs": skbs, "syn": syn, "synacks": synacks}
        # A retransmit is a segment at least: none at all means that they could not be read.
        if segments or not skbs:
            values["segments"] = segments
        fields = kernel.tracefs.fields("tcp:tcp_retransmit_skb") if kernel.tracefs else None
        if any(field.name == "err" for field in fields or ()):
            values["not_sent"] = not_sent
        return ProbeSample(
            "tcpretrans",
            seconds,
            skbs + synacks,
            lost=lost,
            values=values,
            tops={what: self._top(what, rank) for what, rank in self._ranks.items()},
            records=self._single.records(),
            records_of=self._single.seen,
        )

    def _top(self, what: str, rank: Ranking) -> tuple[dict[str, Any], ...]:
        """Rank by events, and tell the segments beside them."""
        rows = rank.top(self.settings.tops, what)
        return tuple(row | {"segments": rank.groups[row[what]].total or None} for row in rows)


_FIELDS = ("skaddr", "sport", "dport", "saddr_v6", "daddr_v6")

PROBE = Probe(
    category="network",
    recorder=TcpretransRecorder,
    shared=_SHARED,
    parts=(
        Part("tcp:tcp_retransmit_skb", _SKB, (*_FIELDS, "skbaddr", "state")),
        Part("tcp:tcp_retransmit_synack", _SYNACK, _FIELDS, optional=True),
    ),
    optional_offsets=dict(
        zip(
            _SEGMENTS,
            (("tcp_sock.total_retrans",), ("sk_buff.cb",), ("tcp_skb_cb.tcp_gso_segs",)),
            strict=True,
        )
    ),
)
