"""Rules on name servers."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.bpf.model import ProbeSample, histogram
from collectors.model import Outcome, Status, Sweep

RULES = {n: discover_rules()[n] for n in ("dns_latency", "dns_unanswered")}
W, C = Severity.WARNING, Severity.CRITICAL
MS = 20  # slot of a millisecond: values from 0.5 to 1 ms


def evaluate(name, sample):
    parts = {} if sample is None else {"dnslat": sample}
    outcomes = {
        n: Outcome(n, "network", "standard", False, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in parts.items()
    }
    return RULES[name].evaluate(Facts(Sweep("standard", 0.0, 0.0, 30.0, 30.0, outcomes=outcomes)))


def severity(name, sample):
    signal = evaluate(name, sample)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


def answered(*spreads, **parts):
    """Answers by slot, one dict for each address family."""
    families = ("ipv4", "ipv6")[: len(spreads)]
    found = tuple(
        histogram("x", slots, sum(n << slot for slot, n in slots.items()), labels={"family": f})
        for f, slots in zip(families, spreads, strict=True)
        if slots
    )
    return ProbeSample("dnslat", 30.0, sum(h.count for h in found), histograms=found, **parts)


def asked(answers=100, **values):
    names = ("questions", "repeated", "unanswered", "failed", "under_way")
    whole = {"questions": answers + values.get("unanswered", 0) + values.get("failed", 0)}
    return answered({MS: answers}, values=dict.fromkeys(names, 0) | whole | values)


@pytest.mark.parametrize("name", RULES)
def test_each_rests_on_its_probe_and_knows_nothing_without_it(name):
    assert RULES[name].probe == "dnslat"
    assert RULES[name].at_once
    assert evaluate(name, None) is None


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ({MS: 1000}, None),
        ({MS: 920, MS + 12: 80}, None),  # fewer than a tenth: names that nobody has asked for
        ({MS: 850, MS + 9: 150}, W),
        ({MS: 850, MS + 6: 150}, None),  # 32 to 64 ms: across a continent
        ({MS: 850, MS + 12: 150}, C),
        ({MS + 12: 50}, C),
        ({MS + 12: 49}, None),  # too few to speak of a tenth
    ],
)
def test_the_slowest_tenth_of_answers_is_judged_when_there_are_enough(slots, expected):
    assert severity("dns_latency", answered(slots)) is expected


def test_without_any_answer_latency_is_not_judged():
    assert evaluate("dns_latency", answered({})).value == 0.0


def test_of_two_address_families_the_slower_is_told():
    found = evaluate("dns_latency", answered({MS: 500}, {MS + 9: 60}))
    assert 0.25 < found.value < 0.6
    assert next(e.value for e in found.evidence if e.text == "answers") == 60


def row(kind, name, count, **more):
    return {kind: name, "count": count, **more}


def test_who_is_waited_for_and_who_waits_are_named():
    whole = 200 << (MS + 9)
    slow = row("server", "192.0.2.1", 150, seconds=whole * 0.75e-9, max_seconds=0.5)
    fast = row("server", "192.0.2.2", 50, seconds=whole * 0.25e-9, max_seconds=0.1)
    waits = row("comm", "web", 200, pid=7, family="ipv4", seconds=whole * 1e-9, max_seconds=0.5)
    sample = answered({MS + 9: 200}, tops={"server": (slow, fast), "process": (waits,)})
    found = evaluate("dns_latency", sample)
    assert [(c.kind, c.name, c.share) for c in found.culprits] == [
        ("remote", "192.0.2.1", pytest.approx(0.75)),
        ("remote", "192.0.2.2", pytest.approx(0.25)),
        ("process", "web", pytest.approx(1.0)),
    ]
    assert "192.0.2.1" in found.message


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"unanswered": 4}, None),  # too few
        ({"answers": 995, "unanswered": 5}, None),
        ({"answers": 295, "unanswered": 5}, W),
        ({"answers": 40, "unanswered": 5}, C),
        ({"answers": 295, "repeated": 5}, W),
        ({"answers": 295, "under_way": 50, "questions": 345}, None),  # answers are still to come
        ({"answers": 100, "failed": 100}, None),  # refused, and the next server answered
        ({"answers": 100, "failed": 110}, W),
        ({"answers": 0, "failed": 50}, C),
    ],
)
def test_questions_in_vain_count_as_a_share_of_all(values, expected):
    assert severity("dns_unanswered", asked(**values)) is expected


def test_the_servers_that_are_silent_are_named_with_who_asks_them():
    rows = (
        row("server", "192.0.2.1", 30, comm="web", pid=7, outcome="unanswered"),
        row("server", "192.0.2.2", 10, comm="web", pid=7, outcome="unanswered"),
        row("server", "192.0.2.1", 10, comm="db", pid=9, outcome="unanswered"),
    )
    sample = asked(unanswered=50)
    sample = ProbeSample(
        "dnslat", 30.0, sample.events, values=sample.values, tops={"silent": rows}
    )  # fmt: skip
    found = evaluate("dns_unanswered", sample)
    assert [(c.name, c.value, c.share, c.detail) for c in found.culprits] == [
        ("192.0.2.1", 40, 0.8, "asked by web (7)"),
        ("192.0.2.2", 10, 0.2, "asked by web (7)"),
    ]
    assert {e.text: e.value for e in found.evidence} == {
        "never answered": 50,
        "asked again": 0,
        "refused or not sent": 0,
        "asked": 150,
    }
