"""
Compaction: how long the kernel moved pages to get large pieces of memory, zone by zone.

Event: compaction:mm_compaction_begin and _end around one zone, and
compaction:mm_compaction_try_to_compact_pages when an allocation has to wait for it. By "task":
whoever wanted memory waited, or asked for compaction of all memory; by "daemon": kcompactd, for
which nobody waits. Cost: about 6 us per zone, nothing without. Missed: compaction under way when
the window closes. Kernels: all with these tracepoints and CONFIG_COMPACTION.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectors.bpf.kernel import Kernel
from collectors.bpf.probe import Family, Part, Probe, counters, latency_edges
from collectors.bpf.spans import SpanRecorder, heaviest, span_maps

_FAMILY = "sysdx_compaction_latency_seconds"
_BY = ("task", "daemon")
_END = "compaction:mm_compaction_end"

_SHARED = (
    span_maps("compaction", *_BY)
    + counters("compaction_stalls", "all")
    + r"""
BPF_HASH(compaction_results, u32, u64, 64);

static __always_inline u32 compaction_by(void)
{
    char comm[16] = {};
    const char daemon[] = "kcompactd";
    bpf_get_current_comm(&comm, sizeof(comm));
#pragma unroll
    for (int at = 0; at < 9; at++)
        if (comm[at] != daemon[at])
            return COMPACTION_TASK;
    return COMPACTION_DAEMON;
}
"""
)

_STOP = r"""
    u32 result = args->status;
    if (compaction_end(compaction_by()))
        compaction_results.atomic_increment(result);
"""

_TRY = r"""
    if (!off_() && !alien_())
        compaction_stalls_count(COMPACTION_STALLS_ALL, 1);
"""


class CompactionRecorder(SpanRecorder):
    """Read the zones."""

    probe, family, label, kinds = "compaction", _FAMILY, "by", _BY

    def values(self, kernel: Kernel) -> dict[str, float]:
        """
        Tell who waited.

        Args:
            kernel: The maps.

        Returns:
            `stalls`: allocations that had to wait for compaction.

        """
        return {"stalls": kernel.counts("compaction_stalls")[0]}

    def tops(self, kernel: Kernel) -> dict[str, tuple[Mapping[str, Any], ...]]:
        """
        Tell how it ended.

        Args:
            kernel: The maps, and the kernel's own words for results.

        Returns:
            `result`: the kernel's word, count.

        """
        words = kernel.tracefs.names(_END, "status") if kernel.tracefs else {}
        rows = [
            {"result": words.get(number, str(number)), "count": count}
            for number, count in kernel.items("compaction_results")
        ]
        return {"result": heaviest(rows, "count", self.settings.tops)}


PROBE = Probe(
    category="memory",
    recorder=CompactionRecorder,
    shared=_SHARED,
    parts=(
        Part("compaction:mm_compaction_begin", "\n    compaction_begin(compaction_by());\n"),
        Part(_END, _STOP, ("status",)),
        Part("compaction:mm_compaction_try_to_compact_pages", _TRY, optional=True),
    ),
    families=(
        Family(
            _FAMILY,
            "How long the kernel moved pages in one zone to get large pieces of memory, in all "
            "windows since start.",
            latency_edges(13, 32),
            ("by",),
        ),
    ),
    filters=("pid", "cgroup"),
)
