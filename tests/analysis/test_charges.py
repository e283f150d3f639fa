"""Of findings that tell of one trouble only the dearest is charged, and worse is never cheaper."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from analysis.charges import charged
from analysis.diagnosis import links
from analysis.model import Finding, Kind, Rule, Scale, Severity, Signal
from analysis.registry import discover_patterns, discover_rules

BASE = Rule(
    id="", resource="disk", cause="", kind=Kind.SATURATION, unit="ratio", warning=1.0,
    critical=2.0, scale=Scale.LINEAR, source="", gate="", explanation="", next_steps=(),
    evaluate=lambda _: None,
)  # fmt: skip
NAMES = "abcdef"


def finding(name, points, cause=None):
    return Finding(
        replace(BASE, id=name, cause=cause or name), Signal(1.0, ""), Severity.WARNING, points
    )


def cost(found, consequences):
    return round(sum(round(f.points, 1) for f in charged(found, consequences)), 1)


def ids(found, consequences):
    return [f.rule.id for f in charged(found, consequences)]


def test_a_consequence_is_not_charged_beside_its_cause():
    consequences = {"swap": frozenset({"disk"})}
    assert ids([finding("swap", 30.0), finding("disk", 20.0)], consequences) == ["swap"]
    assert ids([finding("swap", 30.0), finding("link", 20.0)], consequences) == ["swap", "link"]


def test_a_cause_that_is_cheaper_than_its_consequences_is_not_charged_beside_them():
    consequences = {"swap": frozenset({"disk", "cpu"})}
    found = [finding("swap", 10.0), finding("disk", 8.0), finding("cpu", 7.0)]
    assert ids(found, consequences) == ["disk", "cpu"]


def test_one_cause_group_is_charged_once():
    found = [finding("a", 5.0, "group"), finding("b", 9.0, "group"), finding("c", 1.0)]
    assert ids(found, {}) == ["b", "c"]


POINTS = st.lists(st.floats(0, 60).map(lambda p: round(p, 1)), min_size=6, max_size=6)
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.sampled_from(NAMES)), max_size=6)


@given(POINTS, GRAPHS, st.lists(st.sampled_from(NAMES[:3]), min_size=6, max_size=6))
def test_it_is_the_dearest_of_all_choices(points, graph, causes):
    found = [finding(n, p, c) for n, p, c in zip(NAMES, points, causes, strict=True)]

    def fits(one, other):
        a, b = one.rule, other.rule
        linked = b.id in graph.get(a.id, ()) or a.id in graph.get(b.id, ())
        return not linked and a.cause != b.cause

    choices = (
        c for n in range(7) for c in combinations(found, n)
        if all(fits(a, b) for a, b in combinations(c, 2))
    )  # fmt: skip
    assert cost(found, graph) == round(max(sum(f.points for f in c) for c in choices), 1)


@given(POINTS, GRAPHS, st.integers(0, 5), st.floats(0, 30))
def test_what_gets_worse_never_lowers_the_sum(points, graph, index, more):
    found = [finding(n, p) for n, p in zip(NAMES, points, strict=True)]
    worse = [replace(f, points=f.points + more) if i == index else f for i, f in enumerate(found)]
    assert cost(worse, graph) >= cost(found, graph)


@given(POINTS, GRAPHS, st.permutations(range(6)))
def test_order_does_not_matter(points, graph, order):
    found = [finding(n, p) for n, p in zip(NAMES, points, strict=True)]
    assert ids([found[i] for i in order], graph) == ids(found, graph)


def test_all_rules_at_once_are_no_burden():
    rules = list(discover_rules().values())
    found = [
        Finding(rule, Signal(1.0, ""), Severity.CRITICAL, 5.0 + number % 40)
        for number, rule in enumerate(rules)
    ]
    assert len(charged(found, links(discover_patterns()))) > 10  # it ends, within the test's time
