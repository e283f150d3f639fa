"""Rules on what the kernel does to find memory: reclaim, compaction, huge pages, nodes."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import sysctl
from analysis.culprits import by_memory
from analysis.model import Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.text import percent
from collectors.memory import MemorySample
from collectors.numa import NumaSample

_NUMA_GATE = 10_000.0  # allocations a second below which a ratio says nothing


def _reclaim_earlier(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """Advise to let kswapd begin earlier, so that programs need not reclaim themselves."""
    yield from sysctl(
        facts,
        "vm.watermark_scale_factor",
        100,
        rule="direct_reclaim",
        resource="memory",
        direction="raise",
        why="kswapd then begins to free memory at 1 % instead of 0.1 % below the zone's size, "
        "and programs stop waiting for it in their own allocations.",
        risk="keeps 1 % of memory free that caches could use",
        source="Documentation/admin-guide/sysctl/vm.rst, watermark_scale_factor",
    )


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
    explanation="Programs free memory themselves in the middle of their work because the kernel "
    "does not keep up in the background.",
    next_steps=("Compare pgscan_direct with pgscan_kswapd in /proc/vmstat.",),
    advise=_reclaim_earlier,
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
        value=rate,
        message=f"{rate:,.0f} allocations per second had to free memory first",
        evidence=(
            Evidence("allocation stalls", rate, "1/s", "/proc/vmstat allocstall_*"),
            Evidence("pages scanned for them", scanned, "pages/s", "/proc/vmstat pgscan_direct"),
        ),
        culprits=by_memory(facts),
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
    explanation="Memory is fragmented: allocations wait while the kernel moves pages together.",
    next_steps=("cat /proc/buddyinfo", "cat /sys/kernel/mm/transparent_hugepage/defrag"),
)
def compaction_stalls(facts: Facts) -> Signal | None:
    """Watch allocations that had to wait for compaction."""
    sample = facts.sample(MemorySample)
    rate = sample.per_second("compact_stall") if sample else None
    if sample is None or rate is None:
        return None
    failed = sample.per_second("compact_fail")
    return Signal(
        value=rate,
        message=f"{rate:,.0f} allocations per second waited for compaction",
        evidence=(
            Evidence("compaction stalls", rate, "1/s", "/proc/vmstat compact_stall"),
            Evidence("of them in vain", failed, "1/s", "/proc/vmstat compact_fail"),
        ),
        culprits=by_memory(facts),
    )


def _madvise(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """Advise huge pages only for programs that ask for them."""
    sample = facts.sample(MemorySample)
    if sample is None or sample.huge_pages != "always":
        return
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    yield Recommendation(
        id="huge_pages:enabled",
        kind="tune",
        resource="memory",
        title="Give huge pages only to programs that ask for them",
        why="Huge pages that are split again cost their making and their splitting.",
        risk="programs that profit without asking get slower",
        commands=(f"echo madvise > {path}",),
        persistent=("add transparent_hugepage=madvise to the kernel's command line",),
        undo=(f"echo always > {path}",),
        source="Documentation/admin-guide/mm/transhuge.rst",
        current="always",
        proposed="madvise",
    )


@rule(
    resource="memory",
    cause="memory_fragmentation",
    kind=Kind.SATURATION,
    unit="1/s",
    warning=100,
    critical=2_000,
    scale=Scale.LOG,
    source="a split takes about 10 us and loses the huge page's benefit; 100 a second are "
    "harmless to time but show that huge pages do not last",
    explanation="Huge pages are broken up as fast as they are made.",
    next_steps=("grep thp /proc/vmstat",),
    advise=_madvise,
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
