"""How good a diagnosis is: culprit, cause, advice and score against what a scenario says."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.model import Anomaly, Assessment, Culprit
from tests.faults.scenario import Fault, Scenario


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    How good a diagnosis was.

    Attributes:
        named: Whether the right one was named first; None when nobody has to be.
        accused: Whom it named first.
        rank: Place of the right cause among the hypotheses; None when it is not among them.
        believed: The hypothesis it ranked first.
        advised: Whether the right advice was given; None when none has to be.
        advice: Ids of the advice that was given.
        score: The score.
        fell: Whether it fell as far as it had to.
        values: Rule that fired to its value, in words.

    """

    named: bool | None
    accused: str | None
    rank: int | None
    believed: str | None
    advised: bool | None
    advice: tuple[str, ...]
    score: float | None
    fell: bool
    values: dict[str, str]


def active(assessment: Assessment) -> frozenset[str]:
    """
    Give the rules that fire.

    Args:
        assessment: The judgment.

    Returns:
        Their ids.

    """
    return frozenset(a.rule for a in assessment.anomalies)


def judge(scenario: Scenario, fault: Fault, assessment: Assessment) -> Verdict:
    """
    Hold a diagnosis against what a scenario says.

    Args:
        scenario: What must come of the fault.
        fault: What became known only with it.
        assessment: The diagnosis.

    Returns:
        How good it was.

    """
    first = _accused(scenario, assessment)
    causes = [h.id for h in assessment.hypotheses]
    advice = tuple(r.id for r in assessment.recommendations)
    score = assessment.health_score
    return Verdict(
        named=None if scenario.culprit is None else _right(scenario, fault, first),
        accused=None if first is None else f"{first.kind} {first.name} ({first.id})",
        rank=causes.index(scenario.cause) + 1 if scenario.cause in causes else None,
        believed=next(iter(causes), None),
        advised=_advised(scenario, advice, assessment.verdict),
        advice=advice,
        score=score,
        fell=score is not None and score < scenario.score_below,
        values={a.rule: _told(a) for a in assessment.anomalies},
    )


def _accused(scenario: Scenario, assessment: Assessment) -> Culprit | None:
    """Give whom the worst of the expected findings that names anybody of that kind names first."""
    rules = scenario.expect.union(*scenario.any_of)
    kind = scenario.culprit[0] if scenario.culprit else None
    found = (c for a in assessment.anomalies if a.rule in rules for c in a.culprits)
    return next((c for c in found if kind is None or c.kind == kind), None)


def _right(scenario: Scenario, fault: Fault, accused: Culprit | None) -> bool:
    """Tell whether the right one is accused, by name and where it is known by pid."""
    if accused is None or scenario.culprit is None:
        return False
    pids = (accused.id or "").split(",")
    # Of many processes of one name only some are listed.
    known = fault.pid is None or str(fault.pid) in pids or "…" in pids
    return known and accused.name.startswith(fault.culprit or scenario.culprit[1])


def _advised(scenario: Scenario, given: tuple[str, ...], verdict: str) -> bool | None:
    """Tell whether the right thing to do is said; None when nothing has to be."""
    if scenario.advice is not None:
        return any(item.startswith(scenario.advice) for item in given)
    return None if scenario.step is None else f" Next: {scenario.step}" in verdict


def _told(anomaly: Anomaly) -> str:
    """Tell an anomaly's value."""
    return f"{anomaly.value:.3g} {anomaly.unit}"
