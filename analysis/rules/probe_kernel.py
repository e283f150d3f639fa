"""Rules on what eBPF probes see inside the kernel: locks, compaction, interrupts that take long."""

from __future__ import annotations

from analysis.culprits import by_memory
from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.probed import by_probe, quantiles, slowest
from analysis.registry import rule
from analysis.text import duration, number
from collectors.bpf.model import ProbeSample
from collectors.cpu import CpuSample

_LEAST_COMPACTIONS, _LEAST_SOFTIRQS, _LEAST_INTERRUPTS = 10, 1000, 100
_LEAST_WAITS = 1000
_DELAY = "sysdx_softirq_delay_seconds"
# Work that somebody waits for; RCU, SCHED and TASKLET may come late.
_URGENT = frozenset({"NET_RX", "NET_TX", "BLOCK", "TIMER", "HRTIMER"})


@rule(
    resource="kernel",
    cause="lock_contention",
    kind=Kind.SATURATION,
    unit="tasks per CPU",
    warning=0.2,
    critical=1.0,
    scale=Scale.LOG,
    probe="contention",
    at_once=True,
    source="Little's law: time waited per second of the window is how many tasks wait on average. "
    "At a fifth of a task for each CPU a lock that is spun for takes a fifth of all CPU time; at "
    "one as many tasks wait for a lock as the host has CPUs, and hardly two of them work at once",
    gate="1,000 waits in the window",
    explanation="Programs wait for each other inside the kernel: more CPUs or threads do not make "
    "them faster, and may make it worse.",
    next_steps=(
        "Look at the function, and at the stacks of the probe contention in the report.",
        "Fewer threads, or apart: mmap_lock is shared by all threads of a process.",
    ),
)
def lock_contention(facts: Facts) -> Signal | None:
    """Watch how many tasks wait for the kernel's own locks, on average, for each CPU."""
    sample, cpus = facts.probe("contention"), facts.sample(CpuSample)
    if sample is None or cpus is None or not cpus.online or sample.window_seconds <= 0:
        return None
    waits = sum(h.count for h in sample.histograms)
    waiting = sum(h.sum for h in sample.histograms) / sample.window_seconds
    place = next(iter(sample.tops.get("place", ())), None)
    where = f", most of it in {place['function']} for a {place['lock']}" if place else ""
    return Signal(
        value=waiting / cpus.online if waits >= _LEAST_WAITS else 0.0,
        message=f"{number(waiting)} tasks waited for locks of the kernel on average{where}",
        subject=place["function"] if place else None,
        evidence=(
            Evidence("tasks waiting", waiting, "tasks", "lock:contention_begin, _end"),
            Evidence("waits", float(waits), "", "lock:contention_begin, _end"),
            *_places(sample),
        ),
        culprits=by_probe(sample),
    )


@rule(
    resource="memory",
    cause="memory_fragmentation",
    kind=Kind.SATURATION,
    unit="s",
    warning=0.010,
    critical=0.100,
    scale=Scale.LOG,
    probe="compaction",
    at_once=True,
    source="as for direct_reclaim_latency: from there on allocating memory is as slow as reading "
    "a rotating disk",
    gate="10 compactions by programs in the window; those of kcompactd keep nobody waiting",
    explanation="Programs that asked for memory had to wait while the kernel moved pages together, "
    "and it took long.",
    next_steps=("cat /proc/buddyinfo", "cat /sys/kernel/mm/transparent_hugepage/defrag"),
)
def compaction_latency(facts: Facts) -> Signal | None:
    """Watch how long the slowest hundredth of compactions kept a program waiting."""
    sample = facts.probe("compaction")
    if sample is None:
        return None
    tasks = [h for h in sample.histograms if h.labels.get("by") == "task"]
    worst = slowest(tasks, _LEAST_COMPACTIONS)
    if worst is None:
        return Signal(0.0, "Programs waited for too few compactions to judge")
    return Signal(
        value=worst.p99 or 0.0,
        message=f"One in a hundred compactions kept a program waiting for {duration(worst.p99)} or "
        "longer",
        evidence=quantiles(worst, "compactions", "mm_compaction_begin, _end"),
        culprits=by_probe(sample) or by_memory(facts),
    )


@rule(
    resource="cpu",
    cause="interrupt_load",
    kind=Kind.SATURATION,
    unit="s",
    warning=0.010,
    critical=0.050,
    scale=Scale.LOG,
    probe="softirqs",
    at_once=True,
    source="kernel/softirq.c handles them for at most 2 ms (MAX_SOFTIRQ_TIME) and leaves the rest "
    "to ksoftirqd, which queues for a CPU like any task: thresholds as for run_queue_latency",
    gate="1,000 softirqs of that kind in the window; of those for packets, disks and timers",
    explanation="Packets, finished disk requests or timers waited long until a CPU handled them: "
    "everything that waits for them is late.",
    next_steps=("cat /proc/softirqs twice", "top: does ksoftirqd run? Spread the load: RPS, RSS."),
)
def softirq_latency(facts: Facts) -> Signal | None:
    """Watch how long the slowest hundredth of urgent softirqs waited for their CPU."""
    sample = facts.probe("softirqs")
    waits = [h for h in sample.histograms if h.family == _DELAY] if sample else []
    if not waits:
        return None
    worst = slowest((h for h in waits if h.labels["vector"] in _URGENT), _LEAST_SOFTIRQS)
    if worst is None:
        return Signal(0.0, "There were too few softirqs to judge")
    kind = worst.labels["vector"]
    return Signal(
        value=worst.p99 or 0.0,
        message=f"One in a hundred softirqs for {kind} waited {duration(worst.p99)} or longer",
        subject=kind,
        evidence=quantiles(worst, f"waits of {kind}", "irq:softirq_raise, softirq_entry"),
        culprits=(Culprit("device", kind, value=worst.p99, unit="s", detail="softirq"),),
    )


@rule(
    resource="cpu",
    cause="interrupt_load",
    kind=Kind.SATURATION,
    unit="s",
    warning=0.001,
    critical=0.010,
    scale=Scale.LOG,
    probe="hardirqs",
    at_once=True,
    source="a handler runs with its CPU's interrupts off: from 1 ms on, a tick at CONFIG_HZ=1000, "
    "timers of that CPU are late, and ten of them are as long as a wait for a CPU may last",
    gate="100 interrupts of that handler in the window",
    explanation="A device's driver keeps a CPU from everything else for too long.",
    next_steps=("cat /proc/interrupts", "Look for a newer driver or firmware of that device."),
)
def interrupt_latency(facts: Facts) -> Signal | None:
    """Watch how long the slowest hundredth of a device's interrupts kept its CPU."""
    sample = facts.probe("hardirqs")
    if sample is None:
        return None
    worst = slowest(sample.histograms, _LEAST_INTERRUPTS)
    if worst is None:
        return Signal(0.0, "There were too few interrupts to judge")
    name = worst.labels["irq"]
    return Signal(
        value=worst.p99 or 0.0,
        message=f"One in a hundred interrupts of {name} kept its CPU for {duration(worst.p99)} or "
        "longer",
        subject=name,
        evidence=quantiles(worst, f"interrupts of {name}", "irq_handler_entry, _exit"),
        culprits=(Culprit("device", name, value=worst.p99, unit="s", detail="interrupt"),),
    )


def _places(sample: ProbeSample) -> tuple[Evidence, ...]:
    """Give where tasks waited longest."""
    return tuple(
        Evidence(f"waited in {row['function']} for a {row['lock']}", row["seconds"], "s",
                 "stacks of lock:contention_begin")
        for row in sample.tops.get("place", ())[:3]
    )  # fmt: skip
