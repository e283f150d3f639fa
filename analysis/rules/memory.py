"""Rules on memory: too little of it, and what the kernel does to find more."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import investigate, sysctl
from analysis.culprits import by_faults, by_memory
from analysis.model import Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.text import percent, size
from collectors.memory import MemorySample
from collectors.numa import NumaSample
from collectors.pressure import PressureSample
from collectors.sysctl import SysctlSample

_GIB = 1 << 30
_NUMA_GATE = 10_000.0  # allocations a second below which a ratio says nothing
_SPACIOUS = 2 * _GIB


def _find_consumer(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """Advise to look at what holds the memory."""
    names = ", ".join(f"{c.name} ({c.id})" for c in by_memory(facts)[:3])
    if names:
        yield investigate(
            "memory:consumers",
            resource="memory",
            rule="memory_utilization",
            title=f"See whether {names} should hold this much memory",
            why="They hold most of it; a leak, a cache without a limit or a job in the wrong "
            "place is ended at its source.",
            commands=("ps -eo pid,ppid,rss,comm --sort=-rss | head", "free -m"),
        )


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
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.90,
    critical=0.97,
    source="node-mixin NodeMemoryHighUtilization (90 %); MemAvailable already counts what can "
    "be reclaimed, so 3 % left is little on any host",
    gate="less than 2 GiB available, so that large hosts are not called full too early",
    explanation="Nearly all memory is taken by what cannot be dropped: the next large "
    "allocation swaps, stalls or gets something killed.",
    next_steps=("Look at the largest processes.", "Look at slab and shared memory in meminfo."),
    advise=_find_consumer,
)
def memory_utilization(facts: Facts) -> Signal | None:
    """Watch the share of memory that is not available."""
    sample = facts.sample(MemorySample)
    if sample is None or sample.utilization.mean is None or sample.available_bytes is None:
        return None
    used, left = sample.utilization.mean, sample.available_bytes
    return Signal(
        value=used if left < _SPACIOUS else min(used, 0.89),
        message=f"{percent(used)} of memory is taken; {size(left)} of "
        f"{size(sample.total_bytes)} is available",
        evidence=(
            Evidence("memory in use", used, "ratio", "/proc/meminfo MemAvailable, MemTotal"),
            Evidence("available", left, "bytes", "/proc/meminfo MemAvailable"),
        ),
        culprits=by_memory(facts),
    )


@rule(
    resource="memory",
    cause="memory_exhaustion",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.05,
    critical=0.25,
    source="Facebook's oomd acts on sustained full pressure of 5 % and more; "
    "Documentation/accounting/psi.rst",
    explanation="Tasks lost time because memory had to be found for them: reclaim, swap-in "
    "or refaults of pages that were dropped too early.",
    next_steps=("Look at swap-in, direct reclaim and major faults.",),
    advise=_find_consumer,
)
def memory_pressure(facts: Facts) -> Signal | None:
    """Watch the share of time in which tasks stalled on memory."""
    pressure = facts.sample(PressureSample)
    if pressure is None or pressure.memory is None or pressure.memory.some.mean is None:
        return None
    some, full = pressure.memory.some.mean, pressure.memory.full.mean
    return Signal(
        value=some,
        message=f"Tasks stalled on memory in {percent(some)} of the time",
        evidence=(
            Evidence("some task stalled", some, "ratio", "/proc/pressure/memory some"),
            Evidence("all tasks stalled", full, "ratio", "/proc/pressure/memory full"),
        ),
        culprits=by_memory(facts),
    )


@rule(
    resource="memory",
    cause="memory_exhaustion",
    kind=Kind.SATURATION,
    unit="pages/s",
    warning=500,
    critical=10_000,
    scale=Scale.LOG,
    source="a swap-in costs 0.1 ms (SSD) to 10 ms (disk) of somebody's time: 500 a second are "
    "5 % to all of it; occupied swap alone is no trouble",
    explanation="Pages that programs need are being read back from swap.",
    next_steps=("vmstat 1 5, columns si and so", "Look at the largest processes."),
    advise=_find_consumer,
)
def swap_in(facts: Facts) -> Signal | None:
    """Watch pages read from swap."""
    sample = facts.sample(MemorySample)
    rate = sample.per_second("pswpin") if sample else None
    if sample is None or rate is None:
        return None
    return Signal(
        value=rate,
        message=f"{rate:,.0f} pages per second are read back from swap",
        evidence=(Evidence("swapped in", rate, "pages/s", "/proc/vmstat pswpin"),),
        culprits=by_faults(facts) or by_memory(facts),
    )


@rule(
    resource="memory",
    cause="memory_exhaustion",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.80,
    critical=0.95,
    source="netdata used_swap (80 %, 90 %)",
    gate="memory itself at least 80 % taken: cold pages parked in swap are no trouble",
    explanation="Swap is nearly full while memory is short: what comes next is the OOM killer.",
    next_steps=("Look at the largest processes.",),
    advise=_find_consumer,
)
def swap_full(facts: Facts) -> Signal | None:
    """Watch the share of swap in use while memory is short."""
    sample = facts.sample(MemorySample)
    if sample is None or sample.swap_used_bytes is None or sample.utilization.mean is None:
        return None
    if not sample.swap_total_bytes:
        return Signal(0.0, "This host has no swap")
    used = sample.swap_used_bytes / sample.swap_total_bytes
    return Signal(
        value=used if sample.utilization.mean >= 0.8 else 0.0,  # noqa: PLR2004
        message=f"{percent(used)} of swap is in use and {percent(sample.utilization.mean)} of "
        "memory is taken",
        evidence=(Evidence("swap in use", used, "ratio", "/proc/meminfo SwapFree, SwapTotal"),),
        culprits=by_memory(facts),
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
    cause="memory_exhaustion",
    kind=Kind.ERRORS,
    unit="kills",
    warning=1,
    critical=3,
    at_once=True,
    source="every kill is a program lost; counted by the kernel as oom_kill since v4.13",
    explanation="The kernel killed programs because memory ran out.",
    next_steps=("dmesg | grep -i 'killed process'", "Look at containers' memory limits."),
    advise=_find_consumer,
)
def oom_kill(facts: Facts) -> Signal | None:
    """Watch processes killed for lack of memory, since the sweep before where there is one."""
    sample, earlier = facts.sample(MemorySample), facts.before(MemorySample)
    if sample is None:
        return None
    total, old = sample.totals.get("oom_kill"), earlier.totals.get("oom_kill") if earlier else None
    # Between two windows nobody looked, but the kernel went on counting.
    kills = sample.increases.get("oom_kill")
    if total is not None and old is not None and total >= old:
        kills = total - old
    if kills is None:
        return None
    return Signal(
        value=float(kills),
        message=f"The kernel killed {kills} processes for lack of memory",
        evidence=(Evidence("processes killed", kills, "kills", "/proc/vmstat oom_kill"),),
        culprits=by_memory(facts),
    )


@rule(
    resource="memory",
    cause="memory_exhaustion",
    kind=Kind.SATURATION,
    unit="1/s",
    warning=500,
    critical=5_000,
    scale=Scale.LOG,
    source="each waits for storage, 0.1 ms (SSD) to 10 ms (disk): 500 a second keep a disk busy",
    gate="tasks stall on memory or storage in at least 1 % of the time: a program's start "
    "faults as well",
    explanation="Programs wait for pages of theirs that have to be read from storage.",
    next_steps=("pidstat -r 1 5, column majflt/s",),
    advise=_find_consumer,
)
def major_faults(facts: Facts) -> Signal | None:
    """Watch page faults that needed storage, while they make tasks wait."""
    sample, pressure = facts.sample(MemorySample), facts.sample(PressureSample)
    rate = sample.per_second("pgmajfault") if sample else None
    if rate is None:
        return None
    stalls = (pressure.memory, pressure.io) if pressure else ()
    stalled = [s.some.mean for s in stalls if s is not None and s.some.mean is not None]
    return Signal(
        value=rate if not stalled or max(stalled) >= 0.01 else 0.0,  # noqa: PLR2004
        message=f"{rate:,.0f} page faults per second waited for storage",
        evidence=(Evidence("major faults", rate, "1/s", "/proc/vmstat pgmajfault"),),
        culprits=by_faults(facts),
    )


@rule(
    resource="memory",
    cause="commit_limit",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.90,
    critical=0.98,
    source="Documentation/mm/overcommit-accounting.rst",
    gate="vm.overcommit_memory is 2: otherwise the limit is not enforced",
    explanation="Programs have been promised nearly all that may be promised; the next "
    "allocation fails.",
    next_steps=("grep Commit /proc/meminfo",),
)
def commit_limit(facts: Facts) -> Signal | None:
    """Watch promised memory against its limit, where the limit is enforced."""
    sample, settings = facts.sample(MemorySample), facts.sample(SysctlSample)
    mode = settings.values.get("vm.overcommit_memory") if settings else None
    if sample is None or mode is None:
        return None
    limit, promised = sample.meminfo.get("CommitLimit"), sample.meminfo.get("Committed_AS")
    if not limit or promised is None:
        return None
    return Signal(
        value=promised / limit if mode == "2" else 0.0,
        message=f"{size(promised)} of {size(limit)} of memory have been promised",
        evidence=(Evidence("promised", promised, "bytes", "/proc/meminfo Committed_AS"),),
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
