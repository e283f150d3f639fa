"""Whom the kernel killed for want of memory, and whose limit it was: from three sources."""

from __future__ import annotations

import re
from collections.abc import Iterator

from analysis.culprits import by_memory
from analysis.model import Culprit, Facts
from analysis.rules.groups import group_culprit, group_kills
from analysis.text import size
from collectors.cgroup import Group
from collectors.container import ContainerSample
from collectors.kernel_log import KernelLogSample

_MOST = 5
# "Memory cgroup out of memory: Killed process 12 (name) total-vm:1kB, anon-rss:1kB, ...",
# mm/oom_kill.c; a name may hold anything but its own end.
_KILLED = re.compile(
    r"(?P<group>Memory cgroup out of memory|Out of memory)[^:]*: Kill(?:ed)? process (?P<pid>\d+) "
    r"\((?P<name>.*?)\)(?=,? total-vm|$)(?:.*?anon-rss:(?P<rss>\d+)kB)?"
)


def victims(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the programs that were killed.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, with the memory each had, newest last; from the probe oomkill,
        or else the kernel's log; empty where neither tells.

    """
    return tuple(_from_probe(facts))[:_MOST] or tuple(_from_log(facts))[-_MOST:]


def full_groups(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the groups in which programs were killed, those at their own limit.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by kills; empty where the host's own memory ran out.

    """
    return tuple(
        group_culprit(group, float(kills), "kills")
        for group, kills in _kills(facts)
        if group.memory.limit is not None
    )[:_MOST]


def by_oom(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name whom the kernel killed, and who is to blame for it.

    Args:
        facts: What is known of the host.

    Returns:
        The killed, then the groups at their limit; where no group was, the processes
        that have most of the host's memory now.

    """
    groups = full_groups(facts)
    return (*victims(facts), *(groups or by_memory(facts)))


def told(facts: Facts) -> str:
    """
    Tell who was killed and where, as the end of a sentence.

    Args:
        facts: What is known of the host.

    Returns:
        Such as ": app (7), in a.service at its limit of 64 MiB"; empty when unknown.

    """
    killed = ", ".join(f"{v.name} ({v.id})" if v.id else v.name for v in victims(facts)[-3:])
    full = next((g for g, _ in _kills(facts) if g.memory.limit is not None), None)
    where = f" in {full.identity.name} at its limit of {size(full.memory.limit)}" if full else ""
    return f": {killed}{',' if where else ''}{where}" if killed else where and f", {where.lstrip()}"


def _kills(facts: Facts) -> list[tuple[Group, int]]:
    """List groups with kills."""
    sample = facts.sample(ContainerSample)
    return group_kills(sample, facts.before(ContainerSample)) if sample else []


def _from_probe(facts: Facts) -> Iterator[Culprit]:
    """Name whom the probe saw being killed, with who wanted the memory."""
    sample = facts.probe("oomkill")
    for row in sample.records if sample else ():
        detail = f"killed; {row['trigger']} ({row['trigger_pid']}) wanted memory"
        had = row.get("anonymous_bytes")
        yield Culprit("victim", row["comm"], str(row["pid"]), had, "bytes", None, detail)


def _from_log(facts: Facts) -> Iterator[Culprit]:
    """Name whom the kernel's log says it killed: by message, or by name only."""
    sample = facts.sample(KernelLogSample)
    if sample is None:
        return
    messages = [m for m in sample.messages if m.new and m.error == "oom_kill"]
    found = [match for m in messages if (match := _KILLED.match(m.text))]
    named = tuple(match["name"] for match in found)
    # The newest messages only are kept; names of all are, up to their first bracket.
    for subject in sample.subjects:
        if subject.error == "oom_kill" and not any(n.startswith(subject.name) for n in named):
            yield Culprit("victim", subject.name, None, subject.count, "kills", None, "killed")
    for match in found:
        had = int(match["rss"]) * 1024 if match["rss"] else None
        where = "killed, its group at its limit" if "group" in match["group"] else "killed"
        yield Culprit("victim", match["name"], match["pid"], had, "bytes", None, where)
