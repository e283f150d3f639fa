"""What changed between two reports."""

from __future__ import annotations

import copy

import pytest

from exporter.diff import NoReportError, compare
from exporter.diff_text import text

REPORT = {
    "schema_version": "1.0.0",
    "metadata": {
        "report_id": "a",
        "hostname": "host",
        "machine_id_hash": "1",
        "profile": "quick",
        "version": "1",
        "started_at": "2026-11-24T08:00:00.000Z",
        "window_seconds": 10.0,
        "complete": True,
    },
    "summary": {
        "health_score": 90.0,
        "band": "healthy",
        "deductions": [
            {"cause": "slow", "resource": "disk", "points": 10.0, "rule": "r"},
            {"cause": "lost", "resource": "network", "points": 5.0, "rule": "n"},
        ],
        "anomalies": [
            {"rule": "r", "resource": "disk", "subject": "sda", "severity": "warning",
             "message": "sda is slow"},
            {"rule": "n", "resource": "network", "subject": None, "severity": "warning",
             "message": "packets are lost"},
        ],
        "resources": {
            "disk": {
                "utilization": {"mean": 0.0},
                "queue_length": 0.0,
                "pressure": {"some": 0.5, "full": None},
                "saturation": {"slots": 0.25},
                "errors": {"io": {"total": 5, "increase": 0}},
                "devices": {"sda": {"utilization": {"mean": 0.2}}},
            }
        },
    },
}  # fmt: skip


def changed(**of_summary):
    report = copy.deepcopy(REPORT)
    report["metadata"] |= {"report_id": "b", "started_at": "2026-11-24T09:00:00.000Z"}
    report["summary"] |= of_summary
    return report


def disk(**changes):
    return {"disk": REPORT["summary"]["resources"]["disk"] | changes}


def found(resources):
    use = compare(REPORT, changed(resources=resources)).use
    return [(c.of, c.unit, c.before, c.after, c.kind) for c in use]


def test_equal_reports_have_no_difference():
    difference = compare(REPORT, changed())
    assert (difference.score, difference.deductions, difference.anomalies, difference.use) == (
        0.0, (), (), (),
    )  # fmt: skip
    assert difference.warnings == ()
    assert "Nothing of note changed." in text(difference)


def test_the_score_and_its_deductions():
    deductions = [
        {"cause": "slow", "resource": "disk", "points": 25.0, "rule": "r"},
        {"cause": "busy", "resource": "cpu", "points": 30.0, "rule": "c"},
    ]
    difference = compare(REPORT, changed(health_score=45.0, band="critical", deductions=deductions))
    assert difference.score == -45.0
    assert {(c.of[1], c.kind, c.before, c.after) for c in difference.deductions} == {
        ("slow", "changed", 10.0, 25.0),
        ("busy", "new", None, 30.0),
        ("lost", "gone", 5.0, None),
    }
    shown = text(difference)
    assert "SCORE  90.0 healthy → 45.0 critical  (-45.0)" in shown


def test_a_score_that_became_unknown_is_no_number():
    difference = compare(REPORT, changed(health_score=None, band="unknown"))
    assert difference.score is None
    assert "90.0 healthy → unknown unknown" in text(difference)


def test_anomalies_come_go_and_change():
    anomalies = [
        {"rule": "r", "resource": "disk", "subject": "sda", "severity": "critical", "message": "m"},
        {"rule": "r", "resource": "disk", "subject": "sdb", "severity": "warning", "message": "n"},
    ]
    difference = compare(REPORT, changed(anomalies=anomalies))
    assert [(a.kind, a.rule, a.subject) for a in difference.anomalies] == [
        ("worse", "r", "sda"),
        ("new", "r", "sdb"),
        ("resolved", "n", None),
    ]
    back = compare(changed(anomalies=anomalies), REPORT)
    assert {a.kind for a in back.anomalies} == {"better", "new", "resolved"}


def test_growth_from_zero_is_a_change():
    assert found(disk(utilization={"mean": 0.9})) == [
        (("disk", "utilization"), "ratio", 0.0, 0.9, "changed")
    ]
    assert found(disk(queue_length=3.0))[0][2:4] == (0.0, 3.0)


def test_errors_are_compared_by_the_second_because_windows_differ():
    report = changed(resources=disk(errors={"io": {"total": 35, "increase": 30}}))
    report["metadata"]["window_seconds"] = 60.0
    (change,) = compare(REPORT, report).use
    assert (change.of, change.unit, change.before, change.after) == (
        ("disk", "errors", "io"), "1/s", 0.0, 0.5,
    )  # fmt: skip


def test_what_becomes_known_or_unknown_is_a_change_too():
    assert found(disk(pressure={"some": None, "full": 0.1})) == [
        (("disk", "stalled", "some"), "ratio", 0.5, None, "gone"),
        (("disk", "stalled", "full"), "ratio", None, 0.1, "new"),
    ]
    assert [c[-1] for c in found({})] == ["gone"] * 6


def test_every_device_is_compared():
    (change,) = found(disk(devices={"sda": {"utilization": {"mean": 0.7}}}))
    assert change[0] == ("disk", "sda", "utilization")


def test_the_text_leaves_out_what_moves_on_any_host():
    resources = disk(utilization={"mean": 0.004}, queue_length=0.05)
    difference = compare(REPORT, changed(resources=resources))
    assert len(difference.use) == 2
    assert "Nothing of note changed." in text(difference)


def test_other_schema_versions_are_refused():
    with pytest.raises(NoReportError, match=r"2\.0\.0"):
        compare(REPORT, changed() | {"schema_version": "2.0.0"})


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"machine_id_hash": "2", "hostname": "other"}, "different hosts: host and other"),
        ({"machine_id_hash": None, "hostname": "other"}, "different hosts: host and other"),
        ({"machine_id_hash": None}, None),
        ({"profile": "deep"}, "different profiles: quick and deep"),
        ({"version": "2"}, "different versions of sysdx: 1 and 2"),
        ({"started_at": "2026-11-23T08:00:00.000Z"}, "the first report is the newer one"),
        ({"complete": False, "partial_reasons": ["cpu: late"]},
         "the second report is partial: cpu: late"),
    ],
)  # fmt: skip
def test_what_makes_them_hard_to_compare_is_said(change, warning):
    report = changed()
    report["metadata"] |= change
    difference = compare(REPORT, report)
    assert difference.warnings == ((warning,) if warning else ())
    assert all(f"warning: {w}" in text(difference) for w in difference.warnings)
