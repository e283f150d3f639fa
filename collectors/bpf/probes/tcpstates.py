"""
TCP states: how connections go from state to state, and how long they stay in each.

Event: sock:inet_sock_set_state. Cost: about 0.8 us per change of state, five or so per
connection. Missed: how long the first state seen of a socket had lasted; TIME_WAIT and half-open
requests, which are no sockets of their own; whose they are, because most changes happen when a
packet comes in. Values: `transitions`. Tops: `transition`, by how often, with the time spent in
the state that was left. Records: single transitions; the ports are not set yet where a listener's
child begins.
Kernels: all with this tracepoint, 4.16 and later.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

from collectors.bpf.kernel import Kernel
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, Settings, counters
from collectors.bpf.sampling import Reservoir
from collectors.bpf.spans import heaviest
from collectors.bpf.tcp import STATES, address, spoken_family, state

_RECORD = struct.Struct("=QQ16s16sHHHH")  # struct tcpstates_record
_UNKNOWN = 2**64 - 1

_SHARED = (
    counters("tcpstates_seen", "lost")
    + r"""
struct tcpstates_pair { u16 before, after; };
struct tcpstates_total { u64 count, timed, sum, most; };
struct tcpstates_record {
    u64 at, took;
    u8 local[16], remote[16];
    u16 local_port, remote_port, before, after;
};
BPF_TABLE("lru_hash", u64, u64, tcpstates_since, 8192);
BPF_HASH(tcpstates_totals, struct tcpstates_pair, struct tcpstates_total, 256);
BPF_RINGBUF_OUTPUT(tcpstates_ring, 128);

/* How long a socket was in the state that it leaves; -1 when that is not known. */
static __always_inline u64 tcpstates_stayed(u64 socket, u64 now, int after)
{
    u64 *since = tcpstates_since.lookup(&socket);
    u64 stayed = since ? now - *since : (u64)-1;
    if (after == 7)
        tcpstates_since.delete(&socket);
    else
        tcpstates_since.update(&socket, &now);
    return stayed;
}

static __always_inline void tcpstates_sum(struct tcpstates_record *record)
{
    struct tcpstates_pair pair = {.before = record->before, .after = record->after};
    struct tcpstates_total none = {}, *total;
    total = tcpstates_totals.lookup_or_try_init(&pair, &none);
    if (!total)
        return;
    __sync_fetch_and_add(&total->count, 1);
    if (record->took == (u64)-1)
        return;
    __sync_fetch_and_add(&total->timed, 1);
    __sync_fetch_and_add(&total->sum, record->took);
    if (record->took > total->most)
        total->most = record->took;
}
"""
)

_CHANGE = r"""
    if (args->protocol != 6)
        return 0;
    struct tcpstates_record record = {.at = bpf_ktime_get_ns()};
    record.took = tcpstates_stayed((u64)args->skaddr, record.at, args->newstate);
    if (off_())
        return 0;
    record.before = args->oldstate;
    record.after = args->newstate;
    __builtin_memcpy(record.local, args->saddr_v6, 16);
    __builtin_memcpy(record.remote, args->daddr_v6, 16);
    record.local_port = args->sport;
    record.remote_port = args->dport;
    tcpstates_sum(&record);
    if (tcpstates_ring.ringbuf_output(&record, sizeof(record), 0))
        tcpstates_seen_count(TCPSTATES_SEEN_LOST, 1);
"""


class TcpstatesRecorder(Recorder):
    """Keep a sample of the transitions, and read their sums."""

    ring: ClassVar[str | None] = "tcpstates_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._single = Reservoir(settings.records)

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one transition.

        Args:
            raw: struct tcpstates_record.
            kernel: Not needed.

        """
        del kernel
        at, took, local, remote, local_port, remote_port, before, after = _RECORD.unpack_from(raw)
        self._single.add({
            "monotonic_seconds": at * NANOSECOND,
            "from": state(before),
            "to": state(after),
            "seconds": None if took == _UNKNOWN else took * NANOSECOND,
            "family": spoken_family(remote),
            "local": address(local),
            "local_port": local_port,
            "remote": address(remote),
            "remote_port": remote_port,
        })  # fmt: skip

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            All kinds of transitions, and a sample of single ones.

        """
        rows = [
            {"from": state(key.before), "to": state(key.after), "count": total.count} | _stay(total)
            for key, total in kernel.items("tcpstates_totals")
        ]
        every = sum(row["count"] for row in rows)
        return ProbeSample(
            "tcpstates",
            seconds,
            every,
            lost=kernel.counts("tcpstates_seen")[0],
            values={"transitions": every},
            # There are few kinds, and one that is rare may be the one that tells.
            tops={"transition": heaviest(rows, "count", len(STATES) ** 2)},
            records=self._single.records(),
            records_of=self._single.seen,
        )


def _stay(total: Any) -> dict[str, float | None]:
    """Tell how long the state that was left had lasted."""
    known = total.timed > 0
    return {
        "mean_seconds": total.sum / total.timed * NANOSECOND if known else None,
        "max_seconds": total.most * NANOSECOND if known else None,
    }


_FIELDS = ("skaddr", "oldstate", "newstate", "protocol", "sport", "dport", "saddr_v6", "daddr_v6")

PROBE = Probe(
    category="network",
    recorder=TcpstatesRecorder,
    shared=_SHARED,
    parts=(Part("sock:inet_sock_set_state", _CHANGE, _FIELDS),),
)
