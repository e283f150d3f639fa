"""The differential diagnosis: what is seen, what must hold, what speaks for and against it."""

from __future__ import annotations

import pytest

from analysis.diagnosis import Case, diagnose
from analysis.hypothesis import Bearing
from analysis.model import Anomaly, Culprit, Facts, Severity
from analysis.pattern import Clue, Pattern
from analysis.registry import discover_patterns, discover_rules
from collectors.model import Sweep

FACTS = Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0))
PATTERNS = discover_patterns()
RULES = discover_rules()


def anomaly(rule, cause="group", culprits=()):
    return Anomaly(
        rule, "memory", cause, Severity.WARNING, "message", None, 1.0, "ratio", 1.0, 2.0, 0.0,
        "Something is wrong. And more.", culprits=culprits,
    )  # fmt: skip


def case(*rules, quiet=(), points=None):
    states = dict.fromkeys(rules, "active") | dict.fromkeys(quiet, "quiet")
    points = points or dict.fromkeys(rules, 10.0)
    return Case(FACTS, [anomaly(r) for r in rules], states, points)


def pattern(name="cause", **more):
    return Pattern(name, "memory", "it is so", more.pop("seen", Clue("seen", ("a",))), **more)


def only(found):
    (one,) = found
    return one


def test_a_cause_that_is_not_seen_is_no_hypothesis():
    found = only(diagnose(case("b"), [pattern()]))
    assert (found.id, found.confidence, found.title) == ("group", 0.5, "something is wrong")


@pytest.mark.parametrize(
    ("more", "quiet", "confidence"),
    [
        ({}, (), 1.0),
        ({"speaks_for": (Clue("x", ("b",)),)}, (), 1.0),  # nothing can tell: left out
        ({"speaks_for": (Clue("x", ("b",)),)}, ("b",), 0.67),
        ({"speaks_against": (Clue("x", ("b",)),)}, ("b",), 1.0),
        ({"must": (Clue("x", fact=lambda _: True),)}, (), 1.0),
    ],
)
def test_confidence_is_the_share_of_clues_that_speak_for_it(more, quiet, confidence):
    found = only(diagnose(case("a", quiet=quiet), [pattern(**more)]))
    assert found.confidence == confidence


def test_what_speaks_against_it_lowers_confidence():
    against = pattern(speaks_against=(Clue("x", ("b",)),))
    found = next(h for h in diagnose(case("a", "b"), [against]) if h.id == "cause")
    assert found.confidence == 0.5
    assert [(g.bearing, g.holds) for g in found.grounds] == [
        (Bearing.SEEN, True),
        (Bearing.AGAINST, True),
    ]


@pytest.mark.parametrize("answer", [False, None])
def test_what_must_hold_and_does_not_or_is_unknown_ends_it(answer):
    found = diagnose(case("a"), [pattern(must=(Clue("x", fact=lambda _: answer),))])
    assert [h.id for h in found] == ["group"]


def test_a_mistake_in_a_question_is_no_answer():
    found = diagnose(case("a"), [pattern(must=(Clue("x", fact=lambda _: 1 / 0),))])
    assert [h.id for h in found] == ["group"]


def test_the_first_explains_most_and_every_anomaly_is_in_one():
    big = pattern("big", explains=("b", "c"))
    small = pattern("small", seen=Clue("seen", ("b",)))
    found = diagnose(case("a", "b", "c", "d"), [small, big])
    assert [h.id for h in found] == ["big", "group", "small"]
    assert (found[0].seen, found[0].explains) == (("a",), ("b", "c"))
    assert found[1].seen == ("d",)


def test_culprits_are_those_of_the_worst_finding_that_names_any():
    guilty = (Culprit("process", "hog"),)
    anomalies = [anomaly("a"), anomaly("b", culprits=guilty)]
    states = {"a": "active", "b": "active"}
    both = pattern(seen=Clue("seen", ("a", "b")))
    found = only(diagnose(Case(FACTS, anomalies, states, {"a": 1.0, "b": 1.0}), [both]))
    assert found.culprits == guilty


def test_nothing_wrong_gives_no_diagnosis():
    assert diagnose(case(), PATTERNS) == ()


@pytest.mark.parametrize("known", PATTERNS, ids=lambda p: p.id)
def test_every_pattern_speaks_of_rules_that_exist(known):
    clues = [known.seen, *known.must, *known.speaks_for, *known.speaks_against]
    named = {rule for clue in clues for rule in clue.rules} | {*known.explains}
    assert named <= set(RULES)
    assert known.seen.rules
    assert all(clue.rules or clue.fact for clue in clues)


@pytest.mark.parametrize("known", PATTERNS, ids=lambda p: p.id)
def test_every_title_is_a_clause(known):
    assert not known.title.endswith(".")
    assert known.title[:1].islower() or known.title[1:2].isupper()


@pytest.mark.parametrize(
    ("symptoms", "cause"),
    [
        (("cpu_pressure", "cpu_utilization", "run_queue"), "cpu_overload"),
        (("cpu_pressure", "cpu_steal"), "cpu_stolen"),
        (("fork_storm", "cpu_pressure", "run_queue", "context_switches"), "fork_storm"),
        (("swap_in", "memory_stall", "io_stall", "major_faults", "cpu_iowait"), "swap_thrash"),
        (("container_memory", "container_oom", "oom_kill"), "cgroup_memory_limit"),
        (("disk_errors", "io_stall", "disk_latency"), "failing_disk"),
        (("conntrack_capacity", "tcp_retransmits"), "conntrack_full"),
        (("zombies", "task_capacity"), "zombie_parent"),
        (("close_wait", "process_file_descriptors"), "close_wait_leak"),
        (("filesystem_hung", "blocked_tasks", "io_stall"), "filesystem_hung"),
    ],
)
def test_known_pictures_have_their_cause_first(symptoms, cause):
    quiet = set(RULES) - set(symptoms)
    assert diagnose(case(*symptoms, quiet=quiet), PATTERNS)[0].id == cause
