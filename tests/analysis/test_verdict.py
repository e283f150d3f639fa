"""The verdict in words."""

from __future__ import annotations

import pytest

from analysis import verdict as words
from analysis.diagnosis import Case, diagnose
from analysis.hypothesis import Hypothesis
from analysis.model import Anomaly, Culprit, Facts, Recommendation, Severity
from analysis.verdict import Told, amount
from collectors.model import Sweep

AT = 1_700_000_000.0  # 22:13:20 UTC
FINE = Told(100.0, "healthy", 1.0, 77, AT)
BAD = Told(41.5, "critical", 1.0, 77, AT)


def anomaly(message="Tasks waited", cause="cpu_saturation", rule="cpu_pressure", **fields):
    settings = {
        "resource": "cpu", "severity": Severity.CRITICAL, "subject": None, "value": 1.0,
        "unit": "ratio", "warning": 0.5, "critical": 0.9, "since": AT, "explanation": "",
    }  # fmt: skip
    return Anomaly(rule=rule, cause=cause, message=message, **{**settings, **fields})


def advice(title="Ask", rule="cpu_pressure"):
    return Recommendation("i", "investigate", "cpu", title, "", addresses=rule)


def verdict(told, anomalies, offered):
    """Tell of findings that no pattern knows, the worst first."""
    points = {a.rule: 1.0 for a in anomalies}
    facts = Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0))
    case = Case(facts, anomalies, dict.fromkeys(points, "active"), points)
    unknown = {h.id: h for h in diagnose(case, ())}
    ranked = [unknown[cause] for cause in dict.fromkeys(a.cause for a in anomalies)]
    return words.verdict(told, anomalies, offered, ranked)


HOG = Culprit("process", "hog", "7,8", 1.97, "cores", 0.97)


def test_the_worst_with_its_culprit_its_time_and_the_next_step():
    told = verdict(BAD, [anomaly(culprits=(HOG,))], [advice("Ask whether hog should run now")])
    assert told == (
        "Critical (41.5): Tasks waited; hog (pid 7,8) takes 1.97 cores (97 %), since 22:13:20 UTC. "
        "Ask whether hog should run now."
    )


@pytest.mark.parametrize(("count", "words"), [(1, "a warning"), (2, "2 warnings")])
def test_a_healthy_host_with_findings_is_told_to_have_them(count, words):
    told = verdict(Told(92.5, "healthy", 1.0, 77, AT), [anomaly()] * count, [])
    assert told == f"Healthy (92.5) with {words}: Tasks waited, since 22:13:20 UTC."


def test_nothing_found():
    assert verdict(FINE, [], []) == "Healthy (100): none of 77 rules found anything."
    partly = Told(100.0, "healthy", 0.6, 77, AT)
    assert verdict(partly, [], []) == (
        "Healthy (100): none of 77 rules found anything; only 60 % of the host is known."
    )


def test_nothing_known_is_not_healthy():
    assert verdict(Told(None, "unknown", 0.0, 77, AT), [], []).startswith("Unknown: too little")


def test_findings_without_a_score_are_told_with_what_is_missing():
    told = verdict(Told(None, "unknown", 0.3, 77, AT), [anomaly()], [])
    assert told == (
        "Unknown (no score): Tasks waited, since 22:13:20 UTC; only 30 % of the host is known."
    )


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        (["cpu_saturation"], ""),
        (["cpu_saturation", "cpu_saturation", "cpu_saturation"], ""),
        (["cpu_saturation", "memory_exhaustion"], "; also memory exhaustion"),
        (["cpu_saturation", "a", "cpu_saturation", "b", "a"], "; also a and b"),
        (["cpu_saturation", "a", "b", "c"], "; also a, b and 1 more"),
        (["cpu_saturation", "a", "b", "c", "d", "d"], "; also a, b and 2 more"),
    ],
)
def test_other_causes_are_named_once_and_few_of_them(causes, expected):
    told = verdict(BAD, [anomaly(cause=c, rule=f"r{n}") for n, c in enumerate(causes)], [])
    assert told == f"Critical (41.5): Tasks waited, since 22:13:20 UTC{expected}."


def test_the_step_belongs_to_the_worst_cause():
    found = [
        anomaly(rule="cpu_pressure"),
        anomaly(rule="run_queue"),
        anomaly(rule="disk_latency", cause="slow_storage"),
    ]
    offered = [advice("Other", "disk_latency"), advice("Second", "run_queue"), advice("Third")]
    assert verdict(BAD, found, offered).endswith(" UTC; also slow storage. Second.")


def test_without_advice_the_first_thing_to_look_at_is_told():
    found = [anomaly(next_steps=("Look at the disks.", "smartctl"))]
    other = [advice("Other", "disk_latency")]
    assert verdict(BAD, found, other).endswith(" UTC. Next: Look at the disks.")
    assert verdict(BAD, [anomaly()], []).endswith(" UTC.")


def blamed(*culprits, subject=None):
    told = verdict(BAD, [anomaly("M", culprits=culprits, subject=subject)], [])
    return told.removeprefix("Critical (41.5): M").removesuffix(", since 22:13:20 UTC.")


def test_a_doer_is_blamed_and_not_the_place():
    disk = Culprit("device", "sda", None, 1.0, "ratio")
    assert blamed(disk, HOG) == "; hog (pid 7,8) takes 1.97 cores (97 %)"
    assert blamed(disk) == ""
    assert blamed(Culprit("interface", "eth0"), Culprit("mount", "/")) == ""
    assert blamed() == ""


def test_what_the_sentence_is_about_is_not_named_twice():
    first, second = (Culprit("cgroup", n, f"/{n}", 0.5, "ratio") for n in ("a", "b"))
    assert blamed(first, second, subject="a") == ""
    assert blamed(first, second, subject="c") == "; a takes 50 %"
    told = verdict(BAD, [anomaly("60 of them children of hog (7)", culprits=(HOG,))], [])
    assert told == "Critical (41.5): 60 of them children of hog (7), since 22:13:20 UTC."


@pytest.mark.parametrize(
    ("value", "unit", "share", "expected"),
    [
        (3 << 30, "bytes", 0.5, "; x (pid 7) holds 3 GiB (50 %)"),
        (3 << 20, "bytes/s", None, "; x (pid 7) moves 3 MiB/s"),
        (300.0, "1/s", None, "; x (pid 7) causes 300/s"),
        (1500.0, "descriptors", None, "; x (pid 7) has 1,500 descriptors"),
        (0.5, "ratio", None, "; x (pid 7) takes 50 %"),
        (None, "cores", 0.5, "; x (pid 7)"),
    ],
)
def test_amounts_are_written_with_their_verb(value, unit, share, expected):
    assert blamed(Culprit("process", "x", "7", value, unit, share)) == expected


def test_a_culprit_without_an_id_has_none():
    assert blamed(Culprit("process", "x", None, 1.0, "cores")) == "; x takes 1 cores"
    assert blamed(Culprit("listener", "x", ":80", 5.0, "connections")) == "; x has 5 connections"


def test_an_amount_that_is_unknown_is_empty():
    assert amount(Culprit("process", "x", share=0.5)) == ""


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (0, "22:13:20 UTC"),
        (11.9 * 3600, "10:19:20 UTC"),
        (12 * 3600, "2023-11-14 10:13 UTC"),
        (90 * 3600, "2023-11-11 04:13 UTC"),
        (-13 * 3600, "2023-11-15 11:13 UTC"),
    ],
)
def test_a_time_that_is_not_of_today_has_its_date(ago, expected):
    assert verdict(BAD, [anomaly(since=AT - ago)], []).endswith(f", since {expected}.")


def cause(title, confidence, *seen, explains=()):
    return Hypothesis(title, "cpu", title, confidence, (), seen, explains)


@pytest.mark.parametrize(
    ("confidence", "doubt"), [(1.0, ""), (0.8, ""), (0.6, " (likely)"), (0.4, " (perhaps)")]
)
def test_a_known_cause_is_named_first_with_its_doubt(confidence, doubt):
    told = words.verdict(BAD, [anomaly()], [], [cause("it is so", confidence, "cpu_pressure")])
    assert told == f"Critical (41.5): it is so{doubt}: tasks waited, since 22:13:20 UTC."


def test_the_finding_told_is_one_that_shows_the_cause():
    found = [anomaly("Symptom", rule="io"), anomaly("CPU 3 is hot", rule="hot")]
    told = words.verdict(BAD, found, [], [cause("it is so", 1.0, "hot", explains=("io",))])
    assert told == "Critical (41.5): it is so: CPU 3 is hot, since 22:13:20 UTC."


def test_only_causes_of_what_is_left_are_named_besides():
    found = [anomaly(rule=r) for r in ("a", "b", "c")]
    causes = [cause("one", 1.0, "a", explains=("b",)), cause("two", 1.0, "c"),
              cause("three", 1.0, "b")]  # fmt: skip
    assert words.verdict(BAD, found, [], causes).endswith("; also two.")


def test_a_name_keeps_its_capital():
    found = [anomaly("Xorg has 900 of 1,000 files", subject="Xorg")]
    told = words.verdict(BAD, found, [], [cause("it is so", 1.0, "cpu_pressure")])
    assert "it is so: Xorg has" in told


def test_who_was_killed_is_not_blamed_for_it():
    victim, group = Culprit("victim", "app", "5", 1 << 20, "bytes"), Culprit("cgroup", "a.service")
    assert blamed(victim, group) == "; a.service"
