"""
Softirqs: how many of each kind, how long they kept a CPU, how long they waited for it.

Event: irq:softirq_entry and softirq_exit; irq:softirq_raise for the wait; raw, as softirqs come
in the middle of other probes' programs, and the kernel then leaves out those of tracepoints (one
softirq in twenty beside ten probes on a busy host; raw ones: none). Cost: about 0.3 us per softirq
and 0.2 us per raise. Missed: a hardware interrupt within a softirq counts into its time; a softirq
that is raised again while the same CPU is about to handle it has no wait of its own the second
time.
Kernels: all.
"""

from __future__ import annotations

from typing import Any

from collectors.bpf import model
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import Histogram, ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, latency_edges
from collectors.bpf.spans import heaviest

_FAMILY = "sysdx_softirq_seconds"
_DELAY = "sysdx_softirq_delay_seconds"
_SLOTS = 40  # up to 2^39 ns
# include/linux/interrupt.h, where the kernel's own words for them cannot be read
_VECTORS = (
    "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU",
)  # fmt: skip

_SHARED = (
    r"""
#define SOFTIRQS_VECTORS VECTORS
#define SOFTIRQS_SLOTS SLOTS
struct softirqs_total { u64 sum; u64 slots[SOFTIRQS_SLOTS]; };
/* By CPU: since when it handles one, and since when each is raised. */
BPF_PERCPU_ARRAY(softirqs_since, u64, SOFTIRQS_VECTORS);
BPF_PERCPU_ARRAY(softirqs_raised, u64, SOFTIRQS_VECTORS);
BPF_PERCPU_ARRAY(softirqs_spans, struct softirqs_total, SOFTIRQS_VECTORS);
BPF_PERCPU_ARRAY(softirqs_waits, struct softirqs_total, SOFTIRQS_VECTORS);

static __always_inline void softirqs_add(struct softirqs_total *total, u64 took)
{
    u64 slot = bpf_log2l(took);
    if (!total)
        return;
    /* Old verifiers forget what was found out about a copy in another register. */
    asm volatile("" : "+r"(slot));
    if (slot >= SOFTIRQS_SLOTS)
        slot = SOFTIRQS_SLOTS - 1;
    total->sum += took;
    total->slots[slot] += 1;
}
""".replace("_VECTORS VECTORS", f"_VECTORS {len(_VECTORS)}")
    .replace("_SLOTS SLOTS", f"_SLOTS {_SLOTS}")
)  # fmt: skip

_RAISE = r"""
    u32 vector = args->args[0];
    u64 *raised = softirqs_raised.lookup(&vector);
    if (raised && !*raised)
        *raised = bpf_ktime_get_ns();
"""

_ENTRY = r"""
    u32 vector = args->args[0];
    u64 now = bpf_ktime_get_ns();
    u64 *since = softirqs_since.lookup(&vector), *raised = softirqs_raised.lookup(&vector);
    if (since)
        *since = off_() ? 0 : now;
    if (!raised || !*raised)
        return 0;
    u64 waited = now - *raised;
    *raised = 0;
    if (!off_())
        softirqs_add(softirqs_waits.lookup(&vector), waited);
"""

_EXIT = r"""
    u32 vector = args->args[0];
    u64 now = bpf_ktime_get_ns(), *since = softirqs_since.lookup(&vector);
    if (!since || !*since || off_())
        return 0;
    softirqs_add(softirqs_spans.lookup(&vector), now - *since);
    *since = 0;
"""


class SoftirqsRecorder(Recorder):
    """Read the totals."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Two histograms per kind: how long it took, and how long it waited. Value
            `seconds`: CPU time of all.

        """
        spans = _read(kernel, "softirqs_spans", _FAMILY)
        waits = _read(kernel, "softirqs_waits", _DELAY)
        rows = [{"vector": h.labels["vector"], "count": h.count, "seconds": h.sum} for h in spans]
        return ProbeSample(
            "softirqs",
            seconds,
            sum(h.count for h in spans),
            histograms=(*spans, *waits),
            values={"seconds": sum(h.sum for h in spans)},
            tops={"vector": heaviest(rows, "seconds", self.settings.tops)},
        )


def _read(kernel: Kernel, table: str, family: str) -> tuple[Histogram, ...]:
    """Read one histogram per kind that came."""
    told = kernel.tracefs.names("irq:softirq_entry", "vec") if kernel.tracefs else {}
    names = dict(enumerate(_VECTORS)) | told
    every = (_histogram(family, names[n], cpus) for n, cpus in kernel.items(table))
    return tuple(histogram for histogram in every if histogram.count)


def _histogram(family: str, vector: str, cpus: Any) -> Histogram:
    """Add up what all CPUs counted of one kind."""
    slots = [sum(one.slots[slot] for one in cpus) for slot in range(_SLOTS)]
    total = sum(one.sum for one in cpus)
    return model.histogram(family, slots, total, labels={"vector": vector})


PROBE = Probe(
    category="cpu",
    recorder=SoftirqsRecorder,
    shared=_SHARED,
    parts=(
        Part("raw:softirq_raise", _RAISE, ("vec",), optional=True),
        Part("raw:softirq_entry", _ENTRY, ("vec",)),
        Part("raw:softirq_exit", _EXIT, ("vec",)),
    ),
    families=(
        Family(
            _FAMILY,
            "How long softirqs took, in all windows since start.",
            latency_edges(9, 28),
            ("vector",),
            limit=12,
        ),
        Family(
            _DELAY,
            "From the moment a softirq was raised until a CPU handled it, in all windows since "
            "start.",
            latency_edges(9, 28),
            ("vector",),
            limit=12,
        ),
    ),
)
