"""
The rules and the live chain with other versions of Prometheus: a part of `./dev test-grafana`.

pytest collects it only when it is named. Debian 13 has 2.53 and the unstable one 3.x; a version
that cannot be had is skipped, and says why.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.grafana import story
from tests.grafana.alert_cases import CASES
from tests.grafana.promtool import RULES, complaint, run_cases
from tests.grafana.releases import Missing, tools

VERSIONS = {"installed": r"2\.\d+", "trixie": r"2\.53", "sid": r"3\.([5-9]|\d\d)"}


@pytest.fixture(scope="module", params=VERSIONS)
def release(request):
    try:
        return request.param, tools(request.param)
    except Missing as missing:
        pytest.skip(f"Prometheus of {request.param}: {missing}")


def version(program):
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return re.search(r"version (\S+)", done.stdout + done.stderr)[1]


def test_it_is_the_version_that_was_wanted(release):
    name, programs = release
    found = version(programs.prometheus)
    print(f"\n{name}: Prometheus {found}, Alertmanager {version(programs.alertmanager)}")  # noqa: T201
    assert re.match(rf"{VERSIONS[name]}\.", found)


def test_the_rules_are_sound(release):
    assert complaint(release[1].promtool, "check", "rules", str(RULES)) == ""


def test_the_rules_do_what_their_cases_say(release, tmp_path):
    assert run_cases(tmp_path, CASES, binary=release[1].promtool) == ""


def test_broken_rules_do_not(release, tmp_path):
    rules = tmp_path / "rules.yml"
    rules.write_text(story.broken(RULES.read_text()))
    said = run_cases(tmp_path, CASES, rules, release[1].promtool)
    assert "SysdxHealthCritical" in said
    assert "FAILED" in said


@pytest.mark.timeout(180)
def test_the_live_chain_holds(release, tmp_path):
    programs = release[1]
    seen = story.live(tmp_path, programs.prometheus, programs.alertmanager)
    for page in seen.pages_of_metrics:
        assert complaint(programs.promtool, "check", "metrics", text=page) == ""
    assert seen.version == version(programs.prometheus)
    assert seen.report["summary"]["band"] == "critical"
    assert set(seen.silenced_by) == {"SysdxHealthCritical"}
    assert all(seen.kept)
    assert {"SysdxDown", "SysdxHealthCritical"} <= seen.died
    assert seen.resolved["labels"] == seen.page["labels"]
    assert seen.receivers["pager"] == {"SysdxHealthCritical"}
    assert seen.broken
