"""
TCP connect latency: from the first SYN until the answer, for connections that this host opens.

Event: sock:inet_sock_set_state, into SYN_SENT (in the context of who connects) and out of it.
Cost: about 0.3 us per change of state, 13 % of the connects that one loop can make. Missed:
connects under way when the probe was attached; why a connect failed, without type information
(BTF). Values: `attempts` that began, and by how they ended in the window `established`, `failed`
(of these `refused`, `timed_out`, `unreachable`) and `aborted`: given up by the program, or no
local port was free. Records: the connects, by who and where to. Tops: destinations and programs
by the time they waited, and destinations by failures.
Kernels: all with this tracepoint, 4.16 and later.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, Settings, counters, latency_edges
from collectors.bpf.sampling import Ranking, Reservoir
from collectors.bpf.tcp import address, error_name, family_maps, histograms, spoken_family

_FAMILY = "sysdx_tcp_connect_latency_seconds"
_RECORD = struct.Struct("=QQ16sIiHHI16s")  # struct tcpconnlat_record
_ESTABLISHED = 1
_COUNTS = ("attempts", "established", "failed", "aborted", "refused", "timed_out", "unreachable")

_SHARED = (
    family_maps("tcpconnlat")
    + counters("tcpconnlat_seen", *_COUNTS, "lost")
    + r"""
struct tcpconnlat_start { u64 at; u32 pid, pad; char comm[16]; };
struct tcpconnlat_record {
    u64 at, took;
    struct tcpconnlat_address remote;
    u32 pid;
    s32 error;
    u16 port, state;
    u32 pad;
    char comm[16];
};
BPF_TABLE("lru_hash", u64, struct tcpconnlat_start, tcpconnlat_started, 8192);
BPF_RINGBUF_OUTPUT(tcpconnlat_ring, 64);

static __always_inline void tcpconnlat_begin(u64 socket)
{
    struct tcpconnlat_start start = {.at = bpf_ktime_get_ns()};
    if (alien_())
        return;
    start.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&start.comm, sizeof(start.comm));
    tcpconnlat_started.update(&socket, &start);
    if (!off_())
        tcpconnlat_seen_count(TCPCONNLAT_SEEN_ATTEMPTS, 1);
}

/* Why it failed: 0 when nobody but the program ended it, -1 when this kernel does not tell. */
static __always_inline s32 tcpconnlat_why(u64 socket)
{
    s32 error = -1;
#ifdef TCPCONNLAT_ERROR
    bpf_probe_read_kernel(&error, sizeof(error), (void *)(socket + TCPCONNLAT_ERROR));
#endif
    return error;
}

/* Error numbers of include/uapi/asm-generic/errno.h. */
static __always_inline void tcpconnlat_fail(s32 error)
{
    if (!error) {
        tcpconnlat_seen_count(TCPCONNLAT_SEEN_ABORTED, 1);
        return;
    }
    tcpconnlat_seen_count(TCPCONNLAT_SEEN_FAILED, 1);
    if (error == 111)
        tcpconnlat_seen_count(TCPCONNLAT_SEEN_REFUSED, 1);
    else if (error == 110)
        tcpconnlat_seen_count(TCPCONNLAT_SEEN_TIMED_OUT, 1);
    else if (error == 101 || error == 113)
        tcpconnlat_seen_count(TCPCONNLAT_SEEN_UNREACHABLE, 1);
}

static __always_inline void tcpconnlat_tell(struct tcpconnlat_record *record)
{
    if (record->state == 1) {
        tcpconnlat_seen_count(TCPCONNLAT_SEEN_ESTABLISHED, 1);
        tcpconnlat_add(tcpconnlat_family(&record->remote), record->took);
    } else {
        tcpconnlat_fail(record->error);
    }
    if (tcpconnlat_ring.ringbuf_output(record, sizeof(*record), 0))
        tcpconnlat_seen_count(TCPCONNLAT_SEEN_LOST, 1);
}
"""
)

_CHANGE = r"""
    if (args->protocol != 6)
        return 0;
    u64 socket = (u64)args->skaddr;
    if (args->newstate == 2)
        tcpconnlat_begin(socket);
    if (args->oldstate != 2)
        return 0;
    struct tcpconnlat_start *start = tcpconnlat_started.lookup(&socket);
    if (!start)
        return 0;
    struct tcpconnlat_record record = {.at = bpf_ktime_get_ns(), .pid = start->pid};
    record.took = record.at - start->at;
    __builtin_memcpy(&record.remote, args->daddr_v6, sizeof(record.remote));
    __builtin_memcpy(record.comm, start->comm, sizeof(record.comm));
    tcpconnlat_started.delete(&socket);
    if (off_())
        return 0;
    record.port = args->dport;
    /* Data in the SYN and simultaneous opens end in SYN_RECV: answered too. */
    record.state = args->newstate == 7 ? 7 : 1;
    record.error = record.state == 1 ? 0 : tcpconnlat_why(socket);
    tcpconnlat_tell(&record);
"""


class TcpconnlatRecorder(Recorder):
    """Keep a sample of the connects, and rank where they went and who made them."""

    ring: ClassVar[str | None] = "tcpconnlat_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._connects = Reservoir(settings.records)
        self._destinations = Ranking()
        self._programs = Ranking()
        self._failed = Ranking()

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one connect that ended.

        Args:
            raw: struct tcpconnlat_record.
            kernel: Not needed.

        """
        del kernel
        at, took, remote, pid, error, port, state, _, comm = _RECORD.unpack_from(raw)
        seconds, where, who = took * NANOSECOND, (address(remote), port), text(comm)
        outcome = "established" if state == _ESTABLISHED else _outcome(error)
        if state == _ESTABLISHED:
            self._destinations.add(where, seconds)
            self._programs.add(who, seconds)
        else:
            self._failed.add((*where, outcome))
        self._connects.add({
            "monotonic_seconds": at * NANOSECOND,
            "comm": who,
            "pid": pid,
            "remote": where[0],
            "port": port,
            "family": spoken_family(remote),
            "outcome": outcome,
            "seconds": seconds,
        })  # fmt: skip

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram per address family, of the connects that were answered.

        """
        *counts, lost = kernel.counts("tcpconnlat_seen")
        values = dict(zip(_COUNTS, counts, strict=True))
        most = self.settings.tops
        return ProbeSample(
            "tcpconnlat",
            seconds,
            values["established"] + values["failed"] + values["aborted"],
            lost=lost,
            histograms=histograms(kernel, "tcpconnlat", _FAMILY),
            values=values,
            tops={
                "destination": self._destinations.top(most, "remote", "port", value="seconds"),
                "program": self._programs.top(most, "comm", value="seconds"),
                "failed": self._failed.top(most, "remote", "port", "outcome"),
            },
            records=self._connects.records(),
            records_of=self._connects.seen,
        )


def _outcome(error: int) -> str:
    """Say how a connect failed."""
    return {0: "aborted", -1: "failed"}.get(error) or error_name(error)


PROBE = Probe(
    category="network",
    recorder=TcpconnlatRecorder,
    shared=_SHARED,
    parts=(
        Part(
            "sock:inet_sock_set_state",
            _CHANGE,
            ("skaddr", "oldstate", "newstate", "protocol", "dport", "daddr_v6"),
        ),
    ),
    optional_offsets={"TCPCONNLAT_ERROR": ("sock.sk_err",)},
    families=(
        Family(
            _FAMILY,
            "From the first SYN until the connection was established, for connections that this "
            "host opened, in all windows since start.",
            latency_edges(17, 31),
            ("family",),
        ),
    ),
    filters=("pid", "cgroup"),
)
