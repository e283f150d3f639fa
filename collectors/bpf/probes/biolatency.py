"""
Block I/O latency: from the moment a device got a request until it completed.

Event: block:block_rq_issue and block_rq_complete, joined by device and sector. Cost: 0.5 us per
request, not measurable at 53,000 requests a second. Missed: requests under way when the window
opens are counted when they complete, with their true latency if they were issued after the probe
was attached; the parent of a flush completes once more without an issue and is not counted.
Kernels: all with these tracepoints.
"""

from __future__ import annotations

from collections import defaultdict

from collectors.bpf import model
from collectors.bpf.kernel import Kernel, device
from collectors.bpf.model import Histogram, ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, latency_edges

_FAMILY = "sysdx_block_io_latency_seconds"
OPERATIONS = {1: "read", 2: "write", 3: "flush", 4: "discard", 0: "other"}

_SHARED = r"""
struct biolatency_request { u64 sector; u32 dev; u32 pad; };
struct biolatency_slot { u32 dev; u16 operation; u16 slot; };
struct biolatency_row { u32 dev; u32 operation; };
BPF_HASH(biolatency_issued, struct biolatency_request, u64, 16384);
BPF_HASH(biolatency_slots, struct biolatency_slot, u64, 8192);
BPF_HASH(biolatency_sums, struct biolatency_row, u64, 1024);
BPF_ARRAY(biolatency_lost, u64, 1);

/* The first letters of rwbs: an F before the operation asks for a flush first. */
static __always_inline u32 biolatency_operation(const u8 *rwbs)
{
    u8 letter = rwbs[0] == 'F' && rwbs[1] >= 'A' ? rwbs[1] : rwbs[0];
    if (letter == 'R')
        return 1;
    if (letter == 'W')
        return 2;
    if (letter == 'F')
        return 3;
    return letter == 'D' ? 4 : 0;
}
"""

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
    struct biolatency_row row = {.dev = args->dev};
    row.operation = biolatency_operation(args->rwbs);
    struct biolatency_slot slot = {.dev = args->dev};
    slot.operation = row.operation;
    slot.slot = bpf_log2l(took);
    biolatency_slots.atomic_increment(slot, 1);
    biolatency_sums.atomic_increment(row, took);
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
        rows: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
        for key, count in kernel.items("biolatency_slots"):
            rows[key.dev, key.operation][key.slot] = count
        sums = {(k.dev, k.operation): v for k, v in kernel.items("biolatency_sums")}
        names = kernel.devices()
        histograms = tuple(
            _histogram(names, row, slots, sums.get(row, 0)) for row, slots in sorted(rows.items())
        )
        return ProbeSample(
            "biolatency",
            seconds,
            sum(h.count for h in histograms),
            lost=kernel.counts("biolatency_lost")[0],
            histograms=histograms,
        )


def _histogram(
    names: dict[tuple[int, int], str], row: tuple[int, int], slots: dict[int, int], total: int
) -> Histogram:
    """Build the histogram of one device and operation."""
    number, operation = row
    major, minor = device(number)
    labels = {
        "device": names.get((major, minor), f"{major}:{minor}"),
        "operation": OPERATIONS[operation],
    }
    return model.histogram(_FAMILY, slots, total, labels=labels)


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
