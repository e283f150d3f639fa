"""Rules on the CPUs: too little of them, taken from us, or one of them alone."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import investigate
from analysis.culprits import by_cpu, by_io, leaders, names, pids
from analysis.disks import BLOCKED_GATE
from analysis.model import (
    Culprit,
    Evidence,
    Facts,
    Kind,
    Recommendation,
    Scale,
    Signal,
)
from analysis.registry import rule
from analysis.text import percent
from analysis.use.cpu import waiting
from collectors.cpu import CpuSample
from collectors.pressure import PressureSample

_FORK_GATE = 100.0
_HOT_CORE_STALL = 0.1


def _find_consumer(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """Advise to look at what uses the CPUs."""
    guilty = leaders(by_cpu(facts))
    if not guilty:
        return
    yield investigate(
        "cpu:consumers",
        resource="cpu",
        rule="cpu_pressure",
        title=f"Ask whether {names(guilty)} should run now, and here",
        why="They use most CPU time while other tasks wait; limiting, moving or "
        "rescheduling them gives the time back at once.",
        commands=(
            f"ps -o pid,ppid,user,lstart,pcpu,nice,comm -p {pids(guilty)}",
            "top -b -n 1 | head",
        ),
    )


@rule(
    resource="cpu",
    cause="cpu_saturation",
    kind=Kind.UTILIZATION,
    unit="ratio",
    warning=0.90,
    critical=0.98,
    source="node-mixin NodeCPUHighUsage (90 %); melting point of the USE method is 100 %",
    explanation="The CPUs had hardly any idle time. That alone is work being done; "
    "it hurts when tasks wait as well.",
    next_steps=("See whether tasks wait: cpu_pressure and the run queue.",),
)
def cpu_utilization(facts: Facts) -> Signal | None:
    """Watch the share of CPU time that was not idle, without iowait and steal."""
    sample = facts.sample(CpuSample)
    if sample is None or sample.utilization.mean is None:
        return None
    # Time a hypervisor took is not used by anyone here; the rule on steal has it.
    own = max(sample.utilization.mean - (sample.states.get("steal") or 0.0), 0.0)
    return Signal(
        value=own,
        message=f"{sample.online} CPUs were {percent(own)} busy over "
        f"{sample.window_seconds:.0f} s, peak {percent(sample.utilization.peak)}",
        evidence=(Evidence("CPU utilization", own, "ratio", "/proc/stat cpuN"),),
        culprits=by_cpu(facts),
    )


@rule(
    resource="cpu",
    cause="cpu_saturation",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.25,
    critical=0.60,
    source="Documentation/accounting/psi.rst for the meaning; a CPU that is 50 % busy with "
    "random arrivals makes tasks wait in up to 25 % of the time (M/M/1), so less is ordinary",
    gate="more tasks than CPUs, or CPUs at least 70 % busy",
    explanation="Runnable tasks waited for a CPU: everything on the host answers later.",
    next_steps=("pidstat -u -p PID 1 5", "Look for throttled containers."),
    advise=_find_consumer,
)
def cpu_pressure(facts: Facts) -> Signal | None:
    """Watch the share of time in which at least one task waited for a CPU."""
    pressure, sample = facts.sample(PressureSample), facts.sample(CpuSample)
    if pressure is None or pressure.cpu is None or pressure.cpu.some.mean is None:
        return None
    some, queue = pressure.cpu.some.mean, waiting(sample) if sample else None
    # Short bursts on idle CPUs (a cron job's forks) stall each other without harm.
    busy = sample.utilization.mean if sample else None
    gated = (busy is not None and busy < 0.7) and (queue is not None and queue < 1)  # noqa: PLR2004
    evidence = [Evidence("time with a waiting task", some, "ratio", "/proc/pressure/cpu some")]
    if queue is not None:
        evidence.append(Evidence("tasks waiting", queue, "tasks", "/proc/stat procs_running"))
    return Signal(
        value=0.0 if gated else some,
        message=f"Tasks waited for a CPU in {percent(some)} of the time",
        evidence=tuple(evidence),
        culprits=by_cpu(facts),
    )


@rule(
    resource="cpu",
    cause="cpu_saturation",
    kind=Kind.SATURATION,
    unit="tasks per CPU",
    warning=1.0,
    critical=4.0,
    scale=Scale.LOG,
    source="Linux Performance Analysis in 60 s, Brendan Gregg: a run queue longer than the "
    "CPU count is saturation; four waiting tasks per CPU is a fifth of the speed",
    explanation="More tasks are ready to run than there are CPUs, throughout the window.",
    next_steps=("pidstat -u -p PID 1 5",),
    advise=_find_consumer,
)
def run_queue(facts: Facts) -> Signal | None:
    """Watch the runnable tasks beyond the number of CPUs, per CPU."""
    sample = facts.sample(CpuSample)
    queue = waiting(sample) if sample else None
    if sample is None or queue is None:
        return None
    return Signal(
        value=queue / max(sample.online, 1),
        message=f"{queue:.1f} runnable tasks waited for {sample.online} CPUs on average",
        evidence=(Evidence("tasks waiting", queue, "tasks", "/proc/stat procs_running"),),
        culprits=by_cpu(facts),
    )


@rule(
    resource="cpu",
    cause="cpu_steal",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.05,
    critical=0.20,
    source="netdata 20min_steal_cpu (5 % and 10 %), with room for bursts",
    explanation="The hypervisor gave this machine's CPU time to others.",
    next_steps=("Ask the provider, or move the machine: nothing inside it can help.",),
)
def cpu_steal(facts: Facts) -> Signal | None:
    """Watch the share of CPU time that the hypervisor took."""
    return _state(facts, "steal", "The hypervisor took {} of the CPU time")


@rule(
    resource="disk",
    cause="slow_storage",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.15,
    critical=0.40,
    source="netdata 10min_cpu_iowait (20 % to 40 %), lowered for few CPUs",
    gate="at least 1.5 tasks blocked on average, as for io_pressure",
    explanation="CPUs idled only because tasks waited for storage.",
    next_steps=("iostat -xz 1 5", "pidstat -d -p PID 1 5"),
)
def cpu_iowait(facts: Facts) -> Signal | None:
    """Watch the share of CPU time that was idle while I/O was outstanding."""
    sample = facts.sample(CpuSample)
    signal = _state(facts, "iowait", "CPUs waited for storage in {} of the time", by_io(facts))
    if signal is None or sample is None or sample.blocked.mean is None:
        return signal
    return signal if sample.blocked.mean >= BLOCKED_GATE else Signal(0.0, signal.message)


@rule(
    resource="cpu",
    cause="interrupt_load",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.30,
    critical=0.60,
    source="a CPU that spends a third of its time in interrupts delays every task on it by "
    "half; netdata warns at 10 % softirq over all CPUs, which is noisy on busy gateways",
    explanation="One CPU spends its time in interrupt handlers, usually for packets.",
    next_steps=("Spread the load: irqbalance, RSS or RPS.", "cat /proc/softirqs twice."),
)
def interrupt_load(facts: Facts) -> Signal | None:
    """Watch the share of time that the most interrupted CPU spent in irq and softirq."""
    sample = facts.sample(CpuSample)
    shares = {n: s for n, s in (sample.interrupts if sample else {}).items() if s is not None}
    if not shares:
        return None
    worst = max(shares, key=lambda n: shares[n])
    return Signal(
        value=shares[worst],
        message=f"CPU {worst} spent {percent(shares[worst])} of its time in interrupts",
        subject=f"cpu{worst}",
        evidence=(Evidence("irq and softirq", shares[worst], "ratio", f"/proc/stat cpu{worst}"),),
        culprits=(Culprit("device", f"cpu{worst}", value=shares[worst], unit="ratio"),),
    )


@rule(
    resource="cpu",
    cause="hot_core",
    kind=Kind.UTILIZATION,
    unit="ratio",
    warning=0.95,
    critical=None,
    source="one thread at its limit: the USE method applied to a single CPU",
    gate="four CPUs or more, the others less than half busy, and tasks waiting nevertheless",
    explanation="One CPU is full while the others idle: one thread is the bottleneck, "
    "and more CPUs will not help it.",
    next_steps=("top -H -p PID", "perf top -p PID, or the probe profile of a deep sweep"),
)
def hot_core(facts: Facts) -> Signal | None:
    """Watch the busiest CPU while the others have time."""
    sample = facts.sample(CpuSample)
    shares = {n: s for n, s in (sample.per_cpu if sample else {}).items() if s is not None}
    if not shares:
        return None
    worst = max(shares, key=lambda n: shares[n])
    others = [s for n, s in shares.items() if n != worst]
    pressure = facts.sample(PressureSample)
    stalled = pressure.cpu.some.mean if pressure and pressure.cpu else None
    # One thread at work is no trouble; tasks that queue beside idle CPUs are.
    queueing = stalled is not None and stalled >= _HOT_CORE_STALL
    idle = len(shares) >= 4 and sum(others) / len(others) < 0.5 and queueing  # noqa: PLR2004
    return Signal(
        value=shares[worst] if idle else 0.0,
        message=f"CPU {worst} was {percent(shares[worst])} busy while the others had time",
        subject=f"cpu{worst}",
        evidence=(Evidence("utilization", shares[worst], "ratio", f"/proc/stat cpu{worst}"),),
        culprits=by_cpu(facts)[:1],
    )


@rule(
    resource="cpu",
    cause="context_switches",
    kind=Kind.SATURATION,
    unit="1/s per CPU",
    warning=50_000,
    critical=200_000,
    scale=Scale.LOG,
    source="a switch costs 1 to 3 us directly: 50,000 a second are 5 to 15 % of a CPU",
    explanation="CPUs spend their time switching between tasks instead of running them.",
    next_steps=("pidstat -wt -p PID 1 5", "Look for lock contention or tiny messages."),
)
def context_switches(facts: Facts) -> Signal | None:
    """Watch context switches per CPU."""
    sample = facts.sample(CpuSample)
    if sample is None or sample.context_switches.mean is None or not sample.online:
        return None
    each = sample.context_switches.mean / sample.online
    return Signal(
        value=each,
        message=f"{each:,.0f} context switches per second on each of {sample.online} CPUs",
        evidence=(Evidence("context switches", each, "1/s per CPU", "/proc/stat ctxt"),),
        culprits=by_cpu(facts),
    )


@rule(
    resource="cpu",
    cause="fork_storm",
    kind=Kind.SATURATION,
    unit="1/s per CPU",
    warning=500,
    critical=2_000,
    scale=Scale.LOG,
    source="fork, exec and exit of a small program cost about 0.5 ms: 500 a second are a "
    "quarter of a CPU",
    explanation="New processes are started so fast that starting them is the work.",
    next_steps=("ps -o pid,etimes,args --ppid PID", "Look for a crash loop or a shell loop."),
)
def fork_storm(facts: Facts) -> Signal | None:
    """Watch new tasks per CPU."""
    sample = facts.sample(CpuSample)
    if sample is None or sample.forks_per_second is None or not sample.online:
        return None
    each = sample.forks_per_second / sample.online
    return Signal(
        value=each,
        message=f"{sample.forks_per_second:,.0f} new tasks per second",
        evidence=(Evidence("forks", sample.forks_per_second, "1/s", "/proc/stat processes"),),
        culprits=by_cpu(facts) if sample.forks_per_second > _FORK_GATE else (),
    )


def _state(
    facts: Facts, state: str, sentence: str, culprits: tuple[Culprit, ...] = ()
) -> Signal | None:
    """Read one state's share of CPU time."""
    sample = facts.sample(CpuSample)
    share = sample.states.get(state) if sample else None
    if share is None:
        return None
    return Signal(
        value=share,
        message=sentence.format(percent(share)),
        evidence=(Evidence(f"{state} share", share, "ratio", f"/proc/stat cpuN {state}"),),
        culprits=culprits,
    )
