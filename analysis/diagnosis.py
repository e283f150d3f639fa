"""The differential diagnosis: which causes may stand behind the anomalies, and how likely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from analysis.hypothesis import Bearing, Ground, Hypothesis
from analysis.model import Anomaly, Culprit, Facts, Severity
from analysis.pattern import Clue, Pattern

# What a clue weighs: a cause that is seen, or what must hold, counts like two hints.
_WEIGHTS = {Bearing.SEEN: 2.0, Bearing.MUST: 2.0, Bearing.FOR: 1.0, Bearing.AGAINST: 2.0}
# What is known of a finding that no pattern knows: it is there, and no more.
_UNKNOWN_CAUSE = 0.5
# A finding that an earlier hypothesis covers counts so much for a later one.
_COVERED = 0.25

_MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Case:
    """
    What there is to explain.

    Attributes:
        facts: What is known of the host.
        anomalies: Active ones, worst first.
        rules: Every enabled rule to "active", "quiet" or "unknown".
        points: Active rule to what it would cost alone [points].

    """

    facts: Facts
    anomalies: Sequence[Anomaly]
    rules: Mapping[str, str]
    points: Mapping[str, float]


def diagnose(case: Case, patterns: Iterable[Pattern]) -> tuple[Hypothesis, ...]:
    """
    Rank what may be behind the anomalies.

    Args:
        case: What there is to explain.
        patterns: Known causes.

    Returns:
        Hypotheses, most likely first: each next one is that which explains, times its
        confidence, most of what those before it left. Every anomaly is seen or
        explained in at least one of them.

    """
    possible = [h for p in patterns if (h := _hypothesis(case, p)) is not None]
    covered = {rule for h in possible for rule in (*h.seen, *h.explains)}
    possible += _unexplained(case, covered)
    return _ranked(possible, case)


def links(patterns: Iterable[Pattern]) -> dict[str, frozenset[str]]:
    """
    Gather which rules fire as consequences of which.

    Args:
        patterns: Known causes.

    Returns:
        Rule that shows a cause itself -> rules that may be its consequences.

    """
    found: dict[str, frozenset[str]] = {}
    for pattern in patterns:
        for rule in pattern.seen.rules:
            found[rule] = found.get(rule, frozenset()) | frozenset(pattern.explains)
    return found


def _hypothesis(case: Case, pattern: Pattern) -> Hypothesis | None:
    """Hold a pattern against the case; None unless it is seen and all holds that must."""
    seen = tuple(a.rule for a in case.anomalies if a.rule in pattern.seen.rules)
    if not seen:
        return None
    grounds = tuple(_grounds(case, pattern))
    if any(g.bearing is Bearing.MUST and not g.holds for g in grounds):
        return None
    active = tuple(a.rule for a in case.anomalies)
    return Hypothesis(
        id=pattern.id,
        resource=pattern.resource,
        title=pattern.title,
        confidence=confidence(grounds),
        grounds=grounds,
        seen=seen,
        explains=tuple(r for r in active if r in pattern.explains and r not in seen),
        culprits=_culprits(case, seen),
    )


def _grounds(case: Case, pattern: Pattern) -> Iterable[Ground]:
    """Look at every clue of a pattern."""
    clues = chain(
        [(Bearing.SEEN, pattern.seen)],
        ((Bearing.MUST, clue) for clue in pattern.must),
        ((Bearing.FOR, clue) for clue in pattern.speaks_for),
        ((Bearing.AGAINST, clue) for clue in pattern.speaks_against),
    )
    return (Ground(bearing, clue.text, holds(clue, case)) for bearing, clue in clues)


def holds(clue: Clue, case: Case) -> bool | None:
    """
    Look at a clue.

    Args:
        clue: The clue.
        case: What there is to explain.

    Returns:
        Whether it holds; None when no rule could say and the facts cannot either.

    """
    states = [case.rules.get(rule, "unknown") for rule in clue.rules]
    if "active" in states:
        return True
    told = _fact(clue, case.facts)
    return False if told is None and "quiet" in states else told


def _fact(clue: Clue, facts: Facts) -> bool | None:
    """Ask the facts; a mistake in the question is no answer."""
    try:
        return None if clue.fact is None else clue.fact(facts)
    except _MISTAKES:
        return None


def confidence(grounds: Iterable[Ground]) -> float:
    """
    Weigh the clues.

    Args:
        grounds: All clues of a hypothesis.

    Returns:
        Weight of those that speak for it by the weight of those that do or might have,
        and of those that speak against it [ratio]. What nothing could tell is left out.

    """
    pro = contra = 0.0
    for ground in grounds:
        weight = _WEIGHTS[ground.bearing]
        if ground.bearing is Bearing.AGAINST:
            contra += weight if ground.holds else 0.0
        elif ground.holds is not None:
            pro, contra = (pro + weight, contra) if ground.holds else (pro, contra + weight)
    return round(pro / (pro + contra), 2) if pro else 0.0


def _culprits(case: Case, rules: Iterable[str]) -> tuple[Culprit, ...]:
    """Take the culprits of the worst finding that names any."""
    return next((a.culprits for a in case.anomalies if a.rule in rules and a.culprits), ())


def _unexplained(case: Case, covered: set[str]) -> list[Hypothesis]:
    """Turn findings that no pattern knows into hypotheses of their own, one per cause group."""
    groups: dict[str, list[Anomaly]] = {}
    for anomaly in case.anomalies:
        if anomaly.rule not in covered:
            groups.setdefault(anomaly.cause, []).append(anomaly)
    return [
        Hypothesis(
            id=cause,
            resource=group[0].resource,
            title=_clause(group[0].explanation),
            confidence=_UNKNOWN_CAUSE,
            grounds=(Ground(Bearing.SEEN, group[0].message, True),),
            seen=tuple(a.rule for a in group),
            culprits=_culprits(case, [a.rule for a in group]),
            known=False,
        )
        for cause, group in groups.items()
    ]


def _clause(text: str) -> str:
    """Make the first sentence of an explanation a clause for the middle of a sentence."""
    first = text.split(". ", maxsplit=1)[0].rstrip(".")
    return first[:1].lower() + first[1:] if first[1:2].islower() or first[1:2] == " " else first


def _ranked(possible: list[Hypothesis], case: Case) -> tuple[Hypothesis, ...]:
    """Order hypotheses by what they explain that is not explained yet."""
    ranked: list[Hypothesis] = []
    covered: set[str] = set()
    while possible:
        best = max(possible, key=lambda h: _weight(h, case, covered))
        possible.remove(best)
        ranked.append(best)
        covered |= {*best.seen, *best.explains}
    return tuple(ranked)


def _weight(
    hypothesis: Hypothesis, case: Case, covered: set[str]
) -> tuple[bool, float, float, str]:
    """Weigh what a hypothesis explains, the critical first, by how sure it is."""
    rules = {*hypothesis.seen, *hypothesis.explains}
    left = [a for a in case.anomalies if a.rule in rules - covered]
    critical = any(a.severity is Severity.CRITICAL for a in left)
    explained = sum(case.points[r] * (_COVERED if r in covered else 1.0) for r in sorted(rules))
    weighed = round(hypothesis.confidence * explained, 6)
    return critical, weighed, hypothesis.confidence, hypothesis.id
