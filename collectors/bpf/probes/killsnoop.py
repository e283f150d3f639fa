"""
Signals: who sent what to whom.

Event: signal:signal_generate, in the context of the sender. Cost: about 0.5 us per signal,
nothing without. Missed: what everybody gets all the time is counted only, as `left_out`: that a
child ended (SIGCHLD), SIGURG (the Go runtime interrupts itself with it), and timers that a
program set itself. For a signal that the kernel sent (`origin`), the sender is whoever happened
to run, so none is told. A signal that nobody received (ignored, or the same already waits) is
told as sent. Of all a fair sample is kept; what is added up is added up over all of them.
Kernels: all.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, Settings, counters
from collectors.bpf.sampling import Ranking, Reservoir
from collectors.bpf.tasks import signal_name

_RECORD = struct.Struct("<QIIiiiI16s16s")  # struct killsnoop_record
# enum in include/trace/events/signal.h
_RESULTS = ("delivered", "ignored", "already pending", "queue full", "details lost")

_SHARED = (
    counters("killsnoop_counts", "sent", "left_out", "lost")
    + r"""
struct killsnoop_record {
    u64 at;
    u32 pid, target;
    s32 number, code, result;
    u32 pad;
    char comm[16], target_comm[16];
};
BPF_RINGBUF_OUTPUT(killsnoop_ring, 32);

/* Numbers: include/uapi/asm-generic/signal.h and siginfo.h. */
static __always_inline int killsnoop_noise(s32 number, s32 code)
{
    if (number == 17 /* SIGCHLD */ || number == 23 /* SIGURG */ || code == -2 /* SI_TIMER */)
        return 1;
    /* SIGALRM, SIGVTALRM and SIGPROF by the kernel, SI_KERNEL. */
    return code == 0x80 && (number == 14 || number == 26 || number == 27);
}
"""
)

_SIGNAL = r"""
    if (off_() || alien_())
        return 0;
    s32 number = args->sig, code = args->code;
    if (killsnoop_noise(number, code)) {
        killsnoop_counts_count(KILLSNOOP_COUNTS_LEFT_OUT, 1);
        return 0;
    }
    killsnoop_counts_count(KILLSNOOP_COUNTS_SENT, 1);
    struct killsnoop_record *record;
    record = killsnoop_ring.ringbuf_reserve(sizeof(struct killsnoop_record));
    if (!record) {
        killsnoop_counts_count(KILLSNOOP_COUNTS_LOST, 1);
        return 0;
    }
    record->at = bpf_ktime_get_ns();
    record->pid = bpf_get_current_pid_tgid() >> 32;
    record->target = args->pid;
    record->number = number;
    record->code = code;
    record->result = args->result;
    bpf_get_current_comm(&record->comm, sizeof(record->comm));
    __builtin_memcpy(record->target_comm, args->comm, sizeof(record->target_comm));
    killsnoop_ring.ringbuf_submit(record, 0);
"""


class KillsnoopRecorder(Recorder):
    """Keep a sample of signals; add up all of them."""

    ring: ClassVar[str | None] = "killsnoop_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._signals = Reservoir(settings.records)
        self._kinds, self._pairs = Ranking(), Ranking()

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one signal.

        Args:
            raw: struct killsnoop_record.
            kernel: Not needed.

        """
        del kernel
        at, pid, target, number, code, result, _, comm, target_comm = _RECORD.unpack_from(raw)
        # A positive code says which part of the kernel sent it, sigaction(2).
        by_kernel = code > 0
        record: dict[str, Any] = {
            "monotonic_seconds": at * NANOSECOND,
            "signal": signal_name(number),
            "origin": "kernel" if by_kernel else "process",
            "comm": None if by_kernel else text(comm),
            "pid": None if by_kernel else pid,
            "target_comm": text(target_comm),
            "target_pid": target,
            "result": _RESULTS[result] if 0 <= result < len(_RESULTS) else str(result),
        }
        self._signals.add(record)
        self._kinds.add((record["signal"], record["origin"]))
        self._pairs.add(tuple(record[name] for name in _PAIR))

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Signals by kind, and by sender and receiver. Value `left_out`: the everyday ones.

        """
        sent, left_out, lost = kernel.counts("killsnoop_counts")
        most = self.settings.tops
        return ProbeSample(
            "killsnoop",
            seconds,
            sent,
            lost=lost,
            values={"left_out": left_out},
            tops={
                "signal": self._kinds.top(most, "signal", "origin"),
                "pair": self._pairs.top(most, *_PAIR),
            },
            records=self._signals.records(),
            records_of=self._signals.seen,
        )


_PAIR = ("signal", "origin", "comm", "pid", "target_comm", "target_pid")

PROBE = Probe(
    category="process",
    recorder=KillsnoopRecorder,
    shared=_SHARED,
    parts=(Part("signal:signal_generate", _SIGNAL, ("sig", "code", "comm", "pid", "result")),),
    filters=("pid", "cgroup"),
)
