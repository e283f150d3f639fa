"""Building blocks of recommendations: a sysctl to change, something to look at."""

from __future__ import annotations

from typing import Literal

from analysis.model import Evidence, Facts, Recommendation
from collectors.sysctl import SysctlSample

Direction = Literal["raise", "lower", "set"]


def sysctl(
    facts: Facts,
    name: str,
    proposed: int | str,
    *,
    rule: str,
    resource: str,
    why: str,
    risk: str,
    source: str,
    evidence: tuple[Evidence, ...] = (),
    direction: Direction = "set",
) -> tuple[Recommendation, ...]:
    """
    Advise another value for a sysctl, if it exists here and is not that good already.

    Args:
        facts: What is known of the host.
        name: The sysctl, dotted.
        proposed: The value it should have.
        rule: The rule this answers.
        resource: The resource it helps.
        why: What it will change, and why that helps here.
        risk: What it may break.
        source: Where the advice comes from.
        evidence: Numbers it rests on.
        direction: "raise" and "lower" leave a value alone that is already beyond.

    Returns:
        One recommendation, or none.

    """
    sample = facts.sample(SysctlSample)
    current = None if sample is None else sample.values.get(name)
    if current is None or _good_already(current, str(proposed), direction):
        return ()
    file = "/etc/sysctl.d/90-sysdx.conf"
    return (
        Recommendation(
            id=f"sysctl:{name}",
            kind="tune",
            resource=resource,
            title=f"Set {name} from {current} to {proposed}",
            why=why,
            risk=risk,
            commands=(f"sysctl -w {name}='{proposed}'",),
            persistent=(f"echo '{name} = {proposed}' > {file.replace('sysdx', name)}",),
            undo=(f"sysctl -w {name}='{current}'", f"rm -f {file.replace('sysdx', name)}"),
            evidence=(*evidence, Evidence(name, _number(current), "", f"sysctl {name}")),
            source=source,
            addresses=rule,
            current=current,
            proposed=str(proposed),
            scope="persistent",
        ),
    )


def investigate(
    identity: str,
    *,
    resource: str,
    rule: str,
    title: str,
    why: str,
    commands: tuple[str, ...] = (),
    evidence: tuple[Evidence, ...] = (),
) -> Recommendation:
    """
    Advise to look at something before anything is changed.

    Args:
        identity: Names the action; equal ids are the same advice.
        resource: The resource it helps.
        rule: The rule this answers.
        title: What to do, in one line.
        why: What it will show.
        commands: To do it now; they change nothing.
        evidence: Numbers it rests on.

    Returns:
        The recommendation.

    """
    return Recommendation(
        id=identity,
        kind="investigate",
        resource=resource,
        title=title,
        why=why,
        commands=commands,
        evidence=evidence,
        addresses=rule,
    )


def _good_already(current: str, proposed: str, direction: Direction) -> bool:
    """Tell whether the value in force needs no change."""
    if current.split() == proposed.split():
        return True
    now, then = _number(current), _number(proposed)
    if now is None or then is None:
        return False
    return (direction == "raise" and now >= then) or (direction == "lower" and now <= then)


def _number(text: str) -> float | None:
    """Give the last number of a value such as "4096 131072 6291456", which is its maximum."""
    last = text.split()[-1:] or [""]
    return float(last[0]) if last[0].lstrip("-").isdigit() else None
