"""The parts of the status page, one by one; test_web.py sees the page as a whole."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from exporter.status_format import UNKNOWN, bar, quantity, sparkline, text
from exporter.status_page import ABSENT, PageCache, ServiceState
from exporter.status_sections import report_body
from exporter.store import Store

ANOMALY = {
    "rule": "r",
    "resource": "disk",
    "severity": "warning",
    "message": "slow",
    "value": 0.5,
    "unit": "ratio",
    "warning": 0.25,
    "critical": None,
    "since": "2026-11-24T08:00:00Z",
    "next_steps": ["Look at the disk."],
}


class Rows(HTMLParser):
    """The rows of all tables, as lists of texts."""

    def __init__(self, body):
        super().__init__()
        self.rows = []
        self.inside = False
        self.feed(body)

    def handle_starttag(self, tag, attributes):
        self.inside = self.inside or tag == "tr"
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "tr"

    def handle_data(self, data):
        if self.inside and self.rows[-1]:
            self.rows[-1][-1] += data


def plain(body):
    return re.sub(r"<[^>]*>", " ", body)


def rows(**resources):
    return Rows(report_body({"summary": {"resources": resources}})).rows[1:]


def page(*collectors):
    state = ServiceState("1", "host", "2026-11-24T08:00:00Z", ready=True, stale=False,
                         next_sweep_seconds=None, running_profile=None, collectors=collectors,
                         config_problem=None, stopping=False)  # fmt: skip
    return PageCache().render(Store(None, 1, 1), state, datetime.now(UTC)).decode()


def test_an_anomaly_tells_what_to_look_at_next_and_only_limits_that_there_are():
    shown = plain(report_body({"summary": {"anomalies": [ANOMALY]}}))
    assert "Look at the disk." in shown
    assert "warning from 25 %" in shown
    assert "critical from" not in shown
    both = plain(report_body({"summary": {"anomalies": [ANOMALY | {"critical": 0.9}]}}))
    assert "critical from 90 %" in both


def test_anomalies_are_shown_worst_first():
    found = [ANOMALY, ANOMALY | {"severity": "critical", "message": "dead"}]
    shown = report_body({"summary": {"anomalies": found}})
    assert shown.index("dead") < shown.index("slow")


def test_devices_with_errors_come_first_then_the_busiest_and_silent_ones_not_at_all():
    devices = {f"d{n}": {"utilization": {"mean": n / 10}} for n in range(9)}
    devices["ill"] = {"utilization": {"mean": 0.0}, "errors": {"io": {"increase": 3}}}
    devices["silent"] = {"utilization": {"mean": None}, "errors": {"io": {"increase": 0}}}
    names = [row[0] for row in rows(disk={"devices": devices})]
    assert names == ["disk", "ill", "d8", "d7", "d6", "d5", "d4", "d3", "d2",
                     "and 3 more in the report"]  # fmt: skip


def test_a_device_of_which_only_the_queue_is_known_is_shown():
    assert [r[0] for r in rows(disk={"devices": {"sda": {"queue_length": 2.0}}})] == ["disk", "sda"]


def test_unknown_is_a_dash_and_zero_is_a_number():
    known = {"utilization": {"mean": 0.0}, "queue_length": 0.0, "errors": {"io": {"increase": 0}}}
    unknown = {"utilization": {"mean": None}, "errors": {"io": {"increase": None}}}
    shown = rows(a=known, b=unknown)
    assert [cell.strip() for cell in shown[0][1:]] == ["0 %", "queue 0", "0"]
    assert [cell.strip() for cell in shown[1][1:]] == ["\u2013"] * 3


def test_what_this_host_does_not_have_is_no_problem_and_everything_else_is_listed():
    body = page(
        ("cpu", "ok", None),
        ("gpu", ABSENT, "this host has no GPU"),
        ("disk", "timeout", "no answer"),
        ("odd", "<b>", None),
    )
    table = Rows(body).rows
    assert [row[0] for row in table] == ["odd", "disk"]
    assert "no GPU" not in body
    assert re.search(r"not here\s+gpu", plain(body))
    assert re.search(r"ok\s+cpu", plain(body))
    assert "<b></b>" not in body


@pytest.mark.parametrize("evil", ["<script>", '"onload="', "\x1b[2J", "a\nb", "\udcff", "\u202e"])
def test_a_text_is_harmless_between_tags_and_in_attributes(evil):
    shown = text(evil)
    assert not re.search("[<>\"'\x00-\x1f\x7f\u202e]", shown)
    shown.encode()


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.97, "ratio", "97 %"),
        (None, "ratio", UNKNOWN),
        (float("nan"), "s", UNKNOWN),
        (True, "s", UNKNOWN),
        (10**400, "s", UNKNOWN),
        (2048, "bytes/s", "2 KiB/s"),
        (0.012, "s", "12 ms"),
        (14, "1/s per CPU", "14 1/s per CPU"),
    ],
)
def test_a_quantity_is_written_with_its_unit_or_unknown(value, unit, shown):
    assert quantity(value, unit) == shown


def test_nothing_known_draws_nothing():
    assert bar(None) == ""
    assert sparkline([0.1, 0.2]) == ""
    assert sparkline([0.1, None, "x", 0.2]) == ""
    assert 'width="100.0"' in bar(7.0)
    assert sparkline([0, 1, 2]).count(",") == 3
