"""Rules on memory: too little of it, and what the kernel does to find more."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import investigate
from analysis.culprits import by_faults, by_memory
from analysis.model import Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.text import percent, size
from collectors.memory import MemorySample
from collectors.pressure import PressureSample
from collectors.sysctl import SysctlSample

_GIB = 1 << 30
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
