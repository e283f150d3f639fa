"""Rules on the page cache, as an eBPF probe sees it."""

from __future__ import annotations

from analysis.model import Culprit, Evidence, Facts, Kind, Signal
from analysis.registry import rule
from analysis.text import percent
from collectors.bpf.model import ProbeSample
from collectors.memory import MemorySample

_LEAST_MISSES = 500.0  # [1/s]: 2 MiB a second
# Cold files miss as well, and no memory would help; pages that were dropped and are
# read again would have been hits in a larger cache.
_AGAIN = 0.5
_MOST = 3


@rule(
    resource="memory",
    cause="memory_exhaustion",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.3,
    critical=None,
    probe="cachestat",
    at_once=True,
    source="mm/workingset.c: a refault is a page that a cache as large as memory would have "
    "kept; a hit takes 1 us and a miss 100 us and more, so three misses in ten make reading "
    "thirty times slower",
    gate="500 misses a second, half of them of pages that were dropped before",
    explanation="Files are read again and again because memory cannot hold them: the cache is "
    "too small for what is in use.",
    next_steps=("Look at who reads, and at what else takes the memory.", "vmstat 1 5"),
)
def page_cache_misses(facts: Facts) -> Signal | None:
    """Watch the share of file accesses that had to go to storage for a page dropped before."""
    sample, memory = facts.probe("cachestat"), facts.sample(MemorySample)
    ratio = sample.values.get("hit_ratio") if sample else None
    again = memory.per_second("workingset_refault_file", "workingset_refault") if memory else None
    if sample is None or ratio is None or again is None or sample.window_seconds <= 0:
        return None
    missed = sample.values["misses"] / sample.window_seconds
    thrashes = missed >= _LEAST_MISSES and again >= _AGAIN * missed
    return Signal(
        value=1 - ratio if thrashes else 0.0,
        message=f"{percent(1 - ratio)} of accesses to file pages went to storage, "
        f"{missed:,.0f} per second, mostly for pages that had been dropped before",
        evidence=(
            Evidence("misses", missed, "1/s", "mm_filemap_add_to_page_cache"),
            Evidence("hit ratio", ratio, "ratio", "mm_filemap_get_pages"),
            Evidence("read again after being dropped", again, "1/s", "/proc/vmstat refaults"),
        ),
        culprits=_readers(sample),
    )


def _readers(sample: ProbeSample) -> tuple[Culprit, ...]:
    """Name the processes whose accesses missed most."""
    whole = sample.values["misses"]
    rows = [row for row in sample.tops.get("process", ()) if row["misses"]]
    return tuple(
        Culprit("process", row["comm"], str(row["pid"]), row["misses"], "pages",
                row["misses"] / whole if whole else None)
        for row in rows[:_MOST]
    )  # fmt: skip
