"""The one entry point of the analysis: from a sweep to what it means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from analysis import score as scoring
from analysis.model import (
    Anomaly,
    Assessment,
    Deduction,
    Facts,
    Finding,
    Recommendation,
    ResourceUse,
    Rule,
    Severity,
    Signal,
)
from analysis.registry import UseFunction
from analysis.state import Damping, RuleState, State, advance
from analysis.verdict import verdict
from collectors.model import Sweep

# What a mistake in one rule can raise on facts it did not expect: that rule then
# cannot say, and all others still do.
_MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What a sweep is judged by.

    Attributes:
        rules: Enabled rules by id, with the thresholds in force.
        uses: Resource to the function that tells its use.
        damping: How findings become anomalies.
        min_coverage: Below this share of known resources there is no score [ratio].

    """

    rules: Mapping[str, Rule]
    uses: Mapping[str, UseFunction]
    damping: Damping = field(default_factory=Damping)
    min_coverage: float = 0.5


def assess(sweep: Sweep, state: State, policy: Policy) -> tuple[Assessment, State]:
    """
    Judge a sweep.

    Args:
        sweep: What the collectors said.
        state: What is remembered from earlier sweeps.
        policy: Rules, thresholds and damping.

    Returns:
        The judgment, and what to remember for the next sweep.

    """
    facts = Facts(sweep, state.previous)
    signals = {r: _evaluate(rule, facts) for r, rule in policy.rules.items()}
    seen = [(policy.rules[r], s) for r, s in signals.items() if s is not None]
    found = {f.rule.id: f for f in scoring.findings(seen)}
    memories = {
        r: advance(state.rules.get(r, RuleState()), rule, signals[r], found.get(r), sweep,
                   policy.damping)
        for r, rule in policy.rules.items()
    }  # fmt: skip
    active = {r: m.anomaly for r, m in memories.items() if m.anomaly is not None}
    charged = [_charge(policy.rules[r], found.get(r), a) for r, a in active.items()]
    assessment = _conclude(facts, policy, charged, active)
    rules = {r: _word(r, active, signals) for r in policy.rules}
    # Only one earlier sweep is kept, or each would hold the one before it.
    return replace(assessment, rules=rules), State(memories, sweep)


def _evaluate(rule: Rule, facts: Facts) -> Signal | None:
    """Ask one rule."""
    try:
        signal = rule.evaluate(facts)
    except _MISTAKES:
        return None
    return signal if signal is not None and math.isfinite(signal.value) else None


def _word(rule: str, active: Mapping[str, Anomaly], signals: Mapping[str, Signal | None]) -> str:
    """Name a rule's state."""
    if rule in active:
        return "active"
    return "unknown" if signals[rule] is None else "quiet"


def _charge(rule: Rule, finding: Finding | None, anomaly: Anomaly) -> Finding:
    """Price an anomaly; one that is fading still costs what a warning costs, until cleared."""
    if finding is not None:
        return finding
    signal = Signal(anomaly.value, anomaly.message, anomaly.subject)
    cost = scoring.AT_WARNING * scoring.weight(rule.resource)
    return Finding(rule, signal, Severity.WARNING, cost)


def _conclude(
    facts: Facts, policy: Policy, charged: list[Finding], active: Mapping[str, Anomaly]
) -> Assessment:
    """Put score, use, anomalies and advice together."""
    charges = scoring.deductions(charged)
    coverage, known = scoring.coverage(facts.sweep.outcomes.values())
    value = scoring.score(charges) if coverage >= policy.min_coverage else None
    prices = {c.cause: c.points for c in charges}
    anomalies = sorted(active.values(), key=lambda a: _rank(a, prices))
    advice = _recommend(facts, policy, charged, charges)
    return Assessment(
        verdict=verdict(value, scoring.band(value), coverage, anomalies, advice, len(policy.rules)),
        health_score=value,
        coverage=coverage,
        band=scoring.band(value),
        deductions=charges,
        resource_scores={
            r: scoring.score(c for c in charges if c.resource == r) for r in sorted(known)
        },
        resources=_uses(facts, policy),
        anomalies=tuple(anomalies),
        recommendations=advice,
    )


def _rank(anomaly: Anomaly, prices: Mapping[str, float]) -> tuple[bool, float, bool, str]:
    """Order anomalies: critical first, then by what their cause costs."""
    return (
        anomaly.severity is not Severity.CRITICAL,
        -prices.get(anomaly.cause, 0.0),
        not anomaly.culprits,
        anomaly.rule,
    )


def _uses(facts: Facts, policy: Policy) -> dict[str, ResourceUse]:
    """Tell the use of every resource that is known."""
    uses: dict[str, ResourceUse] = {}
    for resource, function in policy.uses.items():
        try:
            use = function(facts)
        except _MISTAKES:
            use = None
        if use is not None:
            uses[resource] = use
    return uses


def _recommend(
    facts: Facts, policy: Policy, charged: Iterable[Finding], charges: tuple[Deduction, ...]
) -> tuple[Recommendation, ...]:
    """Gather advice, dearest deduction first; of advice with one id the first is kept."""
    order = {c.cause: number for number, c in enumerate(charges)}
    advice: dict[str, Recommendation] = {}
    for finding in sorted(charged, key=lambda f: (order[f.rule.cause], -f.points, f.rule.id)):
        for item in _advise(policy.rules[finding.rule.id], facts, finding.signal):
            advice.setdefault(item.id, replace(item, addresses=finding.rule.id))
    return tuple(advice.values())


def _advise(rule: Rule, facts: Facts, signal: Signal) -> tuple[Recommendation, ...]:
    """Ask one rule for advice."""
    if rule.advise is None:
        return ()
    try:
        return tuple(rule.advise(facts, signal))
    except _MISTAKES:
        return ()
