"""Rules on control groups: limits that are too narrow for what is inside them."""

from __future__ import annotations

from analysis.model import Evidence, Facts, Kind, Signal
from analysis.registry import rule
from analysis.rules.container_advice import raise_cpu, raise_memory, relieve_memory
from analysis.rules.groups import MOST_CULPRITS, group_culprit, group_kills, worst_group
from analysis.rules.oom_victims import victims
from analysis.text import percent, size
from collectors.cgroup import Group
from collectors.container import ContainerSample
from collectors.rates import ratio

# A group that ran in fewer quota periods (2 s at the usual 100 ms) was idle.
_LEAST_PERIODS = 20
# Some groups allow very few tasks on purpose, and then have all of them always.
_LEAST_TASKS = 20


@rule(
    resource="container",
    cause="cpu_throttling",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.25,
    critical=0.90,
    source="kubernetes-mixin CPUThrottlingHigh (25 % of the periods); at 90 % the group "
    "stands still at the end of nearly every period",
    gate="a CPU quota, and at least 20 quota periods in the window in which it ran",
    explanation="The group used up its CPU quota and was stopped until the next period: "
    "what it does takes longer, though the host's CPUs may be idle.",
    next_steps=("Compare the group's threads with its quota.", "Raise the quota, or its period."),
    advise=raise_cpu,
)
def cpu_throttling(facts: Facts) -> Signal | None:
    """Watch the share of quota periods in which a group was throttled."""

    def share(group: Group) -> float | None:
        known = group.cpu.quota is not None and (group.cpu.periods or 0) >= _LEAST_PERIODS
        return group.cpu.throttled if known else None

    return worst_group(
        facts,
        share,
        lambda g, v: (
            f"{g.identity.name} was throttled in {percent(v)} of {g.cpu.periods} CPU "
            f"quota periods; it may use {g.cpu.quota or 0:.2f} cores"
        ),
        lambda g, v: (
            Evidence("throttled periods", v, "ratio", f"{g.path}: cpu.stat nr_throttled"),
            Evidence("quota", g.cpu.quota, "cores", f"{g.path}: cpu.max"),
            Evidence("CPU time", g.cpu.used, "cores", f"{g.path}: cpu.stat usage_usec"),
        ),
        lambda g: g.cpu.quota is not None and None in (g.cpu.periods, g.cpu.throttled_periods),
    )


@rule(
    resource="container",
    cause="container_memory",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.90,
    critical=0.97,
    source="awesome-prometheus-alerts ContainerHighMemoryUsage (80 % of the working set), nearer "
    "because active page cache is left out here as well, and heaps are sized to the limit",
    gate="a memory limit",
    explanation="What the group holds, page cache apart, is nearly its limit: then the "
    "kernel kills one of its processes.",
    next_steps=("Look whether it grows from sweep to sweep (a leak).", "Raise the limit."),
    advise=raise_memory,
)
def container_memory(facts: Facts) -> Signal | None:
    """Watch memory that cannot be reclaimed against a group's limit."""
    return worst_group(
        facts,
        lambda g: ratio(g.memory.held, g.memory.limit),
        lambda g, v: f"{g.identity.name} holds {size(g.memory.held)} of its limit of "
        f"{size(g.memory.limit)} ({percent(v)}), page cache not counted",
        lambda g, _: (
            Evidence("memory without page cache", g.memory.held, "bytes",
                     f"{g.path}: memory.current less file and reclaimable slab of memory.stat"),
            Evidence("limit", g.memory.limit, "bytes", f"{g.path}: memory.max"),
            Evidence("page cache included", g.memory.current, "bytes", f"{g.path}: memory.current"),
        ),
        lambda g: g.memory.limit is not None and g.memory.held is None,
    )  # fmt: skip


@rule(
    resource="container",
    cause="oom_kill",
    kind=Kind.ERRORS,
    unit="kills",
    warning=1,
    critical=5,
    source="cgroup-v2.rst, memory.events: each oom_kill is a process that was killed; five "
    "between two sweeps are a loop of restarts",
    explanation="The kernel killed processes in a control group for want of memory.",
    next_steps=("journalctl -k -g 'Killed process'", "Raise the group's limit, or find its leak."),
    advise=raise_memory,
    at_once=True,
)
def container_oom(facts: Facts) -> Signal | None:
    """Watch processes killed in control groups since the sweep before, or in the window."""
    sample, before = facts.sample(ContainerSample), facts.before(ContainerSample)
    if sample is None:
        return None
    kills = group_kills(sample, before)
    # What was killed in a group that is gone is remembered by the groups above it.
    whole = sample.oom_kills_increase
    if before is not None:
        whole = max(sample.oom_kills - before.oom_kills, whole)
    whole = max(whole, *(k for _, k in kills)) if kills else whole
    names = ", ".join(g.identity.name for g, _ in kills[:MOST_CULPRITS])
    return Signal(
        value=float(whole),
        message=f"The kernel killed {whole} {'process' if whole == 1 else 'processes'} for want "
        f"of memory in {names or 'groups that no longer exist'}"
        if whole
        else "No process was killed in a control group",
        subject=kills[0][0].identity.name if kills else None,
        evidence=(Evidence("kills", whole, "kills", "memory.events oom_kill"),),
        culprits=(
            *(group_culprit(g, float(k), "kills") for g, k in kills[:MOST_CULPRITS]),
            *(victims(facts) if whole else ()),
        ),
    )


@rule(
    resource="container",
    cause="container_tasks",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.80,
    critical=0.95,
    source="cgroup-v2.rst, pids: at the limit fork and clone fail with EAGAIN; warned of in "
    "the last fifth, critical in the last twentieth",
    gate="a limit of at least 20 tasks",
    explanation="The group is about to reach its limit of tasks; then it cannot start "
    "threads or processes any more.",
    next_steps=("systemctl show -p TasksMax,TasksCurrent UNIT", "Look for a leak of threads."),
)
def container_tasks(facts: Facts) -> Signal | None:
    """Watch tasks against a group's limit."""
    return worst_group(
        facts,
        lambda g: (
            ratio(g.tasks.current, g.tasks.limit) if (g.tasks.limit or 0) >= _LEAST_TASKS else None
        ),
        lambda g, v: (
            f"{g.identity.name} has {g.tasks.current} of at most {g.tasks.limit} tasks "
            f"({percent(v)}){_refused(g)}"
        ),
        lambda g, _: (
            Evidence("tasks", g.tasks.current, "tasks", f"{g.path}: pids.current"),
            Evidence("limit", g.tasks.limit, "tasks", f"{g.path}: pids.max"),
            Evidence("refused forks", g.tasks.refused, "forks", f"{g.path}: pids.events max"),
        ),
        lambda g: g.tasks.limit is not None and g.tasks.current is None,
    )


@rule(
    resource="container",
    cause="container_memory",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.20,
    critical=0.60,
    source="systemd oomd.conf(5): DefaultMemoryPressureLimit is 60 % for 30 s; a third of "
    "it leaves time to act",
    gate="a memory limit of the group; without one it is the host that lacks memory",
    explanation="All tasks of the group stood still at once, waiting for memory to be "
    "reclaimed: its limit is too narrow for its working set.",
    next_steps=("Compare memory.current with memory.high and memory.max.", "Raise the limit."),
    advise=relieve_memory,
)
def container_pressure(facts: Facts) -> Signal | None:
    """Watch the share of time in which all tasks of a limited group waited for memory."""
    sample = facts.sample(ContainerSample)
    if sample is None or not any("memory_full" in g.pressure for g in sample.groups):
        return None
    return worst_group(
        facts,
        lambda g: g.pressure.get("memory_full") if g.memory.limit or g.memory.high else None,
        lambda g, v: (
            f"All tasks of {g.identity.name} waited for memory in {percent(v)} of the time"
        ),
        lambda g, v: (
            Evidence("time without progress", v, "ratio", f"{g.path}: memory.pressure full"),
            Evidence("memory", g.memory.current, "bytes", f"{g.path}: memory.current"),
            Evidence("limit", g.memory.limit, "bytes", f"{g.path}: memory.max"),
        ),
        lambda g: bool(g.memory.limit or g.memory.high) and g.pressure.get("memory_full") is None,
    )


def _refused(group: Group) -> str:
    """Tell forks that failed, when there were any."""
    return f"; {group.tasks.refused} forks were refused" if group.tasks.refused else ""
