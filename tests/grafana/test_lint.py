"""The dashboards hold what the lint asks, and the lint complains about what it forbids."""

from __future__ import annotations

import re

import pytest

from collectors.bpf.probe import discover
from exporter.metrics_catalog import BY_NAME
from tests.grafana import dimension, panels
from tests.grafana.lint import lint
from tests.grafana.lint_base import CHECKS
from tests.grafana.panels import panel
from tests.grafana.scrape import vocabulary


@pytest.fixture(scope="module")
def known():
    return vocabulary()


@pytest.mark.parametrize("name", panels.NAMES)
def test_the_dashboard_has_no_complaints(name, known):
    complaints = lint(panels.load(name), known)
    assert not complaints, "\n".join(complaints)


def used():
    """Name every metric of the dashboards."""
    texts = " ".join(t["expr"] for n in panels.NAMES for p in panels.panels(panels.load(n))
                     for t in p["targets"])  # fmt: skip
    return set(re.findall(r"\b(?:sysdx|process)_\w+", texts))


def test_the_vocabulary_is_a_whole_scrape(known):
    families = {re.sub(r"_(bucket|count|sum)$", "", n) for n in known}
    assert set(BY_NAME) - families == set(), "every metric of the contract has been scraped"


def test_every_metric_of_a_probe_is_shown_somewhere():
    shown = {re.sub(r"_(bucket|count|sum)$", "", n) for n in used()}
    assert {f.name for p in discover().values() for f in p.families} - shown == set()


def test_hardly_any_metric_is_shown_nowhere():
    shown = {re.sub(r"_(bucket|count|sum)$", "", n) for n in used()}
    # Whether a sweep runs just now, and when a single collector last brought something, is old
    # by the time it is looked at.
    rest = {"sysdx_sweep_in_progress", "sysdx_collector_last_success_timestamp_seconds"}
    annotated = {"sysdx_resource_utilization_ratio"}
    assert set(BY_NAME) - shown - annotated == rest


SCORE = "Score"


def target(board, title, ref="A"):
    (found,) = (t for t in panel(board, title)["targets"] if t["refId"] == ref)
    return found


def edit(title, old, new, ref="A"):
    """Make a fault that replaces a part of a query."""

    def fault(board):
        query = target(board, title, ref)
        assert old in query["expr"]
        query["expr"] = query["expr"].replace(old, new, 1)

    return fault


def put(title, path, value):
    """Make a fault that sets a member of a panel."""

    def fault(board):
        place = panel(board, title)
        *above, last = path
        for name in above:
            place = place[name]
        place[last] = value

    return fault


def drop(title, name):
    def fault(board):
        del panel(board, title)[name]

    return fault


def board_level(**changes):
    return lambda board: board.update(changes)


def _first_link(board):
    return panel(board, "Anomalies now")["fieldConfig"]["overrides"][1]["properties"][0]["value"][0]


# Check, dashboard, fault.
FAULTS = [
    ("it_is_named_and_read_only", "host", board_level(uid="sysdx-hosts")),
    ("it_is_named_and_read_only", "host", board_level(editable=True)),
    ("it_is_named_and_read_only", "host", board_level(tags=[])),
    ("it_is_named_and_read_only", "host", board_level(refresh="")),
    ("panels_are_numbered_named_and_explained", "host", put(SCORE, ["id"], 1)),
    ("panels_are_numbered_named_and_explained", "host", put(SCORE, ["title"], "Health")),
    ("panels_are_numbered_named_and_explained", "host", put(SCORE, ["description"], "Score")),
    ("panels_do_not_overlap", "host", put(SCORE, ["gridPos", "x"], 12)),
    ("panels_do_not_overlap", "host", put(SCORE, ["gridPos", "w"], 12)),
    ("panels_do_not_overlap", "host", put("Containers: errors", ["gridPos", "x"], 8)),
    ("the_data_source_can_be_chosen", "host", put(SCORE, ["datasource", "uid"], "abc")),
    ("the_data_source_can_be_chosen", "host",
     lambda b: b["templating"]["list"][0].update(query="loki")),
    ("variables_are_defined_and_used", "host", edit(SCORE, "$instance", "$host")),
    ("variables_are_defined_and_used", "host", lambda b: b["templating"]["list"].pop(2)),
    ("variables_are_defined_and_used", "host",
     lambda b: b["templating"]["list"].append({"name": "more", "type": "textbox"})),
    ("variables_are_defined_and_used", "host",
     lambda b: b["templating"]["list"][2].update(refresh=1)),
    ("queries_can_be_read", "host", edit(SCORE, "max(", "max((")),
    ("queries_can_be_read", "host", lambda b: b["annotations"]["list"][0].update(expr="ALERTS{")),
    ("queries_can_be_read", "host", put(SCORE, ["targets", 1, "refId"], "A")),
    ("metrics_and_labels_exist", "host", edit(SCORE, "health_score", "health_scores")),
    ("metrics_and_labels_exist", "host", edit(SCORE, "by (resource)", "by (ressource)", "B")),
    ("metrics_and_labels_exist", "host", edit("Warnings", 'severity="w', 'level="w')),
    ("metrics_and_labels_exist", "host", edit("Warnings", '"warning"', '"warn"')),
    ("metrics_and_labels_exist", "fleet", edit("Not answering", "up{", "upp{")),
    ("metrics_and_labels_exist", "fleet", edit("Worst score", ":last5m", ":last10m")),
    ("queries_are_of_the_chosen_hosts", "host", edit(SCORE, 'job=~"$job", ', "")),
    ("queries_are_of_the_chosen_hosts", "host", edit(SCORE, 'instance="', 'instance=~"')),
    ("queries_are_of_the_chosen_hosts", "fleet", edit("Worst score", 'instance=~"', 'instance="')),
    ("edges_of_buckets_are_no_literals", "latency",
     edit("Run queue: share above $run_limit s", '"$run_limit"', '"0.016777216"')),
    ("counters_are_rates", "host", edit("CPU: errors", "increase(", "max_over_time(")),
    ("windows_fit_the_sweeps", "host", drop("CPU: errors", "interval")),
    ("windows_fit_the_sweeps", "host", put("CPU: errors", ["interval"], "1m")),
    ("windows_fit_the_sweeps", "host", edit("CPU: errors", "$__rate_interval", "5m")),
    ("windows_fit_the_sweeps", "latency", put("Run queue: quantiles", ["interval"], "2m")),
    ("windows_fit_the_sweeps", "latency", put("p99 over a week", ["interval"], "30m")),
    ("yesterday_is_a_day_ago", "latency", edit("Run queue: events", " offset 1d", "", "B")),
    ("yesterday_is_a_day_ago", "latency", edit("Run queue: events", "]", "] offset 1d")),
    ("quantiles_are_shares", "latency", edit("Run queue: quantiles", "(0.5", "(50")),
    ("windows_fit_the_sweeps", "latency",
     edit("Block I/O: events", "$__rate_interval", "$__interval")),
    ("tables_name_their_columns", "fleet", edit("Hosts, worst first", "max by", "max without")),
    ("metrics_and_labels_exist", "fleet", edit("Suspected causes now", "max by", "max without")),
    ("links_lead_somewhere", "host", lambda b: b["links"][3].update(url="http://${instances}/")),
    ("legends_tell_series_apart", "host",
     put(SCORE, ["targets", 1, "legendFormat"], "{{device}}")),
    ("legends_tell_series_apart", "host", put(SCORE, ["targets", 1, "legendFormat"], "all")),
    ("legends_tell_series_apart", "host", put(SCORE, ["targets", 1, "legendFormat"], "host")),
    ("kinds_of_panels_get_what_they_draw", "host",
     put("Suspected causes", ["targets", 0, "format"], "time_series")),
    ("kinds_of_panels_get_what_they_draw", "latency",
     put("Run queue: distribution", ["targets", 0, "format"], "time_series")),
    ("heatmaps_are_of_buckets", "latency", edit("Run queue: distribution", "by (le)", "by (job)")),
    ("heatmaps_are_of_buckets", "latency",
     put("Run queue: distribution", ["targets", 0, "legendFormat"], "__auto")),
    ("heatmaps_are_of_buckets", "latency",
     put("Run queue: distribution", ["options", "yAxis", "unit"], "ms")),
    ("heatmaps_are_of_buckets", "latency",
     put("Run queue: distribution", ["options", "calculate"], True)),
    ("units_are_those_of_the_metrics", "exporter",
     put("Memory", ["fieldConfig", "defaults", "unit"], "s")),
    ("units_are_those_of_the_metrics", "exporter", edit("CPU", "rate(", "increase(")),
    ("units_are_those_of_the_metrics", "latency",
     put("Events", ["fieldConfig", "defaults", "unit"], "short")),
    ("tables_name_their_columns", "host",
     put("Suspected causes", ["transformations", 0, "options", "renameByName"],
         {"casue": "Cause", "resource": "Resource", "Value": "Confidence"})),
    ("tables_name_their_columns", "fleet",
     put("Hosts, worst first", ["transformations", 2, "options", "sort", 0, "field"], "Score")),
    ("tables_name_their_columns", "host",
     put("Suspected causes", ["fieldConfig", "overrides", 0, "matcher", "options"], "Causes")),
    ("tables_name_their_columns", "host",
     edit("Suspected causes", "max by (cause, resource) ", "")),
    ("unknown_has_a_colour_of_its_own", "host",
     put("Warnings", ["fieldConfig", "defaults", "thresholds", "steps", 0, "color"], "green")),
    ("transformations_are_known", "host",
     put("Suspected causes", ["transformations", 0, "id"], "organise")),
    ("transformations_are_known", "host",
     lambda b: panel(b, "Suspected causes")["transformations"][0]["options"].update(hide={})),
    ("overrides_hit_something", "host",
     put(SCORE, ["fieldConfig", "overrides", 0, "matcher", "options"], "hosts")),
    ("overrides_hit_something", "host",
     put(SCORE, ["fieldConfig", "overrides", 0, "properties", 0, "id"], "lineWidth")),
    ("overrides_hit_something", "exporter",
     put("Sweeps: how they ended", ["fieldConfig", "overrides", 0, "matcher", "options"], "done")),
    ("nothing_is_explained", "host", put("Deductions", ["fieldConfig", "defaults", "noValue"], "")),
    ("links_lead_somewhere", "host", lambda b: b["links"].pop(0)),
    ("links_lead_somewhere", "host", lambda b: b["links"][1].update(url="/d/sysdx-latencies")),
    ("links_lead_somewhere", "host", lambda b: _first_link(b).update(
        url="${docs}/rule.md#${__value.raw}")),
    ("links_lead_somewhere", "host", lambda b: _first_link(b).update(
        url="${docs}/metrics.md#${__value.raw}")),
    ("links_lead_somewhere", "host", lambda b: _first_link(b).update(
        url="http://${instance}/reports/latest")),
    ("links_lead_somewhere", "host", lambda b: _first_link(b).update(
        url="${docs}/rules.md#${__value.rule}")),
]  # fmt: skip


@pytest.mark.parametrize(("check", "name", "fault"), FAULTS, ids=range(len(FAULTS)))
def test_the_check_complains_about_the_fault(check, name, fault, known):
    board = panels.load(name)
    before = lint(board, known)
    fault(board)
    new = set(lint(board, known)) - set(before)
    assert check in {text.partition(":")[0] for text in new}


def test_every_check_is_shown_to_complain():
    assert {check for check, _, _ in FAULTS} == {c.__name__ for c in CHECKS}


UNITS = {
    "rate(process_cpu_seconds_total[2m])": dimension.RATIO,
    "increase(sysdx_sweeps_total[2m])": dimension.COUNT,
    "60 * rate(sysdx_sweeps_total[2m])": dimension.PER_MINUTE,
    "time() - max(process_start_time_seconds)": dimension.SECONDS,
    "1000 * process_start_time_seconds": dimension.MOMENT_MS,
    "histogram_quantile(0.5, sum by (le) (rate(a_seconds_bucket[2m])))": dimension.SECONDS,
    "increase(a_seconds_count[1m]) / increase(sysdx_probe_observed_seconds_total[1m])":
        dimension.PER_SECOND,
    "1 - sum(increase(a_seconds_bucket[1m])) / sum(increase(a_seconds_count[1m]))":
        dimension.RATIO,
    "a_bytes / a_bytes": dimension.RATIO,
    "instance:sysdx_sweep_age:seconds": dimension.SECONDS,
    "count(a_ratio)": dimension.COUNT,
    "sum(a_ratio > bool 0.5)": dimension.COUNT,
    "a_ratio > 0.5": dimension.RATIO,
    "a_bytes / a_seconds": "bytes / seconds",
    "a_bytes + a_seconds": "bytes +- seconds",
}  # fmt: skip


@pytest.mark.parametrize("text", UNITS)
def test_the_unit_of_an_expression_is_worked_out(text):
    assert dimension.unit(dimension.parse(text)) == UNITS[text]
