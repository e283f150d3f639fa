"""The health score: points for findings, one charge per cause, and what is known at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from analysis.model import RESOURCES, Deduction, Finding, Kind, Rule, Scale, Severity, Signal
from collectors.model import Cause, Outcome, Status

FULL = 100.0
AT_WARNING = 5.0
AT_CRITICAL = 25.0
MOST = 45.0
# The distance beyond the warning threshold at which a finding costs most, as a
# multiple of the distance between warning and critical.
FARTHEST = 10.0

HEALTHY, DEGRADED = 80.0, 50.0

# CPU and memory carry everything else; a container is one tenant of many.
WEIGHTS: Mapping[str, float] = {
    "cpu": 1.5,
    "memory": 1.5,
    "container": 1.2,
    "disk": 1.0,
    "network": 1.0,
    "filesystem": 1.0,
    "gpu": 1.0,
}
OTHER_WEIGHT = 0.5


def weight(resource: str) -> float:
    """
    Return how much a resource counts.

    Args:
        resource: One of RESOURCES.

    Returns:
        Its weight.

    """
    return WEIGHTS.get(resource, OTHER_WEIGHT)


def points(value: float, rule: Rule) -> float:
    """
    Price a signal before its resource's weight.

    Args:
        value: The signal, in the rule's unit.
        rule: Its thresholds and scale.

    Returns:
        0 below the warning threshold; 5 at it, 25 at the critical one, 45 at ten
        times the critical excess and beyond; monotone and continuous from 5 on.

    """
    if not value >= rule.warning:
        return 0.0
    if rule.critical is None:
        return AT_WARNING
    excess = (value - rule.warning) / (rule.critical - rule.warning)
    if excess <= 1:
        part = _position(value, rule.warning, rule.critical, rule.scale, excess)
        return AT_WARNING + part * (AT_CRITICAL - AT_WARNING)
    logarithmic = rule.scale is Scale.LOG
    far = math.log(excess, FARTHEST) if logarithmic else (excess - 1) / (FARTHEST - 1)
    return min(AT_CRITICAL + far * (MOST - AT_CRITICAL), MOST)


def _position(value: float, low: float, high: float, scale: Scale, linear: float) -> float:
    """Give a value's place between the two thresholds, from 0 to 1."""
    if scale is Scale.LINEAR or low <= 0:
        return linear
    return math.log(value / low) / math.log(high / low)


def findings(signals: Iterable[tuple[Rule, Signal]]) -> list[Finding]:
    """
    Hold signals against their thresholds.

    A busy resource is no failure: a utilization signal is at most a warning and
    costs what a warning costs, unless saturation or errors of the same resource
    were found as well.

    Args:
        signals: Rules with what they saw.

    Returns:
        One finding per signal that reached its warning threshold.

    """
    fired = [(r, s) for r, s in signals if s.value >= r.warning]
    suffering = {r.resource for r, _ in fired if r.kind in (Kind.SATURATION, Kind.ERRORS)}
    return [_finding(rule, signal, rule.resource in suffering) for rule, signal in fired]


def _finding(rule: Rule, signal: Signal, suffering: bool) -> Finding:
    """Price one signal."""
    cost = points(signal.value, rule)
    critical = rule.critical is not None and signal.value >= rule.critical
    if rule.kind is Kind.UTILIZATION and not suffering:
        critical, cost = False, min(cost, AT_WARNING)
    cost *= weight(rule.resource)
    if critical:
        cost = max(cost, AT_CRITICAL)
    return Finding(rule, signal, Severity.CRITICAL if critical else Severity.WARNING, cost)


def fading(rule: Rule, signal: Signal) -> Finding:
    """
    Price a finding that is held although its signal has fallen below the threshold.

    Args:
        rule: The rule.
        signal: What it last found.

    Returns:
        A warning at the price of one that has just reached its threshold.

    """
    return Finding(rule, signal, Severity.WARNING, AT_WARNING * weight(rule.resource))


def order(finding: Finding) -> tuple[bool, float, bool, str]:
    """
    Tell in which place a finding of a cause is told.

    Args:
        finding: The finding.

    Returns:
        A key to sort by: first what was lost, be it time or work, then how busy
        it was and rates of what the kernel does about it; of these the dearest,
        and of equal ones the one that names a culprit.

    """
    rule = finding.rule
    rate = rule.scale is Scale.LOG and rule.kind is not Kind.ERRORS
    explains = rate or rule.kind is Kind.UTILIZATION
    return explains, -finding.points, not finding.signal.culprits, rule.id


def deductions(charged: Iterable[Finding]) -> tuple[Deduction, ...]:
    """
    Write out what is charged.

    Args:
        charged: The findings that are, as `analysis.charges` chooses them.

    Returns:
        One deduction per cause, dearest first.

    """
    charges = (
        Deduction(f.rule.cause, f.rule.resource, round(f.points, 1), f.rule.id) for f in charged
    )
    return tuple(sorted(charges, key=lambda d: (-d.points, d.cause)))


def coverage(
    outcomes: Iterable[Outcome], expected: frozenset[str] = frozenset()
) -> tuple[float, frozenset[str]]:
    """
    Tell how much of the host is known.

    Args:
        outcomes: All collectors' turns.
        expected: Resources that have essential collectors; one whose collectors
            were all switched off is unknown.

    Returns:
        The weighted share of resources whose essential collectors answered
        [ratio], and the names of those. What this host does not have is not asked for.

    """
    turns = [o for o in outcomes if o.essential and o.category in RESOURCES]
    essential: dict[str, list[Outcome]] = {r: [] for r in expected - {o.category for o in turns}}
    for outcome in turns:
        if not _absent(outcome):
            essential.setdefault(outcome.category, []).append(outcome)
    known = frozenset(r for r, asked in essential.items() if asked and all(map(_answered, asked)))
    whole = sum(weight(r) for r in essential)
    return (sum(weight(r) for r in known) / whole if whole else 0.0), known


def _absent(outcome: Outcome) -> bool:
    """Tell whether this host does not have what the collector reads."""
    return outcome.status is Status.UNAVAILABLE and outcome.cause is Cause.ABSENT


def _answered(outcome: Outcome) -> bool:
    """Tell whether a collector brought a sample."""
    return outcome.status in (Status.OK, Status.PARTIAL)


def score(charges: Iterable[Deduction]) -> float:
    """
    Subtract all deductions from a hundred.

    Args:
        charges: The deductions.

    Returns:
        The score, 0 to 100.

    """
    return max(round(FULL - sum(c.points for c in charges), 1), 0.0)


def band(value: float | None) -> str:
    """
    Name a score's band.

    Args:
        value: The score; None when unknown.

    Returns:
        healthy, degraded, critical or unknown.

    """
    if value is None:
        return "unknown"
    if value >= HEALTHY:
        return "healthy"
    return "degraded" if value >= DEGRADED else "critical"
