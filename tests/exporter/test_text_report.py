"""The report as text, as somebody reads it who was woken up by it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from analysis.hypothesis import Bearing, Ground, Hypothesis
from analysis.model import Culprit, Deduction, Evidence, Recommendation
from analysis.use_model import DeviceUse, ErrorCount, ResourceUse
from collectors.disk import Device, Disk, DiskSample, Operation
from collectors.model import Cause, Distribution, Problem, Status
from collectors.network import Interface, NetworkSample
from exporter.report import DatedAnomaly, Entry, Metadata, Overhead, Report, Summary
from exporter.text_report import text
from exporter.text_use import measure

START = "2026-11-24T08:12:30.250Z"
EVIDENCE = Evidence("time with a waiting task", 0.98, "ratio", "/proc/pressure/cpu some")
OTHER = Evidence("tasks waiting", 4.2, "tasks", "/proc/stat procs_running")
CULPRIT = Culprit("process", "stress-ng-cpu", "9114,9115", 1.97, "cores", 0.97, "/user.slice")
ANOMALY = DatedAnomaly(
    rule="cpu_pressure",
    resource="cpu",
    cause="cpu_saturation",
    severity="critical",
    message="Tasks waited for a CPU in 98 % of the time",
    subject=None,
    value=0.98,
    unit="ratio",
    warning=0.25,
    critical=0.6,
    since=START,
    explanation="Everything on the host answers later. " * 6,
    next_steps=("Look at the culprits.",),
    evidence=(EVIDENCE,),
    culprits=(CULPRIT,),
)
COMMAND = "ps -o " + ",".join(f"column{n}" for n in range(30))
ADVICE = Recommendation(
    "ask",
    "tune",
    "cpu",
    "Raise the limit",
    "It helps.",
    risk="low",
    commands=(COMMAND,),
    persistent=("echo keep",),
    undo=("echo back",),
    evidence=(EVIDENCE, OTHER),
    source="a manual",
    addresses="cpu_pressure",
    current="1",
    proposed="2",
)


def used(mean, peak=None):
    return Distribution(mean, peak)


def entry(name, data=None, **more):
    values = {"status": Status.OK, "reason": None, **more}
    return Entry(name, "quick", started_at=START, seconds=1.0, data=data, **values)


def report(entries=(), **changes):
    summary = Summary(
        **{
            "verdict": "Healthy (100): none of 2 rules found anything.",
            "health_score": 100.0,
            "coverage": 1.0,
            "band": "healthy",
            "deductions": (),
            "hypotheses": (),
            "resource_scores": {},
            "resources": {"cpu": ResourceUse(used(0.5, 0.75), queue_length=1.25)},
            "anomalies": (),
            "recommendations": (),
            "rules": {"a": "quiet", "b": "unknown"},
            **changes,
        }
    )
    about = Metadata(
        "id", "sysdx", "1", "host", None, None, "6.12", "x86_64", "quick", START, 10.0, 10.0,
        True, (), "command", Overhead(0.05, 1),
    )  # fmt: skip
    return Report("1", about, None, {"all": tuple(entries)}, summary)


def rows(shown):
    """The USE table: name to its cells."""
    table = shown.partition("USE\n")[2].partition("\n\n")[0].splitlines()[1:]
    return {re.split(r" {2,}", line.strip())[0]: re.split(r" {2,}", line.strip())[1:]
            for line in table}  # fmt: skip


ILL = report(
    verdict="Critical (41.5): Tasks waited.",
    health_score=41.5,
    band="critical",
    anomalies=(ANOMALY,),
    deductions=(Deduction("cpu_saturation", "cpu", 58.5, "cpu_pressure"),),
    recommendations=(ADVICE,),
    rules={"cpu_pressure": "active", "b": "quiet"},
)


def test_the_worst_comes_first():
    shown = text(ILL)
    order = ["Critical (41.5)", "CRITICAL  cpu_pressure", "ADVICE", "SCORE", "USE"]
    places = [shown.index(word) for word in order]
    assert places == sorted(places)
    assert places[0] == 0


def test_a_healthy_host_takes_few_lines_and_gets_no_advice():
    shown = text(report())
    assert len(shown.splitlines()) < 10
    for word in ("ADVICE", "SCORE\n", "NOT READ", "PARTIAL", "CRITICAL", "PROCESSES"):
        assert word not in shown
    assert "2 rules: 0 active, 1 cannot say" in shown


def test_an_anomaly_tells_numbers_units_sources_and_culprits():
    shown = text(ILL)
    assert "98 %; warning from 25 %, critical from 60 %; since 2026-11-24 08:12:30 UTC" in shown
    assert re.search(r"98 %  time with a waiting task  \[/proc/pressure/cpu some\]", shown)
    who = r"1\.97 cores \(97 %\)  process stress-ng-cpu \(pid 9114,9115\) · /user\.slice"
    assert re.search(who, shown)
    assert "    - Look at the culprits." in shown


def test_culprits_that_several_anomalies_share_are_told_once():
    others = [replace(ANOMALY, rule=f"rule{n}") for n in range(2)]
    lone = replace(ANOMALY, rule="lone", culprits=())
    shown = text(report(anomalies=(ANOMALY, *others, lone)))
    assert shown.count("stress-ng-cpu") == 1
    assert shown.count("culprits as for cpu_pressure") == 2
    assert "\n  culprits" not in shown.partition("CRITICAL  lone")[2].partition("USE")[0]


def test_advice_has_commands_the_way_to_keep_them_and_the_way_back():
    shown = text(ILL)
    assert "  1. Raise the limit" in shown
    assert "tune · risk: low · for cpu_pressure · now 1, proposed 2" in shown
    assert re.search(r"keep \$ echo keep\n *undo \$ echo back\n", shown)
    assert f"run  $ {COMMAND}\n" in shown
    assert "source: a manual" in shown
    assert shown.count("time with a waiting task") == 1, "said once, with the anomaly"
    assert "tasks waiting: 4.2 tasks" in shown


def test_a_command_is_never_cut_or_wrapped():
    assert f"$ {COMMAND}\n" in text(ILL, 60)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_nothing_else_is_wider_than_asked_and_no_line_ends_in_a_blank(width):
    lines = text(ILL, width).split("\n")
    assert [x for x in lines if len(x) > width and "$ " not in x] == []
    assert [x for x in lines if x != x.rstrip()] == []


def test_the_deductions_lead_to_the_score():
    assert re.search(r"100\.0\n +-58\.5  cpu_saturation .*\n +=? ?= 41\.5  critical\n", text(ILL))


def test_a_score_that_is_not_known_is_not_a_number():
    shown = text(report(health_score=None, band="unknown", coverage=0.25))
    assert "score unknown (unknown) · coverage 25 %" in shown


def test_a_partial_report_says_so_at_the_top():
    whole = report()
    about = replace(whole.metadata, complete=False, partial_reasons=("disk: no answer",))
    shown = text(replace(whole, metadata=about))
    assert shown.splitlines()[2] == "  PARTIAL: disk: no answer"


def test_columns_of_the_table_never_run_into_each_other():
    resources = {
        "kernel": ResourceUse(devices={"pids": DeviceUse(used(0.000047, 0.000048))}),
        "cpu": ResourceUse(used(1.0, 1.0), pressure={"some": 0.98, "full": None}, queue_length=3.2),
    }
    shown = rows(text(report(resources=resources)))
    assert shown["pids"] == ["<0.1 %", "<0.1 %", "-", "-"]
    assert shown["cpu"] == ["100 %", "100 %", "98 %", "3.2"]
    assert shown["kernel"] == ["-", "-", "-", "-"]


def test_devices_that_differ_at_the_end_of_long_names_are_told_apart():
    devices = {f"{'6acebd79' * 8}:{kind}": DeviceUse(used(0.5)) for kind in ("cpu", "memory")}
    names = [name for name in rows(text(report(resources={"container": ResourceUse(
        devices=devices)}))) if name.startswith("6ace")]  # fmt: skip
    assert len(set(names)) == 2
    assert {name.rpartition(":")[2] for name in names} == {"cpu", "memory"}


def test_troubled_devices_come_first_and_silent_ones_are_only_counted():
    failing = DeviceUse(used(0.0), errors={"io": ErrorCount(100, 3), "old": ErrorCount(9, 0)})
    devices = {f"d{n}": DeviceUse(used(n / 10)) for n in range(6)} | {
        "ill": failing,
        "silent": DeviceUse(),
    }
    resources = {"disk": ResourceUse(devices=devices)}
    shown = rows(text(report(resources=resources)))
    assert list(shown) == ["disk", "ill", "d5", "d4", "d3", "(3 more, 1 idle or unknown)"]
    assert shown["ill"][-1] == "io +3"
    for focus in ("disk", "all"):
        everything = rows(text(report(resources=resources), focus=(focus,)))
        assert len(everything) == 9
        assert "(1 idle or unknown)" in everything


def test_limits_are_shown_when_they_come_near_the_nearest_first():
    use = ResourceUse(saturation={"ports": 0.4, "conntrack": 0.9, "orphans": 0.001, "x": None,
                                  "listen": 0.5, "time_wait": 0.02})  # fmt: skip
    shown = rows(text(report(resources={"network": use})))
    assert shown["network"][-1] == "conntrack 90 %, listen 50 %, ports 40 %, 1 more"


def test_a_link_without_a_known_speed_shows_what_it_carries():
    def link(name, rate, speed=None):
        flow = Distribution(rate)
        return Interface(name, False, "up", speed, 1500, None, None, flow, flow)

    links = {"eth0": link("eth0", 2048.0), "eth1": link("eth1", 0.0), "eth2": link("eth2", 1, 1e9)}
    resources = {"network": ResourceUse(devices={n: DeviceUse() for n in links})}
    sample = entry("network", NetworkSample(1.0, links))
    shown = rows(text(report([sample], resources=resources)))
    assert shown["eth0"][-1] == "2 KiB/s in, 2 KiB/s out (speed unknown)"
    assert shown["eth2"][-1] == "1 B/s in, 1 B/s out"
    assert "eth1" not in shown
    assert "(1 idle or unknown)" in shown


def test_a_disk_shows_what_it_moves():
    moving = Operation(1.0, 4096.0)
    disk = Disk("sda", Device("disk", True), write=moving)
    resources = {"disk": ResourceUse(devices={"sda": DeviceUse(used(0.1))})}
    shown = rows(text(report([entry("disk", DiskSample(1.0, (disk,)))], resources=resources)))
    assert shown["sda"][-1] == "4 KiB/s written"


def test_what_could_not_be_read_is_listed_and_what_is_not_here_is_not():
    problems = (Problem("a", Cause.PERMISSION, "a: no"), Problem("b", Cause.MISSING, "b: gone"))
    shown = text(
        report(
            [
                entry("good", 1),
                entry("gpu", status=Status.UNAVAILABLE, reason="no GPU", cause=Cause.ABSENT),
                entry("disk", status=Status.TIMEOUT, reason="no answer", cause=Cause.TIMEOUT),
                entry("process", status=Status.PARTIAL, reason="a: no (and 1 more)",
                      cause=Cause.PERMISSION, problems=problems),
            ]
        )
    ).partition("NOT READ\n")[2]  # fmt: skip
    assert [line.split() for line in shown.splitlines()] == [
        ["disk", "timeout", "no", "answer"],
        ["process", "partial", "a:", "no"],
        ["process", "partial", "b:", "gone"],
    ]


def test_names_cannot_move_the_cursor_or_forge_a_line():
    evil = "x\n\x1b[2J\u202e\udcff"
    culprit = replace(CULPRIT, name=evil)
    anomaly = replace(ANOMALY, message=evil, culprits=(culprit,), subject=evil)
    use = ResourceUse(devices={evil: DeviceUse(used(0.5))})
    shown = text(report([entry(evil, status=Status.ERROR, reason=evil)], verdict=evil,
                        anomalies=(anomaly,), resources={"disk": use}))  # fmt: skip
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    shown.encode()


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "ratio", "unknown"),
        (0.98, "ratio", "98 %"),
        (0.012, "s", "12 ms"),
        (3 << 30, "bytes", "3 GiB"),
        (2048, "bytes/s", "2 KiB/s"),
        (12345, "1/s", "12,345/s"),
        (2.5, "tasks", "2.5 tasks"),
    ],
)
def test_a_number_has_its_unit(value, unit, shown):
    assert measure(value, unit) == shown


def test_the_diagnosis_is_told_with_how_it_was_reached():
    grounds = (
        Ground(Bearing.SEEN, "it is seen", True),
        Ground(Bearing.FOR, "nobody knows", None),
        Ground(Bearing.AGAINST, "not that", False),
        Ground(Bearing.AGAINST, "but this", True),
    )
    known = Hypothesis("thrash", "memory", "it is so", 0.67, grounds, ("swap_in",), ("io_stall",))
    other = Hypothesis("group", "cpu", "something else", 0.5, grounds, ("x",), known=False)
    shown = text(report(hypotheses=(known, other)))
    assert shown.partition("DIAGNOSIS\n")[2].partition("\n\n")[0].splitlines() == [
        "  1. It is so (confidence 67 %)",
        "     thrash (memory), seen by swap_in; explains io_stall",
        "     + it is seen: yes (the cause itself)",
        "     ? nobody knows: unknown (speaks for it)",
        "     + not that: no (would speak against it)",
        "     - but this: yes (would speak against it)",
        "  2. Something else (no pattern knows its cause)",
        "     group (cpu), seen by x",
    ]


def test_a_healthy_host_has_no_diagnosis():
    assert "DIAGNOSIS" not in text(report())
