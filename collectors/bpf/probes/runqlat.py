"""
Run queue latency: how long tasks that could run waited for a CPU.

Event: sched:sched_wakeup and sched_wakeup_new (a task becomes runnable), sched:sched_switch (it
gets a CPU; a preempted one becomes runnable again). Cost: 0.4 us per wake-up and switch.
Missed: the waits of tasks whose ids are equal modulo 65,536 are mixed up, which needs more than
that many tasks. Kernels: all with these tracepoints, 4.15 and later.
"""

from __future__ import annotations

from collectors.bpf import model
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, histogram, latency_edges

_FAMILY = "sysdx_run_queue_latency_seconds"

_SHARED = (
    histogram("runqlat_wait")
    + r"""
/* When a task became runnable, by its id: an array costs half of what a hash does. */
BPF_ARRAY(runqlat_since, u64, 65536);

static __always_inline void runqlat_runnable(u32 tid)
{
    u32 slot = tid & 0xffff;
    u64 now = bpf_ktime_get_ns();
    if (tid)
        runqlat_since.update(&slot, &now);
}
"""
)

_SWITCH = r"""
    /* 0x100 marks a task that was preempted: still runnable, TASK_REPORT_MAX. */
    if (args->prev_state == 0 || args->prev_state & 0x100)
        runqlat_runnable(args->prev_pid);
    u32 slot = args->next_pid & 0xffff;
    u64 *since = runqlat_since.lookup(&slot);
    if (!args->next_pid || !since || !*since)
        return 0;
    u64 waited = bpf_ktime_get_ns() - *since;
    *since = 0;
    if (!off_())
        runqlat_wait_add(waited);
"""


class RunqlatRecorder(Recorder):
    """Read the histogram."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram of waits.

        """
        waits = model.histogram(_FAMILY, kernel.slots("runqlat_wait"), kernel.sum("runqlat_wait"))
        return ProbeSample("runqlat", seconds, waits.count, histograms=(waits,))


PROBE = Probe(
    category="cpu",
    recorder=RunqlatRecorder,
    shared=_SHARED,
    parts=(
        Part("sched:sched_wakeup", "\n    runqlat_runnable(args->pid);\n"),
        Part("sched:sched_wakeup_new", "\n    runqlat_runnable(args->pid);\n"),
        Part("sched:sched_switch", _SWITCH, fields=("prev_state", "prev_pid", "next_pid")),
    ),
    families=(
        Family(
            _FAMILY,
            "How long tasks that could run waited for a CPU, in all windows since start.",
            latency_edges(11, 30),
        ),
    ),
)
