"""
Direct reclaim: how long tasks that wanted memory had to free some themselves.

Event: vmscan:mm_vmscan_direct_reclaim_begin and _end (the host runs short: scope "host");
vmscan:mm_vmscan_memcg_reclaim_begin and _end (a control group reaches its limit: scope "cgroup").
Cost: about 2 us per reclaim, nothing without. Missed: reclaim under way when the window closes,
the kernel's own background reclaim, which makes nobody wait. Kernels: all with these tracepoints;
those of control groups need CONFIG_MEMCG.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectors.bpf.kernel import Kernel
from collectors.bpf.probe import Family, Part, Probe, counters, latency_edges
from collectors.bpf.spans import SpanRecorder, span_maps

_FAMILY = "sysdx_direct_reclaim_latency_seconds"
_SCOPES = {"host": "direct", "cgroup": "memcg"}

_SHARED = span_maps("drsnoop", *_SCOPES) + counters("drsnoop_pages", *_SCOPES)


class DrsnoopRecorder(SpanRecorder):
    """Read the reclaims."""

    probe, family, label, kinds = "drsnoop", _FAMILY, "scope", tuple(_SCOPES)

    def values(self, kernel: Kernel) -> dict[str, float]:
        """
        Tell what was freed.

        Args:
            kernel: The maps.

        Returns:
            `host_pages` and `cgroup_pages`: pages that were freed.

        """
        pages = kernel.counts("drsnoop_pages")
        return {f"{scope}_pages": n for scope, n in zip(_SCOPES, pages, strict=True)}


def _parts() -> Iterator[Part]:
    """Write both programs of each scope."""
    for scope, word in _SCOPES.items():
        kind, event = scope.upper(), f"vmscan:mm_vmscan_{word}_reclaim"
        end = f"""
    if (drsnoop_end(DRSNOOP_{kind}))
        drsnoop_pages_count(DRSNOOP_PAGES_{kind}, args->nr_reclaimed);
"""
        begin = f"\n    drsnoop_begin(DRSNOOP_{kind});\n"
        yield Part(f"{event}_begin", begin, optional=scope != "host")
        yield Part(f"{event}_end", end, ("nr_reclaimed",), optional=scope != "host")


PROBE = Probe(
    category="memory",
    recorder=DrsnoopRecorder,
    shared=_SHARED,
    parts=tuple(_parts()),
    families=(
        Family(
            _FAMILY,
            "How long tasks that wanted memory had to free some, for the host or because their "
            "control group reached its limit, in all windows since start.",
            latency_edges(13, 32),
            ("scope",),
        ),
    ),
    filters=("pid", "cgroup"),
)
