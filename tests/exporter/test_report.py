"""The report: what it joins, and that nothing in it can cost it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.model import Anomaly, Assessment, Severity
from collectors.base import discover
from collectors.model import Cause, Outcome, Problem, Status, Sweep
from collectors.system import SystemSample
from exporter import report, report_schema
from exporter.report_file import REPORT_ID

ABOUT = report.Metadata(
    "20261124T081530Z-quick-3f9a2c1b", "sysdx", "1", "host", None, None, "6.12", "x86_64", "quick",
    "2026-11-24T08:15:30.000Z", 1.0, 1.0, True, (), "command", report.Overhead(0.1, 1),
)  # fmt: skip
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class OddSample:
    """Carries whatever a test wants to see written."""

    value: object


def outcome(name="cpu", category="cpu", data=None, **more):
    values = {"status": Status.OK, "reason": None, "cause": None, **more}
    return Outcome(name, category, "quick", True, started_at=0.0, seconds=0.5, data=data, **values)


def built(*outcomes, **of_assessment):
    sweep = Sweep("quick", 0.0, 0.0, 1.0, 1.0, outcomes={o.collector: o for o in outcomes})
    values = {"verdict": "v", "health_score": None, "coverage": 0.0, "band": "unknown"}
    return report.build(ABOUT, sweep, Assessment(**(values | of_assessment)))


def written(*outcomes, **of_assessment):
    return json.loads(report.to_json(built(*outcomes, **of_assessment)))


def test_parts_are_grouped_by_what_they_tell_of():
    found = written(outcome("cpu"), outcome("interrupts"), outcome("disk", "disk"))
    names = {k: [e["collector"] for e in v] for k, v in found["categories"].items()}
    assert names == {"cpu": ["cpu", "interrupts"], "disk": ["disk"]}


def test_a_part_says_why_it_is_not_whole():
    problem = Problem("/proc/x", Cause.PERMISSION, "/proc/x: permission denied")
    found = written(
        outcome(
            "a", status=Status.PARTIAL, reason="r", cause=Cause.PERMISSION, problems=(problem,)
        ),
        outcome("b", status=Status.UNAVAILABLE, reason="no GPU", cause=Cause.ABSENT),
        outcome("c"),
    )
    a, b, c = found["categories"]["cpu"]
    assert (a["status"], a["cause"], a["problems"][0]["source"]) == (
        "partial", "permission", "/proc/x",
    )  # fmt: skip
    assert (b["status"], b["cause"], b["reason"]) == ("unavailable", "absent", "no GPU")
    assert (c["status"], c["cause"], c["reason"], c["problems"]) == ("ok", None, None, [])


def test_what_is_unknown_is_null():
    found = written()
    assert found["system"] is None
    assert found["summary"]["health_score"] is None
    assert found["summary"]["anomalies"] == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(number):
    found = written(outcome(data=OddSample(number)))
    assert found["categories"]["cpu"][0]["data"] == {"value": None}


@pytest.mark.parametrize(
    "evil", ["\udcff", "a\udcffb\nc", "\ud800" * 50, {"\udcff": [1, "\udc80"]}]
)
def test_a_name_that_is_no_unicode_does_not_cost_the_report(evil):
    found = written(outcome(data=OddSample((evil, math.nan, 7))), outcome("ok", data=OddSample(1)))
    entries = found["categories"]["cpu"]
    assert entries[0]["data"]["value"][1:] == [None, 7]
    assert entries[1]["data"] == {"value": 1}
    assert found["summary"]["verdict"] == "v"


def test_a_text_is_not_cut_when_it_is_made_harmless():
    assert written(outcome(data=OddSample("\udcff\n" * 20)))["categories"]["cpu"][0]["data"][
        "value"
    ] == "\ufffd\\x0a" * 20  # fmt: skip


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.text(st.characters(categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10,
))  # fmt: skip
def test_whatever_a_sample_holds_is_written_as_json(value):
    json.loads(report.to_json(built(outcome(data=OddSample(value)))), parse_constant=_forbidden)


def _forbidden(name):
    raise AssertionError(f"{name} is no JSON")


def test_an_onset_is_a_date():
    anomaly = Anomaly("r", "cpu", "c", Severity.WARNING, "m", None, 1.0, "s", 1.0, None, 1.5, "e")
    found = written(anomalies=(anomaly,))["summary"]["anomalies"][0]
    assert found["since"] == "1970-01-01T00:00:01.500Z"
    assert set(found) == {f.name for f in _fields(Anomaly)}


def _fields(kind):
    return kind.__dataclass_fields__.values()


def test_ids_sort_by_time_and_are_what_the_store_takes():
    ids = [report.new_id("quick", when) for when in (1e9, 1e9 + 1, 2e9)]
    assert ids == sorted(ids)
    assert len({report.new_id("deep", 1e9) for _ in range(50)}) == 50
    assert all(REPORT_ID.fullmatch(each) for each in ids)


def test_the_schema_knows_the_sample_of_every_collector():
    schema = report_schema.report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    references = {c.get("$ref") for c in schema["$defs"]["Entry"]["properties"]["data"]["anyOf"]}
    assert references == {None, *(f"#/$defs/{name}" for name in [*discover(), "probe"])}


def test_the_schema_refuses_what_is_no_report():
    schema = report_schema.report_schema()
    good = written(outcome(status=Status.ERROR, reason="r", cause=Cause.CRASH))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(good)
    for break_it in (
        lambda r: r.pop("metadata"),
        lambda r: r["metadata"].update(complete="yes"),
        lambda r: r["summary"].update(health_score="high"),
        lambda r: r["categories"]["cpu"][0].update(status="fine"),
        lambda r: r["categories"]["cpu"][0].update(cause="weather"),
        lambda r: r["categories"]["cpu"][0].update(data=5),
    ):
        bad = json.loads(json.dumps(good))
        break_it(bad)
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(bad)


def test_every_part_of_the_schema_is_explained():
    text = report_schema.text().decode()
    assert json.loads(text)["title"] == "sysdx report"
    assert not re.search(r"[A-Z_]+\.\w+Sample\b", text)


def test_a_system_is_the_report_s_own():
    assert SystemSample.__name__ in str(report.Report.__annotations__["system"])
