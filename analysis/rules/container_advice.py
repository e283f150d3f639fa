"""Advice on control groups: wider limits, where the host has room for them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable

from analysis.advice import investigate
from analysis.model import Evidence, Facts, Recommendation, Signal
from analysis.text import size
from collectors.cgroup import Group
from collectors.container import ContainerSample
from collectors.cpu import CpuSample
from collectors.memory import MemorySample

_MIB = 1 << 20
_MORE = 1.25
_SET = "systemctl set-property"


def raise_cpu(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise a wider CPU quota for a unit, or to look at a container's.

    Args:
        facts: What is known of the host.
        signal: What the rule saw.

    Yields:
        At most one recommendation.

    """
    group, host = _subject(facts, signal), facts.sample(CpuSample)
    if group is None or group.cpu.quota is None or host is None:
        return
    # As much more as it was held back, in tenths of a core, within the host.
    wanted = math.ceil(group.cpu.quota * (1 + signal.value) * 10) / 10
    proposed = min(wanted, float(host.online))
    if group.identity.runtime != "systemd" or proposed <= group.cpu.quota:
        yield _look(group, "cpu_throttling", "its CPU quota", "cpu.stat cpu.max")
        return
    yield _change(
        group,
        rule="cpu_throttling",
        setting="CPUQuota",
        values=(f"{group.cpu.quota * 100:.0f}%", f"{proposed * 100:.0f}%"),
        why="It runs into its quota while it has work to do; a wider one ends its waiting.",
        risk="It may take the CPU time from other work on this host.",
        evidence=signal.evidence,
    )


def raise_memory(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise a wider memory limit for a unit, or to look at a container's.

    Args:
        facts: What is known of the host.
        signal: What the rule saw.

    Yields:
        At most one recommendation.

    """
    group = _subject(facts, signal)
    if group is not None and group.memory.limit is not None:
        yield _wider(facts, signal, group, "MemoryMax", group.memory.limit)


def relieve_memory(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise a wider limit for a unit that stalls, or to look at a container's.

    Args:
        facts: What is known of the host.
        signal: What the rule saw.

    Yields:
        At most one recommendation, for the limit that is met first: the one that
        slows the group down where it is lower than the one that kills.

    """
    group = _subject(facts, signal)
    if group is None:
        return
    high, limit = group.memory.high, group.memory.limit
    if high is not None and (limit is None or high < limit):
        yield _wider(facts, signal, group, "MemoryHigh", high)
    else:
        yield from raise_memory(facts, signal)


def _wider(facts: Facts, signal: Signal, group: Group, setting: str, limit: int) -> Recommendation:
    """Advise a quarter more memory where that is at most half of what the host has left."""
    host = facts.sample(MemorySample)
    proposed = math.ceil(limit * _MORE / _MIB) * _MIB
    room = host.available_bytes if host and host.available_bytes is not None else 0
    if group.identity.runtime != "systemd" or proposed - limit > room / 2:
        return _look(group, "container_memory", "its memory", "memory.stat memory.events")
    return _change(
        group,
        rule="container_memory",
        setting=setting,
        values=(str(limit), str(proposed)),
        why=f"It needs more than {size(limit)}; the host has {size(room)} available.",
        risk="If it leaks, it will fill the wider limit as well.",
        evidence=signal.evidence,
    )


def _subject(facts: Facts, signal: Signal) -> Group | None:
    """Find the group that the signal is about."""
    sample = facts.sample(ContainerSample)
    path = signal.culprits[0].id if signal.culprits else None
    return next((g for g in sample.groups if g.path == path), None) if sample else None


def _change(
    group: Group,
    *,
    rule: str,
    setting: str,
    values: tuple[str, str],
    why: str,
    risk: str,
    evidence: tuple[Evidence, ...],
) -> Recommendation:
    """Advise another value of a unit's setting."""
    unit = shlex.quote(group.path.rpartition("/")[2])
    current, proposed = values
    return Recommendation(
        id=f"unit:{group.path}:{setting}",
        kind="tune",
        resource="container",
        title=f"Set {setting} of {group.identity.name} from {current} to {proposed}",
        why=why,
        risk=risk,
        commands=(f"{_SET} --runtime {unit} {setting}={proposed}",),
        persistent=(f"{_SET} {unit} {setting}={proposed}",),
        undo=(f"{_SET} {unit} {setting}={current}",),
        evidence=evidence,
        source="systemd.resource-control(5)",
        addresses=rule,
        current=current,
        proposed=proposed,
    )


def _look(group: Group, rule: str, what: str, files: str) -> Recommendation:
    """Advise to look at a group whose limits are set by its runtime."""
    return investigate(
        f"group:{group.path}:{rule}",
        resource="container",
        rule=rule,
        title=f"Compare what {group.identity.name} needs with {what}",
        why="Its limit is set by whoever starts it, or the host has no room for a wider one: "
        "change it there, or give it less to do.",
        commands=(
            f"find /sys/fs/cgroup -path {shlex.quote('*' + group.path)}",
            f"# in that directory: tail {files}",
        ),
    )
