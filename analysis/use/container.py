"""Use of containers, units and other control groups."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.model import Facts
from analysis.registry import use
from analysis.use_model import DeviceUse, ErrorCount, ResourceUse
from collectors.cgroup import Group
from collectors.container import ContainerSample
from collectors.cpu import CpuSample
from collectors.memory import MemorySample
from collectors.model import Distribution
from collectors.rates import ratio

# Groups shown as devices, two each; all others are in the report.
MOST = 20


@use("container")
def container(facts: Facts) -> ResourceUse | None:
    """
    Tell how near control groups are to what they may use.

    Each group has two devices, "NAME:cpu" and "NAME:memory". A group without a
    limit may use the whole host, so the host's CPUs and memory are its limit.

    Args:
        facts: What is known of the host.

    Returns:
        Utilization, throttling and stalls of the groups nearest to their limits,
        kills and refused forks of all of them; None when no group is known.

    Source:
        cpu.max, cpu.stat, memory.max, memory.stat, memory.events, pids.events,
        *.pressure, or what v1 calls them.

    """
    sample = facts.sample(ContainerSample)
    if sample is None:
        return None
    devices = {}
    for name, group in _named(nearest(sample.groups, MOST)).items():
        devices[f"{name}:cpu"] = _cpu(facts, group)
        devices[f"{name}:memory"] = _memory(facts, group)
    throttled = [t for g in sample.groups if (t := g.cpu.throttled) is not None]
    stalls = [s for g in sample.groups if (s := g.pressure.get("memory_full")) is not None]
    return ResourceUse(
        saturation={
            "throttled": max(throttled, default=None),
            "memory_stall": max(stalls, default=None),
        },
        errors={
            "oom_kill": ErrorCount(sample.oom_kills, sample.oom_kills_increase),
            "fork_refused": ErrorCount(sample.refused_forks, sample.refused_forks_increase),
        },
        devices=devices,
    )


def nearest(groups: Iterable[Group], most: int) -> tuple[Group, ...]:
    """
    Choose the groups that use most, of their limits or of the host.

    Args:
        groups: All groups.
        most: How many.

    Returns:
        The groups, those nearest to a limit first, then by CPU time.

    """

    def use(group: Group) -> tuple[float, float, int]:
        shares = (
            ratio(group.cpu.used, group.cpu.quota),
            ratio(group.memory.held, group.memory.limit),
        )
        near = max((s for s in shares if s is not None), default=0.0)
        return near, group.cpu.used or 0.0, group.memory.current or 0

    return tuple(sorted(groups, key=use, reverse=True)[:most])


def _named(groups: tuple[Group, ...]) -> dict[str, Group]:
    """Give each group a name of its own; of equal names, all but the first tell their path."""
    names: dict[str, Group] = {}
    for group in groups:
        name = group.identity.name
        names[name if name not in names else group.path.strip("/")] = group
    return names


def _cpu(facts: Facts, group: Group) -> DeviceUse:
    """Tell a group's use of CPU time."""
    host = facts.sample(CpuSample)
    most = group.cpu.quota or (float(host.online) if host and host.online else None)
    return DeviceUse(
        utilization=Distribution(ratio(group.cpu.used, most)),
        saturation={
            "throttled": group.cpu.throttled,
            "cpu_stall": group.pressure.get("cpu_some"),
        },
    )


def _memory(facts: Facts, group: Group) -> DeviceUse:
    """Tell a group's use of memory."""
    host = facts.sample(MemorySample)
    most = [m for m in (group.memory.limit, host.total_bytes if host else None) if m]
    return DeviceUse(
        utilization=Distribution(ratio(group.memory.working_set, min(most, default=None))),
        saturation={"memory_stall": group.pressure.get("memory_full")},
    )
