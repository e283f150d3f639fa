"""What is wrong with the queries of a dashboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import promql_parser as promql

from collectors.bpf.probe import discover
from exporter.config import Config
from tests.grafana import dimension, panels
from tests.grafana.lint_base import Board, check, expressions, named, queries, tree_of
from tests.grafana.panels import LEGEND
from tests.grafana.scrape import Metric, Vocabulary

QUICK, STANDARD, DEEP = 120.0, 1800.0, 43_200.0  # two sweep intervals each [s]
OVER_TIME = {"rate", "increase"}
NOT_COUNTING = {*OVER_TIME, "count_over_time", "resets", "changes"}


@check
def queries_can_be_read(board: Board, _: Vocabulary) -> Iterator[str]:
    for where, text in expressions(board):
        if tree_of(text, board) is None:
            yield f"{where}: no PromQL: {text}"
    for panel in panels.panels(board):
        refs = [t.get("refId") for t in panel.get("targets", ())]
        if not refs or len(set(refs)) != len(refs):
            yield f"{named(panel)} has no queries, or two with one name"


@check
def metrics_and_labels_exist(board: Board, known: Vocabulary) -> Iterator[str]:
    for where, text in expressions(board):
        tree = tree_of(text, board)
        if tree is None:
            continue
        for selector, _ in dimension.selectors(tree):
            if selector.name not in known:
                yield f"{where}: nothing is called {selector.name}"
                continue
            yield from (f"{where}: {t}" for t in _bad_matchers(selector, known[selector.name]))
        for label in _lost_labels(tree, known):
            yield f"{where}: no series has the label {label}"


def _lost_labels(tree: Any, known: Vocabulary) -> Iterator[str]:
    """Give labels that an expression groups or joins by although its series do not have them."""
    for node, _ in dimension.walk(tree):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            yield from set(node.modifier.labels) - dimension.labels(node.expr, known)
        if isinstance(node, promql.BinaryExpr) and node.modifier is not None:
            has = dimension.labels(node.lhs, known) | dimension.labels(node.rhs, known)
            joined = node.modifier.matching.labels if node.modifier.matching else ()
            yield from {*joined, *(node.modifier.group_labels or ())} - has


def _bad_matchers(selector: Any, metric: Metric) -> Iterator[str]:
    for matcher in selector.matchers.matchers:
        values = metric.labels.get(matcher.name)
        if values is None:
            yield f"{selector.name} has no label {matcher.name}"
        elif values and matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
            if matcher.value not in {*values, "some", ""}:
                yield f"{selector.name} has no {matcher.name}={matcher.value!r}"
        elif values and matcher.value not in ("some", ".*"):
            wanted = matcher.value.split("|")
            if not all(any(re.fullmatch(w, v) for v in values) for w in wanted):
                yield f"{selector.name} has no {matcher.name}=~{matcher.value!r}"


@check
def queries_are_of_the_chosen_hosts(board: Board, _: Vocabulary) -> Iterator[str]:
    many = any(v["name"] == "instance" and v.get("multi") for v in board["templating"]["list"])
    sign = "=~" if many else "="
    wanted = {f'instance{sign}"$instance"', 'job=~"$job"'}
    for panel in panels.panels(board):
        for target in panel.get("targets", ()):
            for inside in re.findall(r"\{([^{}]*)\}", target["expr"]):
                if missing := wanted - set(inside.split(", ")):
                    yield f"{named(panel)} {target['refId']}: {{{inside}}} lacks {missing}"
            if len(re.findall(r"\{", target["expr"])) < len(_names(target["expr"], board)):
                yield f"{named(panel)} {target['refId']}: a metric without matchers"


def _names(text: str, board: Board) -> list[str]:
    tree = tree_of(text, board)
    return [s.name for s, _ in dimension.selectors(tree)] if tree is not None else []


@check
def edges_of_buckets_are_no_literals(board: Board, known: Vocabulary) -> Iterator[str]:
    for where, text in expressions(board):
        if re.search(r'le(=|!=|=~|!~)"(?!\$)', text):
            yield f"{where}: versions of Prometheus write le in different ways"


@check
def counters_are_rates(board: Board, known: Vocabulary) -> Iterator[str]:
    for panel, target, tree in queries(board):
        if target.get("instant"):
            continue  # since the exporter's start, which the panel says
        for selector, above in dimension.selectors(tree):
            name = selector.name or ""
            if not name.endswith(("_total", "_bucket", "_count", "_sum")):
                continue
            if known.get(name, Metric("counter")).type not in ("counter", "histogram"):
                continue
            called = {n.func.name for n in above if isinstance(n, promql.Call)}
            if not called & NOT_COUNTING:
                yield f"{named(panel)} {target['refId']}: {name} only ever rises"


@check
def windows_fit_the_sweeps(board: Board, known: Vocabulary) -> Iterator[str]:
    for panel, target, tree in queries(board):
        text = target["expr"]
        for selector, above in dimension.selectors(tree):
            called = {n.func.name for n in above if isinstance(n, promql.Call)}
            if not called & OVER_TIME:
                continue
            least = needed(selector)
            own = panels.seconds(panel.get("interval") or "1s")
            if target.get("instant") and "$__range" in text:
                continue
            if set(re.findall(r"\[(.*?)\]", text)) != {"$__rate_interval"}:
                yield f"{named(panel)} {target['refId']}: a window that does not follow the step"
            elif own < least:
                yield f"{named(panel)} {target['refId']}: {selector.name} wants {least:.0f} s"


def needed(selector: Any) -> float:
    """Tell how long two intervals of the sweeps are that fill a metric [s]."""
    probes = {f.name: name for name, p in discover().items() for f in p.families}
    base = re.sub(r"_(bucket|count|sum)$", "", selector.name or "")
    if base.startswith("sysdx_probe_"):
        return STANDARD
    if base not in probes:
        return QUICK
    profiles = dict(Config().profiles.items())
    if probes[base] in profiles["standard"].probes:
        return STANDARD
    # Whoever switches another one on is told to do so in the standard profile.
    return DEEP if probes[base] in profiles["deep"].probes else STANDARD


@check
def quantiles_are_shares(board: Board, known: Vocabulary) -> Iterator[str]:
    for panel, target, tree in queries(board):
        calls = (n for n, _ in dimension.walk(tree) if isinstance(n, promql.Call))
        shares = [c.args[0].val for c in calls if c.func.name == "histogram_quantile"]
        if not all(0 < share < 1 for share in shares):
            yield f"{named(panel)} {target['refId']}: quantiles of {shares}"


@check
def yesterday_is_a_day_ago(board: Board, _: Vocabulary) -> Iterator[str]:
    for panel, target, tree in queries(board):
        ago = {s.offset for s, _ in dimension.selectors(tree)}
        said = "yesterday" in target.get("legendFormat", "")
        if ago != {timedelta(days=1) if said else None}:
            yield f"{named(panel)} {target['refId']}: offsets {ago} are called otherwise"


@check
def legends_tell_series_apart(board: Board, known: Vocabulary) -> Iterator[str]:
    for panel, target, tree in queries(board):
        if target.get("format") in ("table", "heatmap"):
            continue
        has = dimension.labels(tree, known)
        says = set(LEGEND.findall(target.get("legendFormat", "")))
        if says - has:
            yield f"{named(panel)} {target['refId']}: the legend's {says - has} is not there"
        if has - says:
            yield f"{named(panel)} {target['refId']}: the legend leaves out {has - says}"
    for panel in panels.panels(board):
        legends = [t.get("legendFormat") for t in panel.get("targets", ()) if "format" not in t]
        if len(set(legends)) != len(legends):
            yield f"{named(panel)}: two queries have one legend"


@check
def kinds_of_panels_get_what_they_draw(board: Board, known: Vocabulary) -> Iterator[str]:
    for panel in panels.panels(board):
        for target in panel.get("targets", ()):
            shown = (bool(target.get("instant")), target.get("format"))
            wanted = {
                "timeseries": (False, None),
                "state-timeline": (False, None),
                "heatmap": (False, "heatmap"),
                "table": (True, "table"),
            }.get(panel["type"], (True, None))
            if shown != wanted or bool(target.get("range")) is shown[0]:
                yield f"{named(panel)} is no place for {shown}"
