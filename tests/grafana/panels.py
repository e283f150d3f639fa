"""What Grafana makes of a dashboard before it asks: variables, steps, windows, legends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.grafana.prometheus import QueryError, api

DASHBOARDS = Path(__file__).parents[2] / "grafana/dashboards"
NAMES = ("fleet", "host", "latency", "exporter")
SCRAPE = 15.0  # timeInterval of the data source as provisioned [s]
WIDTH = 1_800  # of the browser [pixels]
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
# How Grafana writes variables: $name, ${name}, ${name:format}, ${name.field}, [[name:format]].
VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)[^}]*\}|\[\[(\w+)[^\]]*\]\]")
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
# Upper limit of a step and what it is rounded to [s].
ROUND = (
    (1.5, 1), (3.5, 2), (7.5, 5), (12.5, 10), (17.5, 15), (25, 20), (45, 30), (90, 60),
    (210, 120), (450, 300), (750, 600), (1050, 900), (1500, 1200), (2700, 1800), (5400, 3600),
    (9000, 7200), (16_200, 10_800), (32_400, 21_600), (86_400, 43_200),
)  # fmt: skip


def load(name: str) -> dict[str, Any]:
    board: dict[str, Any] = json.loads((DASHBOARDS / f"{name}.json").read_text())
    return board


def flat(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give all panels and rows, those in collapsed rows too."""
    return [p for outer in board["panels"] for p in (outer, *outer.get("panels", ()))]


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [p for p in flat(board) if p["type"] != "row"]


def panel(board: Mapping[str, Any], title: str) -> dict[str, Any]:
    (found,) = (p for p in panels(board) if p["title"] == title)
    return found


def variables_in(text: str) -> set[str]:
    return {m[1] or m[2] or m[3] for m in VARIABLE.finditer(text)}


def seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d|w)", text)
    assert match, f"no duration: {text}"
    return int(match[1]) * SECONDS[match[2]]


def filled(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of variables; unknown ones stay, as in Grafana."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2] or match[3]
        return values.get(name, match[0])

    return VARIABLE.sub(value, text)


def chosen(board: Mapping[str, Any], url: str, start: float, end: float, **own: str) -> dict:
    """Choose a value for every variable: `own`, all of them, the present one, or the first."""
    values: dict[str, str] = {}
    for variable in board["templating"]["list"]:
        name, kind = variable["name"], variable["type"]
        if kind != "query":
            values[name] = str(variable.get("query", ""))
            continue
        found = options(variable, values, url, start, end)
        assert found, f"variable {name} has no values"
        everything = variable.get("allValue") or "(" + "|".join(found) + ")"
        present = str(variable.get("current", {}).get("value", ""))
        first = present if present in found else found[0]
        values[name] = own.get(name, everything if variable.get("includeAll") else first)
    return values


def options(
    variable: Mapping[str, Any], values: Mapping[str, str], url: str, start: float, end: float
) -> list[str]:
    """Ask Prometheus for a variable's values."""
    asked = filled(variable["query"]["query"], values)
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", asked)
    assert match, f"no query for values: {asked}"
    found = api(url, f"label/{match[2]}/values", match=match[1], start=start, end=end)["data"]
    expression = variable.get("regex")
    if expression:
        found = [v for v in found if re.search(expression.strip("/"), v)]
    by_number = variable.get("sort") == 3
    return sorted(found, key=float) if by_number else sorted(found)


@dataclass(frozen=True)
class Answer:
    """What Prometheus said to one query of a panel."""

    panel: str
    ref: str
    query: str
    series: list[dict[str, Any]] = field(default_factory=list)
    legends: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str = ""

    def numbers(self) -> list[float]:
        """Give all values that are numbers."""
        points = (p for s in self.series for p in (s.get("values") or [s["value"]]))
        return [float(v) for _, v in points if v != "NaN"]

    def last(self) -> dict[str, float]:
        """Give the newest value of each legend."""
        newest = ((s.get("values") or [s["value"]])[-1][1] for s in self.series)
        return dict(zip(self.legends, map(float, newest), strict=True))


def step(span: float, panel: Mapping[str, Any]) -> float:
    """Compute the step as Grafana does, from the width and the panel's least interval."""
    points = panel.get("maxDataPoints") or WIDTH * panel["gridPos"]["w"] / 24
    least = seconds(panel.get("interval") or f"{SCRAPE:.0f}s")
    raw = span / points
    rounded = next((to for limit, to in ROUND if raw < limit), 86_400)
    return max(float(rounded), least)


def window(step_: float) -> float:
    """Compute the window $__rate_interval as Grafana does."""
    return max(step_ + SCRAPE, 4 * SCRAPE)


def ask(
    panel: Mapping[str, Any], values: Mapping[str, str], url: str, start: float, end: float
) -> Iterator[Answer]:
    """Run a panel's queries over a time as Grafana does."""
    if panel.get("timeFrom"):
        start = end - seconds(panel["timeFrom"])
    every = step(end - start, panel)
    names = {
        "__rate_interval": f"{window(every):.0f}s",
        "__interval": f"{every:.0f}s",
        "__range": f"{end - start:.0f}s",
    }
    for target in panel["targets"]:
        query = filled(target["expr"], {**values, **names})
        yield _answer(panel["title"], target, query, url, (start, end, every))


def _answer(
    title: str,
    target: Mapping[str, Any],
    query: str,
    url: str,
    times: tuple[float, float, float],
) -> Answer:
    start, end, every = times
    ref = target["refId"]
    try:
        if target.get("instant"):
            said = api(url, "query", query=query, time=end)
        else:
            first, last = start // every * every, end // every * every
            said = api(url, "query_range", query=query, start=first, end=last, step=every)
    except QueryError as refusal:
        return Answer(title, ref, query, error=str(refusal))
    series = said["data"]["result"]
    legend = target.get("legendFormat", "")
    notes = [*said.get("warnings", ()), *said.get("infos", ())]
    return Answer(title, ref, query, series, [_legend(legend, s) for s in series], notes)


def _legend(text: str, series: Mapping[str, Any]) -> str:
    labels = series["metric"]
    return LEGEND.sub(lambda m: labels.get(m[1], ""), text) or json.dumps(labels, sort_keys=True)
