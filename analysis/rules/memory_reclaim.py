"""Rules on what the kernel does to find memory: reclaim, compaction, huge pages, nodes."""

from __future__ import annotations

from analysis.culprits import by_demand, by_io, by_memory
from analysis.model import Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.rules.memory_advice import (
    ask_for_huge_pages,
    balance_nodes,
    compact_less,
    reclaim_earlier,
    write_back_earlier,
)
from analysis.stalls import harmed
from analysis.text import percent
from collectors.memory import MemorySample
from collectors.numa import NumaSample
from collectors.pressure import PressureSample

_NUMA_GATE = 10_000.0  # allocations a second below which a ratio says nothing
_IO_GATE = 0.10
_NO_HARM = "tasks stall on memory in at least 1 % of the time, where the kernel tells that"


@rule(
    resource="memory",
    cause="memory_exhaustion",
    kind=Kind.SATURATION,
    unit="stalls/s",
    warning=10,
    critical=500,
    scale=Scale.LOG,
    source="each is an allocation that had to free memory first, 0.1 to 100 ms of its program's "
    "time; a healthy host has none (mm/vmscan.c counts them as allocstall)",
    gate=_NO_HARM,
    explanation="Programs free memory themselves in the middle of their work because the kernel "
    "does not keep up in the background.",
    next_steps=("Compare pgscan_direct with pgscan_kswapd in /proc/vmstat.",),
    advise=reclaim_earlier,
)
def direct_reclaim(facts: Facts) -> Signal | None:
    """Watch allocations that had to reclaim memory first."""
    sample = facts.sample(MemorySample)
    if sample is None:
        return None
    names = [n for n in sample.increases if n.startswith("allocstall")]
    rate = sample.per_second(*names)
    scanned = sample.per_second("pgscan_direct")
    if rate is None:
        return None
    return Signal(
        value=rate if harmed(facts, "memory") else 0.0,
        message=f"{rate:,.0f} allocations per second had to free memory first",
        evidence=(
            Evidence("allocation stalls", rate, "1/s", "/proc/vmstat allocstall_*"),
            Evidence("pages scanned for them", scanned, "pages/s", "/proc/vmstat pgscan_direct"),
        ),
        culprits=by_demand(facts),
    )


@rule(
    resource="memory",
    cause="memory_fragmentation",
    kind=Kind.SATURATION,
    unit="stalls/s",
    warning=20,
    critical=500,
    scale=Scale.LOG,
    source="a stall compacts memory for 1 to 10 ms in the middle of an allocation; 20 a second "
    "take up to a fifth of one task's time (mm/compaction.c, compact_stall)",
    gate=_NO_HARM,
    explanation="Memory is fragmented: allocations wait while the kernel moves pages together.",
    next_steps=("cat /proc/buddyinfo", "cat /sys/kernel/mm/transparent_hugepage/defrag"),
    advise=compact_less,
)
def compaction_stalls(facts: Facts) -> Signal | None:
    """Watch allocations that had to wait for compaction."""
    sample = facts.sample(MemorySample)
    rate = sample.per_second("compact_stall") if sample else None
    if sample is None or rate is None:
        return None
    failed = sample.per_second("compact_fail")
    return Signal(
        value=rate if harmed(facts, "memory") else 0.0,
        message=f"{rate:,.0f} allocations per second waited for compaction",
        evidence=(
            Evidence("compaction stalls", rate, "1/s", "/proc/vmstat compact_stall"),
            Evidence("of them in vain", failed, "1/s", "/proc/vmstat compact_fail"),
        ),
        culprits=by_demand(facts),
    )


@rule(
    resource="memory",
    cause="memory_fragmentation",
    kind=Kind.SATURATION,
    unit="1/s",
    warning=100,
    critical=None,
    scale=Scale.LOG,
    source="a split takes about 10 us and loses the huge page's benefit; 100 a second are "
    "harmless to time but show that huge pages do not last",
    explanation="Huge pages are broken up as fast as they are made.",
    next_steps=("grep thp /proc/vmstat",),
    advise=ask_for_huge_pages,
)
def huge_page_splits(facts: Facts) -> Signal | None:
    """Watch transparent huge pages that were split."""
    sample = facts.sample(MemorySample)
    rate = sample.per_second("thp_split_page") if sample else None
    if rate is None:
        return None
    return Signal(
        value=rate,
        message=f"{rate:,.0f} huge pages per second are split",
        evidence=(Evidence("huge pages split", rate, "1/s", "/proc/vmstat thp_split_page"),),
        culprits=by_memory(facts),
    )


@rule(
    resource="memory",
    cause="numa_imbalance",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.10,
    critical=0.40,
    source="memory of another node is 1.5 to 2 times slower (distance 20 against 10), so 10 % "
    "of misses cost 5 to 10 % of speed",
    gate="10,000 allocations a second on the node",
    explanation="Programs get memory of another node than the one they wanted.",
    next_steps=("numastat -m", "Bind large programs with numactl or a cpuset."),
    advise=balance_nodes,
)
def numa_miss(facts: Facts) -> Signal | None:
    """Watch allocations that got memory of another node, in this window."""
    sample = facts.sample(NumaSample)
    if sample is None or sample.window_seconds <= 0:
        return None
    shares = {}
    for node in sample.nodes:
        hit, miss = node.increases.get("numa_hit"), node.increases.get("numa_miss")
        if hit is not None and miss is not None:
            busy = (hit + miss) / sample.window_seconds >= _NUMA_GATE
            shares[node.number] = miss / (hit + miss) if busy else 0.0
    if not shares:
        return None
    worst = max(shares, key=lambda n: shares[n])
    return Signal(
        value=shares[worst],
        message=f"{percent(shares[worst])} of node {worst}'s allocations were meant for another",
        subject=f"node{worst}",
        evidence=(Evidence("misses", shares[worst], "ratio", f"node{worst}/numastat numa_miss"),),
        culprits=by_memory(facts),
    )


@rule(
    resource="memory",
    cause="slow_storage",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=1.0,
    critical=None,
    source="mm/page-writeback.c slows writers down from the middle between the background limit "
    "and the limit on",
    gate="tasks stall on storage in at least 10 % of the time",
    explanation="Programs write faster than storage takes it: the kernel holds writers back, and "
    "whatever needs storage waits behind what has piled up.",
    next_steps=("grep -E '^nr_(dirty|writeback)' /proc/vmstat", "pidstat -d -p PID 1 5"),
    advise=write_back_earlier,
)
def dirty_throttling(facts: Facts) -> Signal | None:
    """Watch changed pages not yet stored, against the point from which writers are slowed."""
    sample, pressure = facts.sample(MemorySample), facts.sample(PressureSample)
    stalled = pressure.io.some.mean if pressure and pressure.io else None
    names = ("nr_dirty", "nr_writeback", "nr_dirty_background_threshold", "nr_dirty_threshold")
    levels = [sample.levels.get(n) for n in names] if sample else [None]
    known = [v for v in levels if v is not None]
    if stalled is None or len(known) != len(names) or known[2] + known[3] == 0:
        return None
    pages, point = known[0] + known[1], (known[2] + known[3]) / 2
    return Signal(
        value=pages / point if stalled >= _IO_GATE else 0.0,
        message=f"{pages:,} changed pages wait to be stored, and writers are slowed from "
        f"{point:,.0f} on; tasks waited for storage in {percent(stalled)} of the time",
        evidence=(
            Evidence("dirty and under writeback", pages, "pages", "/proc/vmstat nr_dirty"),
            Evidence("writers slowed from", point, "pages", "/proc/vmstat nr_dirty_threshold"),
        ),
        culprits=by_io(facts),
    )
