"""Rules on control groups that stand still although the host has room, or are refused tasks."""

from __future__ import annotations

from collections.abc import Callable

from analysis.disks import disks
from analysis.model import Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.rules.groups import MOST_CULPRITS, group_culprit, worst_group
from analysis.text import percent
from collectors.cgroup import Group
from collectors.container import ContainerSample
from collectors.pressure import PressureSample

_HOST_CONTENDED = 0.25
_DISK_BUSY = 0.5
_LEAST_USED = 0.05  # [cores]
_LEAST_MOVED = 256 << 10  # [bytes/s]


@rule(
    resource="container",
    cause="cpu_throttling",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.25,
    critical=0.60,
    source="as for the host's cpu_pressure; Documentation/accounting/psi.rst: in full none of the "
    "group's tasks ran though some could have",
    gate="a twentieth of a core used, and the host's own CPU pressure below 25 %: otherwise it is "
    "the host that lacks CPUs",
    explanation="A group has work and none of it runs, although the host has CPUs left: its quota, "
    "its weight or its set of CPUs is too small.",
    next_steps=("Compare cpu.max, cpu.weight and cpuset.cpus.effective with what it needs.",),
)
def container_cpu_stall(facts: Facts) -> Signal | None:
    """Watch the share of time in which a group had work and none of its tasks had a CPU."""
    pressure = facts.sample(PressureSample)
    some = pressure.cpu.some.mean if pressure and pressure.cpu else None
    if some is None:
        return None
    held_back = some < _HOST_CONTENDED
    return _stalled(facts, "cpu", "had work and no CPU", _works, held_back=held_back)


@rule(
    resource="container",
    cause="container_io",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.50,
    critical=None,
    source="a group that stands still for half of the time while every disk idles for as long is "
    "held back by its own limit; Documentation/admin-guide/cgroup-v2.rst, io.max and io.latency "
    "hold requests back before a disk sees them",
    gate="256 KiB a second moved, and no disk busy in half of the time: a single "
    "reader stalls on a disk at work all the time, and the disk has rules of its own",
    explanation="A group waits for storage although the disks have time: its limit of I/O is too "
    "narrow, or its storage is behind a network.",
    next_steps=("cat io.max, io.latency and io.stat of the group.",),
)
def container_io_stall(facts: Facts) -> Signal | None:
    """Watch the share of time in which all tasks of a group waited for idle storage."""
    busy = [u for d in disks(facts) if (u := d.utilization.mean) is not None]
    if not busy:
        return None
    idle = max(busy) < _DISK_BUSY
    return _stalled(facts, "io", "waited for storage, which had time,", _moves, held_back=idle)


@rule(
    resource="container",
    cause="container_tasks",
    kind=Kind.ERRORS,
    unit="forks",
    warning=1,
    critical=20,
    scale=Scale.LOG,
    at_once=True,
    source="cgroup-v2.rst, pids.events: each is a fork or clone that failed with EAGAIN; twenty "
    "between two sweeps are a program that keeps trying and cannot work",
    explanation="A program in a control group could not start a process or a thread: its group "
    "has as many tasks as it may.",
    next_steps=("systemctl show -p TasksMax,TasksCurrent UNIT", "Look for a leak of threads."),
)
def container_forks_refused(facts: Facts) -> Signal | None:
    """Watch forks refused in control groups since the sweep before, or in the window."""
    sample, before = facts.sample(ContainerSample), facts.before(ContainerSample)
    if sample is None:
        return None
    count = sample.refused_forks_increase
    if before is not None:
        count = max(sample.refused_forks - before.refused_forks, count)
    refused = [(g.tasks.refused, g) for g in sample.groups if g.tasks.refused]
    refused.sort(key=lambda pair: (-pair[0], -pair[1].path.count("/")))
    near = [g for _, g in refused] or ([g for g in sample.groups if _full(g)] if count else [])
    names = ", ".join(g.identity.name for g in near[:MOST_CULPRITS])
    return Signal(
        value=float(count),
        message=f"{count} {'fork was' if count == 1 else 'forks were'} refused in "
        f"{names or 'control groups'}"
        if count
        else "No fork was refused in a control group",
        subject=near[0].identity.name if near else None,
        evidence=(Evidence("refused forks", count, "forks", "pids.events max"),),
        culprits=tuple(group_culprit(g, g.tasks.current, "tasks") for g in near[:MOST_CULPRITS]),
    )


def _full(group: Group) -> bool:
    """Tell whether a group has about as many tasks as it may."""
    current, limit = group.tasks.current, group.tasks.limit
    return bool(current and limit and current >= limit - 1)


def _stalled(
    facts: Facts, resource: str, what: str, active: Callable[[Group], bool], *, held_back: bool
) -> Signal | None:
    """Find the group that stood still longest; 0 where it was not the group that was held back."""
    name = f"{resource}_full"
    sample = facts.sample(ContainerSample)
    if sample is None or not any(name in g.pressure for g in sample.groups):
        return None
    if not held_back:
        return Signal(0.0, f"The host itself is short of {resource}, not a control group alone")
    return worst_group(
        facts,
        lambda g: g.pressure.get(name) if active(g) else None,
        lambda g, v: f"All tasks of {g.identity.name} {what} in {percent(v)} of the time",
        lambda g, v: (
            Evidence("time without progress", v, "ratio", f"{g.path}: {resource}.pressure full"),
            Evidence("CPU time", g.cpu.used, "cores", f"{g.path}: cpu.stat usage_usec"),
            Evidence("quota", g.cpu.quota, "cores", f"{g.path}: cpu.max"),
        ),
    )


def _works(group: Group) -> bool:
    """Tell whether a group does enough for its waiting to matter; true where that is unknown."""
    return group.cpu.used is None or group.cpu.used >= _LEAST_USED


def _moves(group: Group) -> bool:
    """Tell whether a group moves enough data for its waiting to matter."""
    sides = (group.io.read_bytes_per_second, group.io.write_bytes_per_second)
    known = [side for side in sides if side is not None]
    return not known or sum(known) >= _LEAST_MOVED
