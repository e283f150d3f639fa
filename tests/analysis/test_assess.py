"""From a sweep to what it means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.assess import Policy, assess
from analysis.model import (
    Culprit,
    Evidence,
    Facts,
    Kind,
    Recommendation,
    Rule,
    Scale,
    Severity,
    Signal,
)
from analysis.state import AT_ONCE, Damping, State
from analysis.use_model import ResourceUse
from collectors.model import Outcome, Status, Sweep

KNOWN = ("cpu", "memory", "disk")


def rule(name, value=None, *, advice=(), culprits=(), **changes):
    signal = None if value is None else Signal(value, f"{name} found", culprits=culprits)
    settings = {
        "resource": "disk", "cause": name, "kind": Kind.SATURATION, "unit": "ratio",
        "warning": 1.0, "critical": 2.0, "scale": Scale.LINEAR, "source": "the book", "gate": "",
        "explanation": "", "next_steps": (), "evaluate": lambda _: signal,
        "advise": (lambda *_: iter(advice)) if advice else None,
    }  # fmt: skip
    return Rule(name, **{**settings, **changes})


def item(identity, title="T", **fields):
    return Recommendation(identity, "tune", "disk", title, "W.", **fields)


def sweep(at=0.0, data=None):
    outcomes = {
        name: Outcome(name, name, "quick", True, Status.OK, None, None, 0.0, 1.0, data)
        for name in KNOWN
    }
    return Sweep("quick", 1e9 + at, at, 10.0, 10.0, outcomes=outcomes)


def judge(*rules, uses=None, state=None, damping=AT_ONCE):
    policy = Policy({r.id: r for r in rules}, uses or {}, damping)
    return assess(sweep(), state or State(), policy)[0]


def test_anomalies_come_critical_first_then_by_what_their_cause_costs():
    judged = judge(
        rule("cheap", 1.0, resource="kernel"),
        rule("dear", 1.9, resource="cpu"),
        rule("critical", 2.0, resource="kernel"),
        rule("same", 1.0, resource="cpu", cause="dear"),
        rule("fine", 0.9),
    )
    assert [a.rule for a in judged.anomalies] == ["critical", "dear", "same", "cheap"]
    assert [d.cause for d in judged.deductions] == ["dear", "critical", "cheap"]
    assert "critical found" in judged.verdict


def test_of_one_cause_the_dearest_is_told_first_and_of_equal_ones_who_names_somebody():
    hog = (Culprit("process", "hog"),)
    judged = judge(
        rule("a", 1.2, cause="c"),
        rule("b", 1.5, cause="c"),
        rule("d", 1.5, cause="c", culprits=hog),
    )
    assert [a.rule for a in judged.anomalies] == ["d", "b", "a"]
    assert judged.deductions[0].rule == "d"


def test_a_rate_beyond_all_bounds_is_told_after_the_share_of_time_it_leads_to():
    judged = judge(
        rule("direct_reclaim", 1e9, cause="c", scale=Scale.LOG, advice=[item("reclaim")]),
        rule("memory_stall", 2.5, cause="c", advice=[item("look")]),
    )
    assert [a.rule for a in judged.anomalies] == ["memory_stall", "direct_reclaim"]
    assert [r.id for r in judged.recommendations] == ["look", "reclaim"]
    assert judged.deductions[0].rule == "direct_reclaim"


def test_every_rule_has_a_word():
    judged = judge(rule("a", 1.0), rule("b", 0.0), rule("c"), rule("d", float("inf")))
    assert judged.rules == {"a": "active", "b": "quiet", "c": "unknown", "d": "unknown"}


def test_resources_have_scores_of_their_own_and_unknown_ones_have_none():
    judged = judge(rule("a", 2.0), rule("b", 1.0, resource="gpu"))
    assert judged.resource_scores == {"cpu": 100, "disk": 75, "memory": 100}
    assert (judged.health_score, judged.band, judged.coverage) == (70, "degraded", 1)


def broken(_):
    raise ZeroDivisionError


def test_a_mistake_in_one_place_costs_only_that_place():
    good = ResourceUse(queue_length=1.0)
    uses = {"cpu": broken, "memory": lambda _: None, "disk": lambda _: good}
    bad = rule("bad", 1.0, advise=lambda *_: broken(0))
    judged = judge(
        bad, rule("worse", evaluate=broken), rule("good", 1.0, advice=[item("i")]), uses=uses
    )
    assert judged.resources == {"disk": good}
    assert judged.rules == {"bad": "active", "worse": "unknown", "good": "active"}
    assert [r.id for r in judged.recommendations] == ["i"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_what_is_no_mistake_in_a_rule_is_not_hidden(error):
    def fails(_):
        raise error

    with pytest.raises(error):
        judge(rule("r", evaluate=fails))


def test_advice_comes_by_the_deduction_it_addresses_and_each_only_once():
    judged = judge(
        rule("cheap", 1.0, advice=[item("x", "late"), item("c")]),
        rule("dear", 2.0, advice=[item("d"), item("x", "early")]),
        rule("mate", 1.5, cause="dear", advice=[item("m")]),
        rule("quiet", 0.0, advice=[item("q")]),
    )
    told = [(r.id, r.title, r.addresses) for r in judged.recommendations]
    assert told == [
        ("d", "T", "dear"), ("x", "early", "dear"), ("m", "T", "mate"), ("c", "T", "cheap"),
    ]  # fmt: skip


def test_advice_rests_on_the_finding_unless_it_says_more():
    seen, more = Evidence("seen", 1.0, "", "f"), Evidence("more", 2.0, "", "g")
    signal = Signal(1.0, "m", evidence=(seen,))
    advice = [item("a"), item("b", evidence=(more,), source="RFC")]
    judged = judge(rule("r", advice=advice, evaluate=lambda _: signal))
    told = [(r.evidence, r.source) for r in judged.recommendations]
    assert told == [((seen,), "the book"), ((more,), "RFC")]


def test_no_finding_no_advice():
    dumb = rule("s", advice=[item("b")], evaluate=lambda _: None)
    judged = judge(rule("r", 0.99, advice=[item("a")]), rule("q", 0.5), dumb)
    assert judged.recommendations == ()
    assert judged.anomalies == judged.deductions == ()
    # The third could not look, and who did not look has not found nothing.
    assert judged.verdict == "Healthy (100): none of 2 rules found anything."


def test_advice_stays_while_its_anomaly_is_held_and_names_the_same_culprit():
    hog = (Culprit("process", "hog"),)

    def advise(_, signal):
        yield item("i", signal.culprits[0].name)

    damping = Damping(1, 1, 1000.0)
    state, seen = State(), []
    for number, value in enumerate((1.0, 0.0, None)):
        r = rule("r", value, culprits=hog if value else (), advise=advise)
        judged, state = assess(
            sweep(number * 60.0), state, Policy({"r": r}, {}, replace(damping, of_sweeps=2))
        )
        seen.append([a.title for a in judged.recommendations])
    assert seen == [["hog"], ["hog"], ["hog"]]


def test_rules_see_the_sweep_before_and_only_that_one():
    befores = []

    def look(facts: Facts):
        befores.append(facts.before(str))

    state = State()
    for number, data in enumerate("abc"):
        _, state = assess(sweep(number, data), state, Policy({"r": rule("r", evaluate=look)}, {}))
    assert befores == [None, "a", "b"]
    assert state.previous.sample(str) == "c"


def test_nothing_is_changed_in_place():
    state = State()
    policy = Policy({"r": rule("r", 5.0)}, {}, AT_ONCE)
    first, after = assess(sweep(), state, policy)
    assert assess(sweep(), state, policy) == (first, after)
    assert state == State()


def test_the_worst_is_told_with_its_own_severity():
    judged = judge(rule("a", 1.0), rule("b", 9.0))
    assert [a.severity for a in judged.anomalies] == [Severity.CRITICAL, Severity.WARNING]
    assert judged.anomalies[0].since == 1e9


def test_by_default_two_of_three_sweeps_must_agree_and_half_must_be_known():
    assert Policy({}, {}).damping == Damping(2, 3, 120.0)
    assert Policy({}, {}).min_coverage == 0.5
