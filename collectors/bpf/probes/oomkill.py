"""
Processes that the kernel killed because memory ran out, and who wanted the memory.

Event: oom:mark_victim, in the context of the task that could not get memory; it comes for the
whole host and for control groups alike. Cost: about 15 us per victim. Missed: whether the host or
a control group ran out (the kernel's log says so); where the event lacks them, the victim's
memory and, if it ended at once, its name. Kernels: all; of the fields the first ones had the
process id only, later releases of 6.1 have them all.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, Settings, counters
from collectors.bpf.sampling import Ranking, Reservoir

_RECORD = struct.Struct("<QQQQQiIIi16s16s")  # struct oomkill_record
_UNKNOWN = 2**64 - 1
_KIB = 1024  # [bytes]

_SHARED = (
    counters("oomkill_counts", "killed", "lost")
    + r"""
struct oomkill_record {
    u64 at, total, anonymous, file, shared; /* [KiB] */
    s32 score;
    u32 has_score, victim, pid;
    char comm[16], trigger[16];
};
BPF_RINGBUF_OUTPUT(oomkill_ring, 4);
"""
)

_VICTIM = r"""
    if (off_())
        return 0;
    oomkill_counts_count(OOMKILL_COUNTS_KILLED, 1);
    struct oomkill_record *record;
    record = oomkill_ring.ringbuf_reserve(sizeof(struct oomkill_record));
    if (!record) {
        oomkill_counts_count(OOMKILL_COUNTS_LOST, 1);
        return 0;
    }
    record->at = bpf_ktime_get_ns();
    record->victim = args->pid;
    record->pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&record->trigger, sizeof(record->trigger));
    record->comm[0] = 0;
    record->has_score = record->score = 0;
    record->total = record->anonymous = record->file = record->shared = -1;
#ifdef HAVE__mark_victim__comm_loc
    bpf_probe_read_kernel_str(record->comm, sizeof(record->comm),
                              (char *)args + (args->comm_loc & 0xffff));
#endif
#ifdef HAVE__mark_victim__anon_rss
    record->total = args->total_vm;
    record->anonymous = args->anon_rss;
    record->file = args->file_rss;
    record->shared = args->shmem_rss;
#endif
#ifdef HAVE__mark_victim__oom_score_adj
    record->has_score = 1;
    record->score = args->oom_score_adj;
#endif
    oomkill_ring.ringbuf_submit(record, 0);
"""


class OomkillRecorder(Recorder):
    """Keep the victims."""

    ring: ClassVar[str | None] = "oomkill_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._victims = Reservoir(settings.records)
        self._names = Ranking()

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one victim.

        Args:
            raw: struct oomkill_record.
            kernel: Names a victim that still lives, where the event does not.

        """
        at, *sizes, score, has_score, victim, pid, comm, trigger = _RECORD.unpack_from(raw)
        record: dict[str, Any] = {
            "monotonic_seconds": at * NANOSECOND,
            "comm": text(comm) or kernel.comm(victim),
            "pid": victim,
            **dict(zip(_SIZES, map(_size, sizes), strict=True)),
            "oom_score_adj": score if has_score else None,
            "trigger": text(trigger),
            "trigger_pid": pid,
        }
        self._victims.add(record)
        self._names.add((record["comm"], record["trigger"]))

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            The victims.

        """
        killed, lost = kernel.counts("oomkill_counts")
        return ProbeSample(
            "oomkill",
            seconds,
            killed,
            lost=lost,
            tops={"victim": self._names.top(self.settings.tops, "comm", "trigger")},
            records=self._victims.records(),
            records_of=self._victims.seen,
        )


_SIZES = ("virtual_bytes", "anonymous_bytes", "file_bytes", "shared_bytes")


def _size(kibibytes: int) -> int | None:
    """Give a size in bytes; None where the event has none."""
    return None if kibibytes == _UNKNOWN else kibibytes * _KIB


PROBE = Probe(
    category="memory",
    recorder=OomkillRecorder,
    shared=_SHARED,
    parts=(Part("oom:mark_victim", _VICTIM, ("pid",)),),
)
