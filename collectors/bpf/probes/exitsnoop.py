"""
Processes that end: how old they were, and how they ended.

Event: sched:sched_process_exit. Cost: about 2 us per process. Missed: before 6.18 a process is
told when its first thread ends, which may be before the others do; where the first thread ended
by itself, the code is that of the last one. Kernel threads are left out. The age is counted from
the fork, not from the start of the program. Of all a fair sample is kept; what is added up is
added up over all of them. Kernels: all with type information (BTF).
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

from collectors.bpf import model
from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import (
    Family,
    Part,
    Probe,
    Recorder,
    Settings,
    counters,
    histogram,
    latency_edges,
)
from collectors.bpf.sampling import Ranking, Reservoir
from collectors.bpf.tasks import known, parent_offsets, parents, signal_name

_FAMILY = "sysdx_process_lifetime_seconds"
_RECORD = struct.Struct("<QQIIII16s16s")  # struct exitsnoop_record
_SIGNAL, _CORE = 0x7F, 0x80  # of a wait status, wait(2)

_SHARED = (
    counters("exitsnoop_counts", "failed", "killed", "lost")
    + histogram("exitsnoop_age")
    + parents("exitsnoop")
    + r"""
#define EXITSNOOP_KERNEL_THREAD 0x00200000 /* PF_KTHREAD, include/linux/sched.h */
struct exitsnoop_record {
    u64 at, age;
    u32 pid, ppid, status, pad;
    char comm[16], parent[16];
};
BPF_RINGBUF_OUTPUT(exitsnoop_ring, 32);

static __always_inline u64 exitsnoop_lived(u64 task)
{
    u64 leader = 0, born = 0;
    bpf_probe_read_kernel(&leader, sizeof(leader), (void *)(task + EXITSNOOP_LEADER));
    bpf_probe_read_kernel(&born, sizeof(born), (void *)(leader + EXITSNOOP_BORN));
    return bpf_ktime_get_ns() - born;
}

static __always_inline void exitsnoop_tell(u64 age, u32 status)
{
    struct exitsnoop_record *record;
    record = exitsnoop_ring.ringbuf_reserve(sizeof(struct exitsnoop_record));
    if (!record) {
        exitsnoop_counts_count(EXITSNOOP_COUNTS_LOST, 1);
        return;
    }
    record->at = bpf_ktime_get_ns();
    record->age = age;
    record->pid = bpf_get_current_pid_tgid() >> 32;
    record->status = status;
    bpf_get_current_comm(&record->comm, sizeof(record->comm));
    record->ppid = exitsnoop_parent(record->parent);
    exitsnoop_ring.ringbuf_submit(record, 0);
}
"""
)

_EXIT = r"""
    u64 id = bpf_get_current_pid_tgid(), task = bpf_get_current_task();
    u32 status = 0, flags = 0;
#ifdef HAVE__sched_process_exit__group_dead
    if (!args->group_dead)
        return 0;
#else
    if ((u32)id != id >> 32)
        return 0;
#endif
    if (off_() || alien_())
        return 0;
    bpf_probe_read_kernel(&flags, sizeof(flags), (void *)(task + EXITSNOOP_FLAGS));
    if (flags & EXITSNOOP_KERNEL_THREAD)
        return 0;
    bpf_probe_read_kernel(&status, sizeof(status), (void *)(task + EXITSNOOP_STATUS));
    u64 age = exitsnoop_lived(task);
    exitsnoop_age_add(age);
    if (status & 0x7f)
        exitsnoop_counts_count(EXITSNOOP_COUNTS_KILLED, 1);
    else if (status)
        exitsnoop_counts_count(EXITSNOOP_COUNTS_FAILED, 1);
    exitsnoop_tell(age, status);
"""


class ExitsnoopRecorder(Recorder):
    """Keep a sample of ends; add up all of them."""

    ring: ClassVar[str | None] = "exitsnoop_ring"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._ends = Reservoir(settings.records)
        self._processes, self._parents = Ranking(), Ranking()

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one end.

        Args:
            raw: struct exitsnoop_record.
            kernel: Not needed.

        """
        del kernel
        at, age, pid, ppid, status, _, comm, parent = _RECORD.unpack_from(raw)
        by_signal = status & _SIGNAL
        record: dict[str, Any] = {
            "monotonic_seconds": at * NANOSECOND,
            "comm": text(comm),
            "pid": pid,
            "seconds": age * NANOSECOND,
            "code": None if by_signal else status >> 8,
            "signal": signal_name(by_signal) if by_signal else None,
            "core_dumped": bool(status & _CORE),
            **known(ppid, text(parent)),
        }
        self._ends.add(record)
        key = (record["comm"], record["code"], record["signal"])
        self._processes.add(key)
        self._parents.add((record["parent"], record["parent_pid"]))

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Ends and their ages. Values `failed`: ended with a code other than 0; `killed`:
            ended by a signal.

        """
        failed, killed, lost = kernel.counts("exitsnoop_counts")
        slots, total = kernel.slots("exitsnoop_age"), kernel.sum("exitsnoop_age")
        ages, most = model.histogram(_FAMILY, slots, total), self.settings.tops
        return ProbeSample(
            "exitsnoop",
            seconds,
            ages.count,
            lost=lost,
            histograms=(ages,),
            values={"failed": failed, "killed": killed},
            tops={
                "process": self._processes.top(most, "comm", "code", "signal"),
                "parent": self._parents.top(most, "comm", "pid"),
            },
            records=self._ends.records(),
            records_of=self._ends.seen,
        )


PROBE = Probe(
    category="process",
    recorder=ExitsnoopRecorder,
    shared=_SHARED,
    parts=(Part("sched:sched_process_exit", _EXIT),),
    offsets={
        "EXITSNOOP_LEADER": ("task_struct.group_leader",),
        "EXITSNOOP_BORN": ("task_struct.start_time",),
        "EXITSNOOP_STATUS": ("task_struct.exit_code",),
        "EXITSNOOP_FLAGS": ("task_struct.flags",),
    },
    optional_offsets=parent_offsets("exitsnoop"),
    families=(
        Family(
            _FAMILY,
            "How old processes were when they ended, in all windows since start.",
            latency_edges(20, 39),
        ),
    ),
    filters=("pid", "cgroup"),
)
