"""What is wrong with how a dashboard shows its values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser as promql

from grafana.source.parts import UNKNOWN
from tests.grafana import dimension, panels
from tests.grafana.lint_base import Board, check, named, queries, tree_of
from tests.grafana.scrape import Metric, Vocabulary

TRANSFORMATIONS = {
    "merge": set(),
    "organize": {"excludeByName", "indexByName", "renameByName"},
    "sortBy": {"fields", "sort"},
}
PROPERTIES = {"unit", "decimals", "min", "max", "links", "mappings", "thresholds", "color"}


@check
def heatmaps_are_of_buckets(board: Board, known: Vocabulary) -> Iterator[str]:
    for panel, target, tree in queries(board):
        if panel["type"] != "heatmap":
            continue
        if target.get("legendFormat") != "{{le}}" or dimension.labels(tree, known) != {"le"}:
            yield f"{named(panel)}: rows of a heatmap are edges and nothing else"
        if panel["options"].get("calculate") is not False:
            yield f"{named(panel)}: there are buckets already"
        # Its unit is of the edges, and of the cells beside them.
        edge = dimension.unit(_histogram(tree))
        if panel["options"]["yAxis"].get("unit") not in dimension.UNITS.get(edge, ()):
            yield f"{named(panel)}: edges in {edge}"
        if panel["options"]["cellValues"].get("unit") not in _units(tree):
            yield f"{named(panel)}: cells in {dimension.unit(tree)}"


def _units(tree: Any) -> set[str]:
    return dimension.UNITS.get(dimension.unit(tree), set())


def _histogram(tree: Any) -> Any:
    """Name the histogram that an expression is made of, as its values are called."""
    (bucket, _), *_ = dimension.selectors(tree)
    return dimension.parse(bucket.name.removesuffix("_bucket"))


@check
def units_are_those_of_the_metrics(board: Board, known: Vocabulary) -> Iterator[str]:
    for panel, target, tree in queries(board):
        if panel["type"] in ("heatmap", "state-timeline"):
            continue
        value = dimension.unit(tree)
        shown = _shown_unit(panel, target)
        if shown not in dimension.UNITS.get(value, ()):
            yield f"{named(panel)} {target['refId']}: {value} is shown as {shown!r}"


def _shown_unit(panel: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """Find a query's unit: the panel's, or that of an override for it."""
    unit = str(panel["fieldConfig"]["defaults"].get("unit", "none"))
    column = f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value"
    names = {target["refId"], target.get("legendFormat"), _headings(panel).get(column)}
    for override in panel["fieldConfig"].get("overrides", ()):
        match, options = override["matcher"]["id"], override["matcher"]["options"]
        fits = options in names
        if match == "byRegexp":
            fits = any(re.search(options.strip("/"), n) for n in names if n)
        for prop in override["properties"]:
            unit = prop["value"] if fits and prop["id"] == "unit" else unit
    return unit


def _headings(panel: Mapping[str, Any]) -> dict[str, str]:
    for step in panel.get("transformations", ()):
        if step["id"] == "organize":
            return dict(step["options"].get("renameByName", {}))
    return {}


@check
def tables_name_their_columns(board: Board, known: Vocabulary) -> Iterator[str]:
    for panel in panels.panels(board):
        if panel["type"] != "table":
            continue
        trees = [tree_of(t["expr"], board) for t in panel["targets"]]
        if None in trees:
            continue
        if not all(isinstance(_outermost(t), promql.AggregateExpr) for t in trees):
            yield f"{named(panel)}: without aggregation its columns depend on the host"
        if len({frozenset(dimension.labels(t, known)) for t in trees}) > 1:
            yield f"{named(panel)}: rows with different labels are not merged"
        fields = {"Time"}.union(*(dimension.labels(t, known) for t in trees))
        refs = [t["refId"] for t in panel["targets"]]
        fields |= {f"Value #{r}" for r in refs} if len(refs) > 1 else {"Value"}
        yield from (f"{named(panel)}: {text}" for text in _bad_columns(panel, fields, len(refs)))


def _outermost(tree: Any) -> Any:
    """Find the aggregation that decides the columns, beneath arithmetic on its values."""
    if isinstance(tree, promql.ParenExpr):
        return _outermost(tree.expr)
    if isinstance(tree, promql.BinaryExpr):
        number = isinstance(tree.lhs, promql.NumberLiteral)
        return _outermost(tree.rhs if number else tree.lhs)
    return tree


def _bad_columns(panel: Mapping[str, Any], fields: set[str], count: int) -> Iterator[str]:
    steps = {s["id"]: s["options"] for s in panel.get("transformations", ())}
    if (count > 1) is not ("merge" in steps):
        yield "several queries, and only those, are merged"
    organize = steps.get("organize", {})
    renamed, hidden = organize.get("renameByName", {}), organize.get("excludeByName", {})
    named_fields = {*renamed, *hidden, *organize.get("indexByName", {})}
    yield from (f"there is no column {name!r}" for name in sorted(named_fields - fields))
    yield from (f"{name!r} has no heading" for name in sorted(fields - set(renamed) - set(hidden)))
    shown = {renamed.get(f, f) for f in fields - set(hidden)}
    for order in steps.get("sortBy", {}).get("sort", ()):
        if order["field"] not in shown:
            yield f"sorted by {order['field']!r}, which is no column"
    for override in panel["fieldConfig"].get("overrides", ()):
        match, options = override["matcher"]["id"], override["matcher"]["options"]
        hit = options in shown
        if match == "byRegexp":
            wanted = re.findall(r"[A-Z][\w ]*", options)
            hit = set(wanted) <= shown
        if not hit:
            yield f"an override for {options!r}, which is no column"


@check
def unknown_has_a_colour_of_its_own(board: Board, _: Vocabulary) -> Iterator[str]:
    """What has no value takes the lowest colour, which must not say that all is well."""
    for panel in panels.panels(board):
        if panel["type"] in ("stat", "gauge") and panel["options"].get("colorMode") != "none":
            lowest = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"]
            if lowest not in (UNKNOWN, "text"):
                yield f"{named(panel)}: without a value it is {lowest}"


@check
def transformations_are_known(board: Board, _: Vocabulary) -> Iterator[str]:
    for panel in panels.panels(board):
        for step in panel.get("transformations", ()):
            if step["id"] not in TRANSFORMATIONS:
                yield f"{named(panel)}: Grafana has no {step['id']!r}, or we do not use it"
            elif extra := set(step["options"]) ^ TRANSFORMATIONS[step["id"]]:
                yield f"{named(panel)}: {step['id']} with {extra}"


@check
def overrides_hit_something(board: Board, known: Vocabulary) -> Iterator[str]:
    for panel in panels.panels(board):
        for override in panel["fieldConfig"].get("overrides", ()):
            match, options = override["matcher"]["id"], override["matcher"]["options"]
            if panel["type"] != "table" and options not in _hits(panel, match, board, known):
                yield f"{named(panel)}: an override for {options!r}, which is not there"
            for prop in override["properties"]:
                if prop["id"] not in PROPERTIES and not prop["id"].startswith("custom."):
                    yield f"{named(panel)}: no setting is called {prop['id']!r}"


def _hits(panel: Mapping[str, Any], match: str, board: Board, known: Vocabulary) -> set[str]:
    if match == "byFrameRefID":
        return {t["refId"] for t in panel["targets"]}
    if match != "byName":
        return set()
    names = {t.get("legendFormat", "") for t in panel["targets"]}
    for target in panel["targets"]:
        label = re.fullmatch(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))
        tree = tree_of(target["expr"], board)
        for selector, _ in dimension.selectors(tree) if label and tree is not None else ():
            metric = known.get(selector.name, Metric(""))
            names |= metric.labels.get(label[1], set()) if label else set()
    return names
