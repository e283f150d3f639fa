"""The laws of the health score."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import score as scoring
from analysis.assess import Policy, assess
from analysis.charges import charged
from analysis.model import (
    RESOURCES,
    Culprit,
    Deduction,
    Facts,
    Finding,
    Kind,
    Rule,
    Scale,
    Severity,
    Signal,
)
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
    ("value", "points"),
    [(0.99, 0), (1.0, 5), (1.5, 15), (2.0, 25), (6.5, 35), (11.0, 45), (1e9, 45)],
)
def test_points_follow_the_thresholds(value, points):
    assert scoring.points(value, rule()) == pytest.approx(points)


@pytest.mark.parametrize(
    ("value", "points"),
    [(10, 5), (100, 15), (1000, 25), (10 + 990 * 10**0.5, 35), (9910, 45), (1e9, 45)],
)
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


@given(
    st.permutations(
        [
            outcome("cpu"),
            outcome("disk", Status.TIMEOUT, Cause.TIMEOUT),
            outcome("network", Status.PARTIAL, Cause.PERMISSION),
            outcome("memory"),
        ]
    )
)
def test_the_order_of_collectors_does_not_matter(outcomes):
    judged = judge([1.5, 0.0, 1.0, 0.0, 3.0], RULES, outcomes)
    again = judge([1.5, 0.0, 1.0, 0.0, 3.0], RULES, tuple(reversed(outcomes)))
    assert judged == again
    assert judged.coverage == pytest.approx(4.0 / 5.0)
    assert set(judged.resource_scores) == {"cpu", "network", "memory"}


@given(VALUES, st.permutations(range(len(RULES))))
def test_order_does_not_even_matter_to_the_words(values, order):
    one = judge(values, RULES)
    other = judge([values[i] for i in order], [RULES[i] for i in order])
    assert one.verdict == other.verdict
    assert one.anomalies == other.anomalies


@given(st.floats(2.0, 1e6), st.sampled_from(RESOURCES), st.sampled_from(Scale))
def test_a_critical_finding_costs_a_quarter_at_least_whatever_it_is_about(value, resource, scale):
    judged = judge([value], [rule(resource=resource, scale=scale)])
    assert judged.anomalies[0].severity is Severity.CRITICAL
    assert 25 <= judged.deductions[0].points <= 45 * 1.5
    assert judged.band != "healthy"


@given(st.floats(0.0, 1e9), st.sampled_from(RESOURCES), st.floats(0.0, 0.99))
def test_utilization_alone_is_never_critical_nor_dearer_than_a_warning(value, resource, calm):
    busy = rule("busy", resource=resource, kind=Kind.UTILIZATION)
    quiet = rule("quiet", resource=resource, cause="other")
    full = rule("full", resource=resource, cause="third", kind=Kind.CAPACITY)
    judged = judge([value, calm, 1.0], [busy, quiet, full])
    found = {a.rule: a.severity for a in judged.anomalies}
    assert found.get("busy") in (None, Severity.WARNING)
    assert sum(d.points for d in judged.deductions) <= 2 * 5 * 1.5


@pytest.mark.parametrize("kind", [Kind.SATURATION, Kind.ERRORS])
def test_utilization_counts_in_full_when_the_same_resource_suffers(kind):
    busy = rule("busy", kind=Kind.UTILIZATION)
    here = rule("here", cause="other", kind=kind)
    elsewhere = replace(here, resource="cpu")
    assert scoring.findings([(busy, Signal(9.0, "")), (here, Signal(1.0, ""))])[0].points > 25
    alone = scoring.findings([(busy, Signal(9.0, "")), (elsewhere, Signal(1.0, ""))])[0]
    assert (alone.severity, alone.points) == (Severity.WARNING, 5)


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), min_size=5, max_size=5))
def test_unknown_is_told_as_such_and_never_as_nothing(values):
    judged = judge(values, RULES)
    for known, r in zip(values, RULES, strict=True):
        assert (judged.rules[r.id] == "unknown") is (known is None)
        assert known is not None or r.id not in {a.rule for a in judged.anomalies}


def finding(name, points=9.0, culprits=(), **changes):
    signal = Signal(9.0, "", culprits=culprits)
    return Finding(rule(name, **changes), signal, Severity.WARNING, points)


HOG = (Culprit("process", "hog"),)


def test_what_was_lost_is_told_before_rates_and_then_the_dearest_that_names_somebody():
    told = [
        finding("lost", 9.2, scale=Scale.LOG, kind=Kind.ERRORS),
        finding("share", 9.1),
        finding("a", culprits=HOG),
        finding("b", culprits=HOG),
        finding("_"),
        finding("rate", 30.0, HOG, scale=Scale.LOG),
        finding("busy", 29.0, HOG, kind=Kind.UTILIZATION),
    ]
    for mixed in (told[::-1], told[3:] + told[:3]):
        assert sorted(mixed, key=scoring.order) == told


def test_the_price_is_that_of_the_dearest_whatever_is_told_first():
    found = [finding("b", 9.0, cause="c"), finding("a", 9.0, cause="c"),
             finding("rate", 9.1, cause="c", scale=Scale.LOG)]  # fmt: skip
    assert [(f.rule.id, f.points) for f in charged(found, {})] == [("rate", 9.1)]
    assert charged(found[:2], {})[0].rule.id == "a"


def test_deductions_have_one_decimal_so_that_the_sum_is_exact():
    assert scoring.deductions([finding("a", 9.16)])[0].points == 9.2
    assert scoring.score([Deduction("c", "cpu", 9.2, "r"), Deduction("d", "cpu", 7.5, "r")]) == 83.3


def test_what_fades_costs_what_a_warning_costs():
    fading = scoring.fading(rule(resource="memory"), Signal(9.0, "m"))
    assert (fading.severity, fading.points, fading.signal.message) == (Severity.WARNING, 7.5, "m")


@pytest.mark.parametrize("scale", Scale)
@given(st.floats(0.01, 100), st.floats(1.01, 1000), st.floats(0.5, 50), st.floats(0.5, 50))
def test_points_rise_with_the_value_and_have_no_jump_above_the_warning(scale, low, factor, a, b):
    priced = rule(warning=low, critical=low * factor, scale=scale)
    less, more = sorted((low * a, low * b))
    assert scoring.points(less, priced) <= scoring.points(more, priced)
    for edge in (low * factor, low + 10 * low * (factor - 1)):
        below, above = (scoring.points(edge * f, priced) for f in (1 - 1e-9, 1 + 1e-9))
        assert above - below < 0.01


def test_deductions_are_told_dearest_first():
    found = judge([1.0, 0, 1.0, 100.0, 1.9], RULES).deductions
    assert [d.points for d in found] == [25, 23, 7.5, 7.5]
    assert [d.cause for d in found] == ["three", "four", "one", "two"]


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, "unknown"), (100, "healthy"), (80, "healthy"), (79.9, "degraded"), (50, "degraded"),
     (49.9, "critical"), (0, "critical")],
)  # fmt: skip
def test_bands(value, name):
    assert scoring.band(value) == name


def test_the_score_ends_at_nothing_and_is_rounded_like_its_deductions():
    many = [Deduction(str(n), "cpu", 30.0, "r") for n in range(4)]
    assert scoring.score(many) == 0
    assert scoring.score(many[:3]) == 10
    assert scoring.score([Deduction("c", "cpu", 0.1, "r")] * 3) == 99.7


def test_a_resource_of_several_essential_collectors_is_known_when_all_answer():
    first, second = outcome("disk"), replace(outcome("disk"), collector="more")
    late = replace(second, status=Status.TIMEOUT, cause=Cause.TIMEOUT)
    partly = replace(second, status=Status.PARTIAL, cause=Cause.PERMISSION)
    assert scoring.coverage([first, partly]) == (1, {"disk"})
    assert scoring.coverage([first, late]) == (0, frozenset())
    assert scoring.coverage([]) == (0, frozenset())
    elsewhere = replace(first, category="pressure")
    assert scoring.coverage([elsewhere]) == (0, frozenset())


@pytest.mark.parametrize("cause", [c for c in Cause if c is not Cause.ABSENT])
def test_what_is_there_but_cannot_be_read_is_missed(cause):
    unread = outcome("gpu", Status.UNAVAILABLE, cause)
    assert scoring.coverage([outcome("cpu"), unread])[0] == pytest.approx(1.5 / 2.5)
    failed = outcome("gpu", Status.ERROR, Cause.ABSENT)
    assert scoring.coverage([outcome("cpu"), failed])[0] == pytest.approx(1.5 / 2.5)


def test_weights_are_those_promised():
    assert [scoring.weight(r) for r in RESOURCES] == [1.5, 1.5, 1, 1, 1, 1.2, 0.5, 1]
    assert scoring.weight("anything") == 0.5


def test_half_known_is_just_enough():
    half = (outcome("disk"), outcome("network", Status.ERROR, Cause.CRASH))
    assert judge([0.0] * 5, RULES, half).health_score == 100
    less = (outcome("kernel"), outcome("disk", Status.ERROR, Cause.CRASH))
    assert judge([0.0] * 5, RULES, less).health_score is None


def test_every_weighted_resource_exists():
    assert set(scoring.WEIGHTS) <= set(RESOURCES)
