"""The laws of the health score."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import score as scoring
from analysis.assess import Policy, assess
from analysis.model import RESOURCES, Facts, Kind, Rule, Scale, Severity, Signal
from analysis.state import AT_ONCE, State
from collectors.model import Cause, Outcome, Status, Sweep


def rule(name="r", **changes):
    base = Rule(
        id=name, resource="disk", cause=name, kind=Kind.SATURATION, unit="ratio", warning=1.0,
        critical=2.0, scale=Scale.LINEAR, source="", gate="", explanation="", next_steps=(),
        evaluate=lambda _: None,
    )  # fmt: skip
    return replace(base, **changes)


def sweep(*outcomes, at=0.0):
    return Sweep("quick", at, at, 10.0, 10.0, outcomes={o.collector: o for o in outcomes})


def outcome(category, status=Status.OK, cause=None, essential=True):
    return Outcome(category, category, "quick", essential, status, None, cause, 0.0, 0.0, object())


def seeing(value):
    return lambda _: None if value is None else Signal(value, "message")


def policy(values, rules):
    pairs = zip(rules, values, strict=True)
    return Policy({r.id: replace(r, evaluate=seeing(v)) for r, v in pairs}, {}, AT_ONCE, 0.5)


KNOWN = (outcome("cpu"), outcome("memory"))


def judge(values, rules, outcomes=KNOWN):
    return assess(sweep(*outcomes), State(), policy(values, rules))[0]


@pytest.mark.parametrize(
    ("value", "points"), [(0.99, 0), (1.0, 5), (1.5, 15), (2.0, 25), (11.0, 45), (1e9, 45)]
)
def test_points_follow_the_thresholds(value, points):
    assert scoring.points(value, rule()) == pytest.approx(points)


@pytest.mark.parametrize(("value", "points"), [(10, 5), (100, 15), (1000, 25), (9910, 45)])
def test_a_rate_is_priced_by_its_logarithm(value, points):
    logarithmic = rule(warning=10.0, critical=1000.0, scale=Scale.LOG)
    assert scoring.points(value, logarithmic) == pytest.approx(points)


def test_not_a_number_costs_nothing_and_finds_nothing():
    assert scoring.points(float("nan"), rule()) == 0.0
    assert judge([float("nan")], [rule()]).rules == {"r": "unknown"}


RULES = [
    rule("a", resource="cpu", cause="one"),
    rule("b", resource="cpu", cause="one", kind=Kind.UTILIZATION),
    rule("c", resource="memory", cause="two", critical=None),
    rule("d", resource="kernel", cause="three", warning=10.0, critical=100.0, scale=Scale.LOG),
    rule("e", resource="filesystem", cause="four", kind=Kind.CAPACITY),
]
VALUES = st.lists(st.floats(0, 1e4, allow_nan=False), min_size=len(RULES), max_size=len(RULES))


@given(VALUES, st.integers(0, len(RULES) - 1), st.floats(0, 1e4))
def test_worse_input_never_raises_the_score(values, index, more):
    worse = [v + more if i == index else v for i, v in enumerate(values)]
    better = judge(values, RULES).health_score
    assert judge(worse, RULES).health_score <= better


@given(VALUES, st.permutations(range(len(RULES))))
def test_order_does_not_matter(values, order):
    one = judge(values, RULES)
    other = judge([values[i] for i in order], [RULES[i] for i in order])
    assert (one.health_score, one.deductions) == (other.health_score, other.deductions)


@given(VALUES)
def test_a_hundred_less_all_deductions_is_the_score(values):
    judged = judge(values, RULES)
    assert judged.health_score == pytest.approx(
        max(100 - sum(d.points for d in judged.deductions), 0)
    )


@given(VALUES)
def test_one_cause_is_charged_once(values):
    causes = [d.cause for d in judge(values, RULES).deductions]
    assert len(causes) == len(set(causes))


def test_a_cause_costs_its_dearest_finding():
    judged = judge([1.0, 0, 0, 0, 0], RULES)
    both = judge([1.0, 2.0, 0, 0, 0], RULES)
    assert both.deductions[0].rule == "b"
    assert both.health_score < judged.health_score


def test_utilization_alone_is_no_more_than_a_warning():
    judged = judge([0, 50.0, 0, 0, 0], RULES)
    assert judged.anomalies[0].severity is Severity.WARNING
    assert judged.deductions[0].points == 7.5


def test_one_critical_finding_leaves_the_healthy_band_whatever_its_weight():
    judged = judge([0, 0, 0, 100.0, 0], RULES)
    assert judged.anomalies[0].severity is Severity.CRITICAL
    assert judged.health_score == 75
    assert judged.band == "degraded"


def test_nothing_known_gives_no_score():
    assert judge([0] * 5, RULES, ()).health_score is None
    dead = outcome("cpu", Status.ERROR, Cause.CRASH)
    judged = judge([None] * 5, RULES, (dead,))
    assert (judged.health_score, judged.coverage, judged.band) == (None, 0, "unknown")
    assert judged.verdict.startswith("Unknown")


def test_coverage_is_weighted_and_what_is_not_there_is_not_asked_for():
    covered, known = scoring.coverage(
        [
            outcome("cpu"),
            outcome("disk", Status.TIMEOUT, Cause.TIMEOUT),
            outcome("container", Status.UNAVAILABLE, Cause.ABSENT),
            outcome("gpu", Status.ERROR, Cause.CRASH, essential=False),
        ]
    )
    assert (covered, known) == (1.5 / 2.5, {"cpu"})


def test_a_rule_with_a_mistake_cannot_say_and_the_others_still_do():
    def broken(_: Facts) -> Signal:
        raise KeyError("field")

    rules = policy([2.0, 0, 0, 0, 0], RULES).rules | {"x": rule("x", evaluate=broken)}
    judged, _ = assess(
        sweep(outcome("cpu"), outcome("memory")), State(), Policy(rules, {}, AT_ONCE)
    )
    assert judged.rules["x"] == "unknown"
    assert judged.rules["a"] == "active"


def test_every_weighted_resource_exists():
    assert set(scoring.WEIGHTS) <= set(RESOURCES)
