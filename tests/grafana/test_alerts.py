"""Alert and recording rules: sound, and true in every case that is told in alert_cases.py."""

from __future__ import annotations

import re
from itertools import groupby
from urllib.parse import urlsplit

import promql_parser as promql
import pytest
import yaml

from analysis.registry import discover_uses
from analysis.score import DEGRADED, HEALTHY
from analysis.use import disk, gpu
from exporter.metrics_catalog import BY_NAME, HISTOGRAM
from tests.grafana.alert_cases import CASES
from tests.grafana.promtool import ROOT, RULES, complaint, run_cases

TEXT = RULES.read_text()
GROUPS = yaml.safe_load(TEXT)["groups"]
EVERY = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in EVERY if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in EVERY if "record" in rule}
CASES_OF = {name: list(cases) for name, cases in groupby(CASES, lambda case: case.rule)}
RUNBOOKS = ROOT / "docs/runbooks"
HEADINGS = ["What it means", "Why it fires", "What to do first", "How it ends", "How to silence it"]
OTHERS = {"up", "ALERTS", "process_start_time_seconds"}
OF_TARGETS = {"job", "instance", "alertname", "alertstate"}


def selectors(expression):
    """The metric and the matchers of each selector."""
    found = []

    def look(node):
        if isinstance(node, promql.VectorSelector):
            found.append((node.name, {m.name: m.value for m in node.matchers.matchers}))

    for node in nodes(promql.parse(expression)):
        look(node)
    return found


def nodes(tree):
    """All parts of an expression, from its text: the parser gives no children."""
    yield tree
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        part = getattr(tree, name, None)
        if part is not None and type(part).__module__ == type(tree).__module__:
            yield from nodes(part)
    for part in getattr(tree, "args", None) or []:
        yield from nodes(part)


def expressions():
    """Every query of the rules: the expressions, and those in the templates."""
    for rule in EVERY:
        yield rule["expr"]
        for text in rule.get("annotations", {}).values():
            for query in re.findall(r'printf "((?:[^"\\]|\\.)*)"(?=[^|]*\| query)', text):
                yield query.replace("%q", '"x"').replace('\\"', '"')


def test_the_rules_are_sound():
    assert complaint("promtool", "check", "rules", str(RULES)) == ""


def test_rules_that_are_not_sound_are_told(tmp_path):
    bad = tmp_path / "bad.yml"
    bad.write_text(TEXT.replace("avg_over_time(", "average(", 1))
    assert "average" in complaint("promtool", "check", "rules", str(bad))


@pytest.mark.parametrize("name", [*ALERTS, *RECORDED])
def test_a_rule_does_what_its_cases_say(name, tmp_path):
    assert run_cases(tmp_path, CASES_OF[name]) == ""


@pytest.mark.parametrize("name", [*ALERTS, *RECORDED])
def test_a_rule_that_is_broken_does_not(name, tmp_path):
    groups = yaml.safe_load(TEXT)["groups"]
    (rule,) = (r for g in groups for r in g["rules"] if name in (r.get("alert"), r.get("record")))
    rule["expr"] = f"({rule['expr']}) > 1e12"
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": groups}))
    telling = next(case for case in CASES_OF[name] if case.firing or case.recorded)
    assert "FAILED" in run_cases(tmp_path, [telling], rules)


def test_every_alert_is_seen_to_fire_and_not_to():
    for name in set(ALERTS) - {"SysdxWatchdog"}:
        assert any(case.firing for case in CASES_OF[name]), name
        assert any(case.quiet for case in CASES_OF[name]), name
    assert set(CASES_OF) == {*ALERTS, *RECORDED}


def test_every_metric_and_label_is_one_that_is_exposed():
    known = BY_NAME.keys() - {n for n, f in BY_NAME.items() if f.type == HISTOGRAM}
    used = [pair for expression in expressions() for pair in selectors(expression)]
    assert len(used) > 25
    for name, matchers in used:
        assert name in known | OTHERS, name
        labels = BY_NAME[name].labels if name in BY_NAME else ()
        assert matchers.keys() <= OF_TARGETS | set(labels), (name, matchers)


def test_every_kind_of_error_and_resource_is_one_that_is_counted():
    (expression,) = (ALERTS["SysdxHardError"]["expr"],)
    kinds, resources = set(), set()
    for _, matchers in selectors(expression):
        kinds |= set(matchers["kind"].split("|"))
        resources |= set(matchers["resource"].split("|"))
    sources = "".join((ROOT / f"analysis/use/{name}.py").read_text() for name in resources)
    assert resources <= set(discover_uses())
    of_devices = {*disk.ERROR_KINDS, *gpu.ERROR_KINDS}
    assert all(kind in of_devices or f'"{kind}":' in sources for kind in kinds)


def test_every_outcome_of_a_sweep_is_one_that_is_counted():
    from exporter.metrics import _SWEEP_OUTCOMES

    for _, matchers in selectors(ALERTS["SysdxSweepFailing"]["expr"]):
        assert set(matchers["outcome"].split("|")) <= set(_SWEEP_OUTCOMES)


def test_only_one_alert_wakes_somebody():
    severities = {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
    assert [n for n, s in severities.items() if s == "critical"] == ["SysdxHealthCritical"]
    assert set(severities.values()) == {"none", "info", "warning", "critical"}


def test_the_thresholds_are_the_edges_of_the_bands():
    assert f"< {DEGRADED:g}\n" in ALERTS["SysdxHealthCritical"]["expr"]
    assert ALERTS["SysdxHealthDegraded"]["expr"].count(f"< {HEALTHY:g}\n") == 2


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_and_where_to_look(name):
    annotations = ALERTS[name]["annotations"]
    assert {"summary", "description", "dashboard_url", "runbook_url"} <= set(annotations)
    assert annotations["runbook_url"] == f"docs/runbooks/{name}.md"
    page = urlsplit(annotations["dashboard_url"].split("?")[0]).path
    assert re.fullmatch(r"/d/sysdx-(fleet|host|exporter)", page)
    # Who cannot be reached has no report.
    reachable = name not in {"SysdxWatchdog", "SysdxAbsent", "SysdxDown", "SysdxUnreliable"}
    assert ("report" in annotations) == reachable


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_page_that_says_what_to_do(name):
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert re.findall("^## (.*)$", page, re.MULTILINE) == HEADINGS
    assert f"**Severity:** {ALERTS[name]['labels']['severity']}" in page
    if name != "SysdxWatchdog":
        assert f"amtool silence add alertname={name} " in page
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert [link for link in links if not (RUNBOOKS / link).exists()] == []


def test_no_page_is_left_over():
    assert {page.stem for page in RUNBOOKS.iterdir()} == set(ALERTS)
