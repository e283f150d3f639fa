"""
Block I/O latency: from the moment a device got a request until it completed.

Event: block:block_rq_issue and block_rq_complete, joined by device and sector. Cost: about 1.3 us
per request, not measurable at 53,000 requests a second. Missed: requests under way when the
window opens are counted when they complete, with their true latency if they were issued after the
probe was attached; the parent of a flush completes once more without an issue and is not counted.
Kernels: all with these tracepoints.
"""

from __future__ import annotations

from collectors.bpf.block import block_maps, histograms
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, latency_edges

_FAMILY = "sysdx_block_io_latency_seconds"

_SHARED = (
    block_maps("biolatency")
    + r"""
struct biolatency_request { u64 sector; u32 dev; u32 pad; };
BPF_HASH(biolatency_issued, struct biolatency_request, u64, 16384);
BPF_ARRAY(biolatency_lost, u64, 1);
"""
)

_ISSUE = r"""
    struct biolatency_request key = {.sector = args->sector, .dev = args->dev};
    u64 now = bpf_ktime_get_ns();
    if (biolatency_issued.update(&key, &now) && !off_())
        biolatency_lost.atomic_increment(0);
"""

_COMPLETE = r"""
    struct biolatency_request key = {.dev = args->dev};
    /* A flush is issued at sector 0 and completed at -1. */
    key.sector = args->sector == (u64)-1 ? 0 : args->sector;
    u64 *issued = biolatency_issued.lookup(&key);
    if (!issued)
        return 0;
    u64 took = bpf_ktime_get_ns() - *issued;
    biolatency_issued.delete(&key);
    if (off_())
        return 0;
    biolatency_add(args->dev, biolatency_operation(args->rwbs), bpf_log2l(took), took);
"""


class BiolatencyRecorder(Recorder):
    """Read the histograms."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram per device and operation.

        """
        found = histograms(kernel, "biolatency", _FAMILY)
        return ProbeSample(
            "biolatency",
            seconds,
            sum(h.count for h in found),
            lost=kernel.counts("biolatency_lost")[0],
            histograms=found,
        )


PROBE = Probe(
    category="disk",
    recorder=BiolatencyRecorder,
    shared=_SHARED,
    parts=(
        Part("block:block_rq_issue", _ISSUE, fields=("dev", "sector")),
        Part("block:block_rq_complete", _COMPLETE, fields=("dev", "sector", "rwbs")),
    ),
    families=(
        Family(
            _FAMILY,
            "From the moment a device got a request until it completed, in all windows since "
            "start.",
            latency_edges(16, 29),
            ("device", "operation"),
        ),
    ),
)
