"""The one entry point of the analysis: from a sweep to what it means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from analysis import score as scoring
from analysis.charges import charged
from analysis.diagnosis import Case, diagnose, links
from analysis.model import (
    Assessment,
    Deduction,
    Facts,
    Finding,
    Recommendation,
    Rule,
    Severity,
    Signal,
)
from analysis.pattern import Pattern
from analysis.registry import UseFunction
from analysis.state import Damping, Held, RuleState, State, advance
from analysis.use_model import ResourceUse
from analysis.verdict import Told, verdict
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
        patterns: Causes that are known.
        damping: How findings become anomalies.
        min_coverage: Below this share of known resources there is no score [ratio].
        expected: Resources that are unknown when no collector tells of them.

    """

    rules: Mapping[str, Rule]
    uses: Mapping[str, UseFunction]
    damping: Damping = field(default_factory=Damping)
    min_coverage: float = 0.5
    expected: frozenset[str] = frozenset()
    patterns: tuple[Pattern, ...] = ()


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
    active = {r: m.held for r, m in memories.items() if m.held is not None}
    rules = {r: _word(r, active, signals) for r in policy.rules}
    # Only one earlier sweep is kept, or each would hold the one before it.
    return _conclude(facts, policy, tuple(active.values()), rules), State(memories, sweep)


def _evaluate(rule: Rule, facts: Facts) -> Signal | None:
    """Ask one rule."""
    try:
        signal = rule.evaluate(facts)
    except _MISTAKES:
        return None
    return signal if signal is not None and math.isfinite(signal.value) else None


def _word(rule: str, active: Mapping[str, Held], signals: Mapping[str, Signal | None]) -> str:
    """Name a rule's state."""
    if rule in active:
        return "active"
    return "unknown" if signals[rule] is None else "quiet"


def _conclude(
    facts: Facts, policy: Policy, active: tuple[Held, ...], rules: Mapping[str, str]
) -> Assessment:
    """Put score, use, anomalies, diagnosis and advice together."""
    sweep = facts.sweep
    found = [held.finding for held in active]
    charges = scoring.deductions(charged(found, links(policy.patterns)))
    coverage, known = scoring.coverage(sweep.outcomes.values(), policy.expected)
    value = scoring.score(charges) if coverage >= policy.min_coverage else None
    band = scoring.band(value)
    places = _places(charges, found)
    anomalies = [h.anomaly for h in sorted(active, key=lambda h: _rank(h.finding, places))]
    points = {f.rule.id: f.points for f in found}
    hypotheses = diagnose(Case(facts, anomalies, rules, points), policy.patterns)
    advice = _recommend(facts, found, places)
    looked = sum(state != "unknown" for state in rules.values())
    told = Told(value, band, coverage, looked, sweep.started_at)
    return Assessment(
        verdict=verdict(told, anomalies, advice, hypotheses),
        health_score=value,
        coverage=coverage,
        band=band,
        deductions=charges,
        hypotheses=hypotheses,
        resource_scores={
            r: scoring.score(c for c in charges if c.resource == r) for r in sorted(known)
        },
        resources=_uses(facts, policy),
        anomalies=tuple(anomalies),
        recommendations=advice,
        rules=rules,
    )


def _places(charges: Iterable[Deduction], found: Iterable[Finding]) -> dict[str, int]:
    """Order cause groups: those that are charged, then consequences by their dearest finding."""
    dearest = sorted(found, key=lambda f: (-f.points, scoring.order(f)))
    causes = [*(c.cause for c in charges), *(f.rule.cause for f in dearest)]
    return {cause: number for number, cause in enumerate(dict.fromkeys(causes))}


def _rank(finding: Finding, places: Mapping[str, int]) -> tuple[object, ...]:
    """Order findings: critical first, then by what their cause costs, then by their own price."""
    cause = places[finding.rule.cause]
    return finding.severity is not Severity.CRITICAL, cause, *scoring.order(finding)


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
    facts: Facts, charged: Iterable[Finding], places: Mapping[str, int]
) -> tuple[Recommendation, ...]:
    """Gather advice, dearest deduction first; of advice with one id the first is kept."""
    advice: dict[str, Recommendation] = {}
    for finding in sorted(charged, key=lambda f: (places[f.rule.cause], *scoring.order(f))):
        for item in _advise(finding, facts):
            advice.setdefault(item.id, item)
    return tuple(advice.values())


def _advise(finding: Finding, facts: Facts) -> tuple[Recommendation, ...]:
    """Ask one rule for advice; what it rests on is the finding, unless it says more."""
    rule, signal = finding.rule, finding.signal
    if rule.advise is None:
        return ()
    try:
        advice = tuple(rule.advise(facts, signal))
    except _MISTAKES:
        return ()
    return tuple(
        replace(
            item,
            addresses=rule.id,
            evidence=item.evidence or signal.evidence,
            source=item.source or rule.source,
        )
        for item in advice
    )
