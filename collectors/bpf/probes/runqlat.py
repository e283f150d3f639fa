"""
Run queue latency: how long tasks that could run waited for a CPU.

Event: sched:sched_wakeup and sched_wakeup_new (a task becomes runnable), sched:sched_switch (it
gets a CPU; a preempted one becomes runnable again). Cost: about 0.2 us per wake-up and per
switch. Missed: the waits of tasks whose ids are equal modulo 65,536 are mixed up, which needs
more than that many tasks; under a filter, what a task waited before it first gave up a CPU.
Kernels: all with these tracepoints, 4.15 and later.
"""

from __future__ import annotations

from collectors.bpf import model
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, histogram, latency_edges
from collectors.bpf.waits import waits

_FAMILY = "sysdx_run_queue_latency_seconds"

_SHARED = histogram("runqlat_wait") + waits("runqlat")

_SWITCH = r"""
    runqlat_stopped(args->prev_pid, args->prev_state);
    u64 waited = runqlat_started(args->next_pid);
    if (waited && !off_())
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
        Part("sched:sched_wakeup_new", "\n    runqlat_born(args->pid);\n"),
        Part("sched:sched_switch", _SWITCH, fields=("prev_state", "prev_pid", "next_pid")),
    ),
    families=(
        Family(
            _FAMILY,
            "How long tasks that could run waited for a CPU, in all windows since start.",
            latency_edges(13, 26),
        ),
    ),
    filters=("pid", "cgroup"),
)
