"""
Time on CPU: how long tasks ran each time before they gave up their CPU, or lost it.

Event: sched:sched_switch; a stretch lasts from one switch to the next on the same CPU. Cost:
about 0.2 us per switch. Missed: the stretch under way on each CPU when the window closes; one
that began before the window counts in full when it ends in it. Values, where no filter is set:
`unfinished` stretches, still under way when the maps are read, with `unfinished_seconds` of all
and `longest_unfinished_seconds`: a program alone on its CPU is hardly ever switched.
Kernels: all with this tracepoint.
"""

from __future__ import annotations

import time

from collectors.bpf import model
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, histogram, latency_edges

_FAMILY = "sysdx_cpu_on_time_seconds"

_UNKNOWN = (1 << 32) - 1  # no task's id: they end at 2^22

_SHARED = (
    histogram("cpudist_ran")
    + r"""
struct cpudist_stretch { u64 since; u32 tid; u32 pad; };
BPF_PERCPU_ARRAY(cpudist_now, struct cpudist_stretch, 1);
"""
)

_SWITCH = r"""
    int first = 0;
    u64 now = bpf_ktime_get_ns();
    struct cpudist_stretch *stretch = cpudist_now.lookup(&first);
    if (!stretch)
        return 0;
    u64 since = stretch->since;
    stretch->since = now;
    stretch->tid = args->next_pid;
#if defined(ONLY_TGID) || defined(ONLY_CGROUP)
    stretch->tid = UNKNOWN; /* whether it is wanted shows only when it stops */
#endif
    if (since && args->prev_pid && !off_() && !alien_())
        cpudist_ran_add(now - since);
""".replace("UNKNOWN", str(_UNKNOWN))


class CpudistRecorder(Recorder):
    """Read the histogram, and what is still running."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram of stretches.

        """
        ran = model.histogram(_FAMILY, kernel.slots("cpudist_ran"), kernel.sum("cpudist_ran"))
        return ProbeSample(
            "cpudist", seconds, ran.count, histograms=(ran,), values=self._unfinished(kernel)
        )

    def _unfinished(self, kernel: Kernel) -> dict[str, float]:
        """Sum up the stretches of the tasks on the CPUs; nothing when a filter hides them."""
        now = time.monotonic_ns()
        stretches = [one for _, per_cpu in kernel.items("cpudist_now") for one in per_cpu]
        if any(one.tid == _UNKNOWN for one in stretches):
            return {}
        idle_or_own = {0, *self.settings.own}
        lengths = [
            max(0, now - one.since) * NANOSECOND for one in stretches if one.tid not in idle_or_own
        ]
        return {
            "unfinished": float(len(lengths)),
            "unfinished_seconds": sum(lengths),
            "longest_unfinished_seconds": max(lengths, default=0.0),
        }


PROBE = Probe(
    category="cpu",
    recorder=CpudistRecorder,
    shared=_SHARED,
    parts=(Part("sched:sched_switch", _SWITCH, fields=("prev_pid", "next_pid")),),
    families=(
        Family(
            _FAMILY,
            "How long tasks ran each time before they gave up or lost their CPU, in all windows "
            "since start.",
            latency_edges(11, 30),
        ),
    ),
    filters=("pid", "cgroup"),
)
