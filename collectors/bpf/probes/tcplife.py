"""
TCP connections that ended: whose they were, how long they lived, what they carried.

Event: sock:inet_sock_set_state. Cost: about 0.6 us per change of state, five or so per
connection. Missed: how long a connection lived that was there before the probe was attached
(`unknown_start`; its bytes are told); who had an accepted one that the other side cut off;
connections that outlive the window; TIME_WAIT, in which no connection is left. The owner is who
connected or, on the accepting side, who closed. Values: `connections` that ended,
`unknown_start`, `sent_bytes` and `received_bytes` over their whole lives: payload that arrived
and was acknowledged. Without type information (BTF) no bytes and no retransmits. Tops: remote
addresses, programs and ports by bytes. Records: single connections.
Kernels: all with this tracepoint, 4.16 and later.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, Settings, counters, latency_edges
from collectors.bpf.sampling import Ranking, Reservoir
from collectors.bpf.tcp import address, family_maps, histograms, spoken_family

_FAMILY = "sysdx_tcp_connection_duration_seconds"
_RECORD = struct.Struct("=QQQQ16s16sIIHHHH16s")  # struct tcplife_record
_UNKNOWN = 2**64 - 1
_SIDES = {0: None, 1: "connected", 2: "accepted"}
_COUNTS = ("connections", "unknown_start", "sent_bytes", "received_bytes")

_OFFSETS = {
    "TCPLIFE_ACKED": ("tcp_sock.bytes_acked",),
    "TCPLIFE_SENT": ("tcp_sock.bytes_sent",),
    "TCPLIFE_AGAIN": ("tcp_sock.bytes_retrans",),
    "TCPLIFE_WRITTEN": ("tcp_sock.write_seq",),
    "TCPLIFE_UNACKED": ("tcp_sock.snd_una",),
    "TCPLIFE_RECEIVED": ("tcp_sock.bytes_received",),
    "TCPLIFE_SEGMENTS": ("tcp_sock.total_retrans",),
    "TCPLIFE_FLAGS": ("sock_common.skc_flags",),
}

_SHARED = (
    # Bytes need all offsets: none of them makes sense without the others.
    "#if " + " && ".join(f"defined({macro})" for macro in _OFFSETS) + "\n"
    "#define TCPLIFE_BYTES 1\n#endif\n"
    + family_maps("tcplife")
    + counters("tcplife_seen", *_COUNTS, "lost")
    + r"""
struct tcplife_life { u64 at; u32 pid; u16 owner, side; char comm[16]; };
struct tcplife_record {
    u64 at, took, sent, received;
    struct tcplife_address local, remote;
    u32 pid, segments;
    u16 local_port, remote_port, owner, side;
    char comm[16];
};
BPF_TABLE("lru_hash", u64, struct tcplife_life, tcplife_lives, 8192);
BPF_RINGBUF_OUTPUT(tcplife_ring, 64);

/* Owner: 0 unknown, 1 known, 2 not to be told of. */
static __always_inline void tcplife_sign(struct tcplife_life *life)
{
    life->owner = alien_() ? 2 : 1;
    life->pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&life->comm, sizeof(life->comm));
}

static __always_inline void tcplife_connect(u64 socket)
{
    struct tcplife_life life = {.side = 1};
    tcplife_sign(&life);
    tcplife_lives.update(&socket, &life);
}

static __always_inline void tcplife_establish(u64 socket, int before)
{
    struct tcplife_life *known = tcplife_lives.lookup(&socket), life = {.side = 2};
    u64 now = bpf_ktime_get_ns();
    if (known && known->side == 1 && !known->at) {
        known->at = now;
        return;
    }
    life.at = now;
    /* One that connected before the probe was attached. */
    if (before == 2)
        life.side = 1;
    tcplife_lives.update(&socket, &life);
}

/* Only who has the socket makes it send a FIN. */
static __always_inline void tcplife_finish(u64 socket)
{
    struct tcplife_life *known = tcplife_lives.lookup(&socket), life = {};
    if (!known) {
        tcplife_sign(&life);
        tcplife_lives.update(&socket, &life);
    } else if (!known->owner) {
        tcplife_sign(known);
    }
}

static __always_inline int tcplife_told(u32 owner)
{
#if defined(ONLY_TGID) || defined(ONLY_CGROUP)
    return owner == 1;
#else
    return owner != 2;
#endif
}

static __always_inline u64 tcplife_read(u64 socket, u64 offset, u32 size)
{
    u64 value = 0;
    bpf_probe_read_kernel(&value, size, (void *)(socket + offset));
    return value;
}

#ifdef TCPLIFE_BYTES
/* Payload that the other side has acknowledged: a SYN and a FIN count as a byte each, but the
   SYN only of who connected. */
static __always_inline u64 tcplife_sent(u64 socket, u32 before, u32 side)
{
    u64 acked = tcplife_read(socket, TCPLIFE_ACKED, 8);
    u64 sent = tcplife_read(socket, TCPLIFE_SENT, 8) - tcplife_read(socket, TCPLIFE_AGAIN, 8);
    u32 next = tcplife_read(socket, TCPLIFE_WRITTEN, 4);
    if (before != 1 && before != 8 && next == (u32)tcplife_read(socket, TCPLIFE_UNACKED, 4))
        acked -= 1;
    if (side == 1)
        acked -= 1;
    /* Without losses in this host's own queue this is the same, and knows of no SYN. */
    return side || acked < sent ? acked : sent;
}

/* A FIN that came in counts as a byte; then the second flag, SOCK_DONE, is set. */
static __always_inline u64 tcplife_received(u64 socket)
{
    u64 fin = tcplife_read(socket, TCPLIFE_FLAGS, 8) >> 1 & 1;
    return tcplife_read(socket, TCPLIFE_RECEIVED, 8) - fin;
}
#endif

static __always_inline void tcplife_bytes(u64 socket, u32 before, struct tcplife_record *record)
{
    record->sent = record->received = (u64)-1;
#ifdef TCPLIFE_BYTES
    record->segments = tcplife_read(socket, TCPLIFE_SEGMENTS, 4);
    record->sent = tcplife_sent(socket, before, record->side);
    record->received = tcplife_received(socket);
    tcplife_seen_count(TCPLIFE_SEEN_SENT_BYTES, record->sent);
    tcplife_seen_count(TCPLIFE_SEEN_RECEIVED_BYTES, record->received);
#endif
}

static __always_inline void tcplife_tell(u64 socket, u32 before, struct tcplife_record *record)
{
    tcplife_bytes(socket, before, record);
    tcplife_seen_count(TCPLIFE_SEEN_CONNECTIONS, 1);
    if (record->took == (u64)-1)
        tcplife_seen_count(TCPLIFE_SEEN_UNKNOWN_START, 1);
    else
        tcplife_add(tcplife_family(&record->remote), record->took);
    if (tcplife_ring.ringbuf_output(record, sizeof(*record), 0))
        tcplife_seen_count(TCPLIFE_SEEN_LOST, 1);
}
"""
)

_CHANGE = r"""
    if (args->protocol != 6)
        return 0;
    u64 socket = (u64)args->skaddr;
    if (args->newstate == 2)
        tcplife_connect(socket);
    if (args->newstate == 1)
        tcplife_establish(socket, args->oldstate);
    if (args->newstate == 4 || args->newstate == 9)
        tcplife_finish(socket);
    if (args->newstate != 7)
        return 0;
    struct tcplife_life *life = tcplife_lives.lookup(&socket), none = {};
    struct tcplife_life own = life ? *life : none;
    tcplife_lives.delete(&socket);
    /* Never a connection: closed before, asked or answered in vain, listening. */
    if (args->oldstate == 7 || args->oldstate == 2 || args->oldstate == 3 || args->oldstate == 10)
        return 0;
    if (off_() || !tcplife_told(own.owner))
        return 0;
    struct tcplife_record record = {.at = bpf_ktime_get_ns(), .pid = own.pid};
    record.took = own.at ? record.at - own.at : (u64)-1;
    __builtin_memcpy(&record.local, args->saddr_v6, 16);
    __builtin_memcpy(&record.remote, args->daddr_v6, 16);
    record.local_port = args->sport;
    record.remote_port = args->dport;
    record.owner = own.owner;
    record.side = own.side;
    __builtin_memcpy(record.comm, own.comm, sizeof(record.comm));
    tcplife_tell(socket, args->oldstate, &record);
"""


class TcplifeRecorder(Recorder):
    """Keep a sample of the connections, and rank who had them and where they led."""

    ring: ClassVar[str | None] = "tcplife_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._lives = Reservoir(settings.records)
        self._ranks = {what: Ranking() for what in ("remote", "comm", "local_port", "remote_port")}

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one connection that ended.

        Args:
            raw: struct tcplife_record.
            kernel: For what it cannot tell.

        """
        del kernel
        row = _row(raw)
        carried = (row["sent_bytes"] or 0) + (row["received_bytes"] or 0)
        for what, rank in self._ranks.items():
            rank.add(row[what], carried)
        self._lives.add(row)

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram per address family, of the connections whose begin was seen.

        """
        *counts, lost = kernel.counts("tcplife_seen")
        values = dict(zip(_COUNTS, counts, strict=True))
        if any(row["sent_bytes"] is None for row in self._lives.records()):
            del values["sent_bytes"], values["received_bytes"]
        tops = {
            what: rank.top(self.settings.tops, what, value="bytes")
            for what, rank in self._ranks.items()
        }
        return ProbeSample(
            "tcplife",
            seconds,
            values["connections"],
            lost=lost,
            histograms=histograms(kernel, "tcplife", _FAMILY),
            values=values,
            tops=tops,
            records=self._lives.records(),
            records_of=self._lives.seen,
        )


def _row(raw: bytes) -> dict[str, Any]:
    """Read one record."""
    at, took, sent, received, local, remote, pid, segments, *rest = _RECORD.unpack_from(raw)
    local_port, remote_port, owner, side, comm = rest
    return {
        "monotonic_seconds": at * NANOSECOND,
        "comm": text(comm) if owner else None,
        "pid": pid if owner else None,
        "side": _SIDES[side],
        "family": spoken_family(remote),
        "local": address(local),
        "local_port": local_port,
        "remote": address(remote),
        "remote_port": remote_port,
        "seconds": None if took == _UNKNOWN else took * NANOSECOND,
        "sent_bytes": None if sent == _UNKNOWN else sent,
        "received_bytes": None if received == _UNKNOWN else received,
        "retransmitted_segments": None if sent == _UNKNOWN else segments,
    }


_FIELDS = ("skaddr", "oldstate", "newstate", "protocol", "sport", "dport", "saddr_v6", "daddr_v6")

PROBE = Probe(
    category="network",
    recorder=TcplifeRecorder,
    shared=_SHARED,
    parts=(Part("sock:inet_sock_set_state", _CHANGE, _FIELDS),),
    optional_offsets=_OFFSETS,
    families=(
        Family(
            _FAMILY,
            "How long connections that ended had been established, in all windows since start.",
            latency_edges(16, 42, 2),
            ("family",),
        ),
    ),
    filters=("pid", "cgroup"),
)
