"""
Interrupts of devices: how many each handler took, and how long it kept its CPU.

Event: irq:irq_handler_entry and irq_handler_exit, around each handler of a line. Cost: about 0.8
us per interrupt. Missed: interrupts without such a handler (local timer, rescheduling, function
calls), the threads of threaded handlers, which tasks' probes see. Lost: what comes while an eBPF
program of a tracepoint runs on its CPU (one in ten beside ten probes on a busy host), and what
the line's handlers beyond 1,024 names did. Handlers of one name, as of the queues of one device,
are told together. The metric has the 15 names that came first, the busiest of a window before
others, and the rest as "other"; the report has them all. Kernels: all.
"""

from __future__ import annotations

from typing import Any

from collectors.bpf import model
from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, Histogram, ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, latency_edges
from collectors.bpf.spans import heaviest, totals

_FAMILY = "sysdx_hardirq_seconds"

_SHARED = r"""
#define HARDIRQS_SLOTS 40
struct hardirqs_name { char text[32]; };
struct hardirqs_running { u64 since; struct hardirqs_name name; };
struct hardirqs_total { u64 count, sum, most, slots[HARDIRQS_SLOTS]; };
BPF_PERCPU_ARRAY(hardirqs_running, struct hardirqs_running, 1);
BPF_HASH(hardirqs_totals, struct hardirqs_name, struct hardirqs_total, 1024);
BPF_ARRAY(hardirqs_lost, u64, 1);

static __always_inline void hardirqs_add(struct hardirqs_name *name, u64 took)
{
    struct hardirqs_total none = {}, *total;
    u64 slot = bpf_log2l(took);
    total = hardirqs_totals.lookup_or_try_init(name, &none);
    if (!total) {
        hardirqs_lost.atomic_increment(0);
        return;
    }
    /* Old verifiers forget what was found out about a copy in another register. */
    asm volatile("" : "+r"(slot));
    if (slot >= HARDIRQS_SLOTS)
        slot = HARDIRQS_SLOTS - 1;
    __sync_fetch_and_add(&total->count, 1);
    __sync_fetch_and_add(&total->sum, took);
    __sync_fetch_and_add(&total->slots[slot], 1);
    if (took > total->most)
        total->most = took;
}
"""

_ENTRY = r"""
    int first = 0;
    struct hardirqs_running *running = hardirqs_running.lookup(&first);
    if (!running || off_())
        return 0;
    __builtin_memset(&running->name, 0, sizeof(running->name));
    bpf_probe_read_kernel_str(running->name.text, sizeof(running->name.text),
                              (char *)args + (args->name_loc & 0xffff));
    running->since = bpf_ktime_get_ns();
"""

_EXIT = r"""
    u64 now = bpf_ktime_get_ns();
    int first = 0;
    struct hardirqs_running *running = hardirqs_running.lookup(&first);
    if (!running || !running->since)
        return 0;
    u64 took = now - running->since;
    struct hardirqs_name name = running->name;
    running->since = 0;
    if (!off_())
        hardirqs_add(&name, took);
"""


class HardirqsRecorder(Recorder):
    """Read the totals."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram per handler, the busiest first. Value `seconds`: CPU time of all.

        """
        found = [(text(key.text), value) for key, value in kernel.items("hardirqs_totals")]
        found.sort(key=lambda pair: (-pair[1].count, pair[0]))
        rows = [{"irq": name} | totals(value) for name, value in found]
        return ProbeSample(
            "hardirqs",
            seconds,
            sum(row["count"] for row in rows),
            lost=kernel.counts("hardirqs_lost")[0],
            histograms=tuple(_histogram(name, value) for name, value in found),
            values={"seconds": sum(value.sum for _, value in found) * NANOSECOND},
            tops={"irq": heaviest(rows, "seconds", self.settings.tops)},
        )


def _histogram(name: str, value: Any) -> Histogram:
    """Build the histogram of one handler."""
    return model.histogram(_FAMILY, value.slots, value.sum, labels={"irq": name})


PROBE = Probe(
    category="cpu",
    recorder=HardirqsRecorder,
    shared=_SHARED,
    parts=(
        Part("irq:irq_handler_entry", _ENTRY, ("name_loc",)),
        Part("irq:irq_handler_exit", _EXIT),
    ),
    families=(
        Family(
            _FAMILY,
            "How long handlers of device interrupts took, in all windows since start.",
            latency_edges(9, 24),
            ("irq",),
            limit=16,
        ),
    ),
)
