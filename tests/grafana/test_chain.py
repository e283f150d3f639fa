"""The live chain: the real exporter, Prometheus, Alertmanager, a pager, and the linked report."""

from __future__ import annotations

import shutil

import jsonschema
import pytest

from exporter import report_schema
from tests.grafana import story
from tests.grafana.promtool import complaint

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not shutil.which("prometheus-alertmanager"), reason="Alertmanager is not installed"
    ),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return story.live(tmp_path_factory.mktemp("chain"))


def test_the_pages_that_were_scraped_are_as_prometheus_wants_them(seen):
    for page in seen.pages_of_metrics:
        assert "sysdx_health_score" in page
        assert complaint("promtool", "check", "metrics", text=page) == ""


def test_a_page_that_prometheus_does_not_want_is_told(seen):
    bad = seen.pages_of_metrics[0].replace("sysdx_sweeps_total", "sysdx_sweeps_ms")
    assert "sysdx_sweeps_ms" in complaint("promtool", "check", "metrics", text=bad)


def test_the_pager_is_told_why(seen):
    assert seen.page["labels"]["severity"] == "critical"
    assert seen.page["annotations"]["summary"].endswith(" is critical: 32.5 of 100")
    assert "Points lost to: context_switches (cpu) 67.5." in seen.page["annotations"]["description"]


def test_the_link_leads_to_the_report_with_the_same_reasons(seen):
    jsonschema.validate(seen.report, report_schema.report_schema())
    assert seen.report["summary"]["band"] == "critical"
    assert seen.report["summary"]["health_score"] == 32.5
    (lost,) = seen.report["summary"]["deductions"]
    assert (lost["cause"], lost["resource"], lost["points"]) == ("context_switches", "cpu", 67.5)


def test_its_reasons_are_silent_beside_the_page(seen):
    assert set(seen.silenced_by) == {"SysdxHealthCritical"}


def test_a_score_that_eases_a_little_does_not_end_the_page(seen):
    assert 50 < seen.between < 60
    assert len(seen.kept) >= 5
    assert all(seen.kept)


def test_a_host_that_dies_in_the_middle_of_a_page_has_not_recovered(seen):
    assert {"SysdxDown", "SysdxHealthCritical"} <= seen.died


def test_the_page_is_taken_back_once_the_host_is_known_to_be_well(seen):
    assert seen.resolved["labels"] == seen.page["labels"]
    assert seen.resolved["endsAt"] > seen.page["startsAt"]


def test_each_receiver_gets_its_own(seen):
    assert seen.receivers["pager"] == {"SysdxHealthCritical"}
    assert seen.receivers["deadman"] == {"SysdxWatchdog"}
    assert "SysdxDown" in seen.receivers["team"]
    assert not seen.receivers["team"] & {"SysdxHealthCritical", "SysdxWatchdog"}


def test_rules_with_a_wrong_name_never_page(seen):
    assert seen.broken == "it never came: the page by broken rules"
