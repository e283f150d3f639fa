"""What rules on control groups share: the worst of them, who was killed in them, their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from analysis.model import Culprit, Evidence, Facts, Signal
from collectors.cgroup import Group
from collectors.container import ContainerSample

MOST_CULPRITS = 5


def worst_group(
    facts: Facts,
    value: Callable[[Group], float | None],
    sentence: Callable[[Group, float], str],
    evidence: Callable[[Group, float], Iterable[Evidence]],
    hidden: Callable[[Group], bool] = lambda _: False,
) -> Signal | None:
    """
    Look at the group with the highest value.

    Args:
        facts: What is known of the host.
        value: Reads a group; None when it says nothing.
        sentence: Describes the worst group.
        evidence: Gives the numbers behind it.
        hidden: Tells whether a group would say something but could not be read.

    Returns:
        Its signal; 0 when none is limited and could be read; None when all that
        would count are hidden.

    """
    sample = facts.sample(ContainerSample)
    if sample is None:
        return None
    known = [(v, g) for g in sample.groups if (v := value(g)) is not None]
    if not known and any(map(hidden, sample.groups)):
        return None
    if not known:
        return Signal(0.0, "No control group is limited in this respect and was active")
    # Of a group and the one around it, the inner one tells more.
    known.sort(key=lambda pair: (-pair[0], -pair[1].path.count("/"), pair[1].path))
    worst, group = known[0]
    return Signal(
        value=worst,
        message=sentence(group, worst),
        subject=group.identity.name,
        evidence=tuple(evidence(group, worst)),
        culprits=tuple(group_culprit(g, v, "ratio") for v, g in known[:MOST_CULPRITS] if v > 0),
    )


def group_culprit(group: Group, value: float | None, unit: str) -> Culprit:
    """
    Name a group as the culprit.

    Args:
        group: The group.
        value: Its part.
        unit: Unit of the part.

    Returns:
        The culprit.

    """
    what = group.identity
    detail = ", ".join(d for d in (what.runtime, what.kind, what.pod_uid) if d)
    return Culprit("cgroup", what.name, group.path, value, unit, None, detail)


def group_kills(sample: ContainerSample, before: ContainerSample | None) -> list[tuple[Group, int]]:
    """
    List the innermost groups with kills since the sweep before.

    Args:
        sample: The groups now.
        before: The groups in the sweep before; None for the first.

    Returns:
        Groups with their kills, most first.

    """
    earlier = {g.path: g.memory.oom_kills for g in before.groups} if before else {}
    found = []
    for group in sample.groups:
        kills, step = group.memory.oom_kills, group.memory.oom_kills_increase or 0
        old = earlier.get(group.path)
        if kills is not None and old is not None:
            # A group that was made anew counts from 0 again.
            step = kills - old if kills >= old else kills
        if step > 0:
            found.append((group, step))
    inner = [(g, k) for g, k in found if not any(o.path.startswith(g.path + "/") for o, _ in found)]
    return sorted(inner, key=lambda pair: (-pair[1], pair[0].path))
