"""Rules on memory: too little of it, and what the kernel does to find more."""

from __future__ import annotations

from analysis.culprits import by_faults, by_memory
from analysis.model import Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.rules.memory_advice import find_consumer, find_faulting, swap_less
from analysis.rules.oom_victims import by_oom, told
from analysis.stalls import harmed
from analysis.text import percent, size
from collectors.memory import MemorySample
from collectors.pressure import PressureSample
from collectors.sysctl import SysctlSample

_SPACIOUS = 2 << 30
_SHORT = 0.80
_NO_HARM = "tasks stall on memory in at least 1 % of the time, where the kernel tells that"


def _left(sample: MemorySample) -> tuple[int, int] | None:
    """
    Give what can still be had of the memory that is there for programs, and that memory.

    Huge pages set aside belong to who set them aside: the rest is what may run
    out. What ZFS caches is given back like any cache.
    """
    if sample.total_bytes is None or sample.available_bytes is None:
        return None
    whole = sample.total_bytes - sample.meminfo.get("Hugetlb", 0)
    left = sample.available_bytes + (sample.arc_reclaimable_bytes or 0)
    return (min(left, whole), whole) if whole > 0 else None


@rule(
    resource="memory",
    cause="memory_exhaustion",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.90,
    critical=0.97,
    source="node-mixin NodeMemoryHighUtilization (90 %); MemAvailable already counts what can "
    "be reclaimed, so 3 % left is little on any host",
    gate="less than 2 GiB and 1 % of memory available: a tenth of a large host is much",
    explanation="Nearly all memory is taken by what cannot be dropped: the next large "
    "allocation swaps, stalls or gets something killed.",
    next_steps=(
        "ps -eo pid,rss,comm --sort=-rss | head",
        "Look at slab and shared memory in meminfo.",
    ),
    advise=find_consumer,
)
def memory_utilization(facts: Facts) -> Signal | None:
    """Watch the share of memory that is not available."""
    sample = facts.sample(MemorySample)
    pair = _left(sample) if sample else None
    if sample is None or pair is None:
        return None
    left, whole = pair
    used = 1 - left / whole
    spacious = left >= _SPACIOUS + whole // 100
    return Signal(
        value=0.0 if spacious else used,
        message=f"{percent(used)} of memory is taken; {size(left)} of {size(whole)} is available",
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
    source="the trigger in Documentation/accounting/psi.rst is 15 % of a second: a third of it "
    "warns, and a quarter of all time is beyond doubt",
    explanation="Tasks lost time because memory had to be found for them: reclaim, swap-in "
    "or refaults of pages that were dropped too early.",
    next_steps=("Look at swap-in, direct reclaim and major faults.",),
    advise=find_consumer,
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
    unit="ratio",
    warning=0.05,
    critical=0.25,
    source="Documentation/accounting/psi.rst: time in which no task made progress is lost; "
    "systemd's oomd.conf(5) kills at 60 % for 30 s, and a host thrashes long before",
    explanation="At times every task with something to do waited for memory: the host works "
    "for its memory more than for its programs.",
    next_steps=("vmstat 1 5, columns si, so and wa", "ps -eo pid,rss,comm --sort=-rss | head"),
    advise=find_consumer,
)
def memory_stall(facts: Facts) -> Signal | None:
    """Watch the share of time in which all tasks stalled on memory."""
    pressure = facts.sample(PressureSample)
    full = pressure.memory.full.mean if pressure and pressure.memory else None
    if full is None:
        return None
    return Signal(
        value=full,
        message=f"All tasks stood still for want of memory in {percent(full)} of the time",
        evidence=(Evidence("all tasks stalled", full, "ratio", "/proc/pressure/memory full"),),
        culprits=by_memory(facts),
    )


def _swapping_hurts(facts: Facts, sample: MemorySample) -> bool:
    """Tell whether reading back from swap costs anybody time; without storage it hardly can."""
    if facts.sample(PressureSample) is None and sample.swaps:
        return not all(s.in_memory for s in sample.swaps)
    return harmed(facts, "memory")


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
    gate=_NO_HARM + ": reading back from compressed memory costs next to nothing",
    explanation="Pages that programs need are being read back from swap.",
    next_steps=("vmstat 1 5, columns si and so", "ps -eo pid,rss,comm --sort=-rss | head"),
    advise=swap_less,
)
def swap_in(facts: Facts) -> Signal | None:
    """Watch pages read from swap."""
    sample = facts.sample(MemorySample)
    rate = sample.per_second("pswpin") if sample else None
    if sample is None or rate is None:
        return None
    return Signal(
        value=rate if _swapping_hurts(facts, sample) else 0.0,
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
    source="netdata used_swap (80 to 90 %, 90 to 98 %)",
    gate="memory itself at least 80 % taken: cold pages parked in swap are no trouble",
    explanation="Swap is nearly full while memory is short: what comes next is the OOM killer.",
    next_steps=("ps -eo pid,rss,comm --sort=-rss | head",),
    advise=find_consumer,
)
def swap_full(facts: Facts) -> Signal | None:
    """Watch the share of swap in use while memory is short."""
    sample = facts.sample(MemorySample)
    if sample is None or sample.swap_total_bytes is None:
        return None
    if sample.swap_total_bytes == 0:
        return Signal(0.0, "This host has no swap")
    pair = _left(sample)
    if pair is None or sample.swap_used_bytes is None:
        return None
    used, taken = sample.swap_used_bytes / sample.swap_total_bytes, 1 - pair[0] / pair[1]
    return Signal(
        value=used if taken >= _SHORT else 0.0,
        message=f"{percent(used)} of swap is in use and {percent(taken)} of memory is taken",
        evidence=(Evidence("swap in use", used, "ratio", "/proc/meminfo SwapFree, SwapTotal"),),
        culprits=by_memory(facts),
    )


def _since_before(facts: Facts, name: str) -> int | None:
    """
    Count mishaps since the sweep before where there is one, otherwise in the window.

    Between two windows nobody looked, but the kernel went on counting.
    """
    sample, earlier = facts.sample(MemorySample), facts.before(MemorySample)
    if sample is None:
        return None
    total, old = sample.totals.get(name), earlier.totals.get(name) if earlier else None
    if total is not None and old is not None and total >= old:
        return total - old
    return sample.increases.get(name)


@rule(
    resource="memory",
    cause="oom_kill",
    kind=Kind.ERRORS,
    unit="kills",
    warning=1,
    critical=3,
    at_once=True,
    source="every kill is a program lost; counted by the kernel as oom_kill since v4.13",
    explanation="The kernel killed programs because the host, or a container at its limit, ran "
    "out of memory.",
    next_steps=("dmesg | grep -i 'killed process'", "Look at containers' memory limits."),
    advise=find_consumer,
)
def oom_kill(facts: Facts) -> Signal | None:
    """Watch processes killed for lack of memory."""
    kills = _since_before(facts, "oom_kill")
    if kills is None:
        return None
    return Signal(
        value=float(kills),
        message=f"The kernel killed {kills} {'process' if kills == 1 else 'processes'} for lack "
        f"of memory{told(facts) if kills else ''}",
        evidence=(Evidence("processes killed", kills, "kills", "/proc/vmstat oom_kill"),),
        culprits=by_oom(facts) if kills else (),
    )


@rule(
    resource="memory",
    cause="hardware",
    kind=Kind.ERRORS,
    unit="pages",
    warning=1,
    critical=10,
    at_once=True,
    source="Documentation/mm/hwpoison.rst: each is a page with an error that could not be "
    "corrected, taken out of use for good",
    explanation="Memory is failing: the kernel took pages out of use, and a program that needed "
    "one was killed.",
    next_steps=("dmesg | grep -iE 'mce|edac|memory failure'", "Have the module replaced."),
)
def memory_corrupted(facts: Facts) -> Signal | None:
    """Watch pages lost to errors of the memory."""
    pages = _since_before(facts, "hardware_corrupted")
    if pages is None:
        return None
    return Signal(
        value=float(pages),
        message=f"Memory errors cost {pages} {'page' if pages == 1 else 'pages'}",
        evidence=(Evidence("pages lost", pages, "pages", "/proc/meminfo HardwareCorrupted"),),
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
    next_steps=("pidstat -r -p PID 1 5, column majflt/s",),
    advise=find_faulting,
)
def major_faults(facts: Facts) -> Signal | None:
    """Watch page faults that needed storage, while they make tasks wait."""
    sample = facts.sample(MemorySample)
    rate = sample.per_second("pgmajfault") if sample else None
    if rate is None:
        return None
    return Signal(
        value=rate if harmed(facts, "memory", "io") else 0.0,
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
