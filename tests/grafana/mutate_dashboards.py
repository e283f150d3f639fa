"""
Break the dashboards in many small ways, and count how many of them the tests would see.

Every change is such as could be made in the source, so that the written dashboard would be the
present one: what is asked is whether types, schemas, lint and queries see it. On demand:
`python -m tests.grafana.mutate_dashboards [--every N] [--seed N] [--queries-only]`.
"""

from __future__ import annotations

import argparse
import copy
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.grafana import filled, panels, replay
from tests.grafana.lint import lint
from tests.grafana.lint_base import named
from tests.grafana.prometheus import running
from tests.grafana.scrape import vocabulary
from tests.grafana.test_dashboards import against_schemas, through_types, unknown_units

ENOUGH = 0.85
OTHER_UNITS = {"s": "ms", "percentunit": "percent", "bytes": "s", "cps": "short", "none": "s",
               "short": "percentunit", "dateTimeFromNow": "s", "cpm": "cps"}  # fmt: skip
SWAPS = (("increase(", "rate("), ("rate(", "increase("), ("sum by", "sum without"),
         ("max by", "max without"), (" offset 1d", ""), ("histogram_quantile(0.99,",
         "histogram_quantile(99,"), ("[$__rate_interval]", "[$__interval]"),
         ("[$__rate_interval]", "[5m]"))  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one dashboard."""

    kind: str
    board: str
    where: str
    change: Callable[[dict[str, Any]], None]


def misspelt(word: str) -> str:
    """Leave out the last letter but one, as a hurried hand does."""
    return word[:-2] + word[-1] if len(word) > 2 else word + word


def mutants(name: str) -> Iterator[Mutant]:
    """Give all changes of one dashboard."""
    board = panels.load(name)
    for place, panel in enumerate(panels.panels(board)):
        for kind, where, change in (
            *_of_queries(place, panel),
            *_of_settings(place, panel),
            *_of_tables(place, panel),
        ):
            yield Mutant(kind, name, f"{named(panel)} {where}", change)
    for place, variable in enumerate(board["templating"]["list"]):
        yield Mutant("variable", name, f"${variable['name']} renamed", _renamed(place))
    for place, link in enumerate(board["links"]):
        wrong = misspelt(link["url"].partition("?")[0])
        yield Mutant("link", name, link["url"], _set(("links", place, "url"), wrong))


Change = Callable[[dict[str, Any]], None]
Found = Iterator[tuple[str, str, Change]]


def _set(path: tuple[Any, ...], value: Any) -> Change:
    def change(board: dict[str, Any]) -> None:
        target: Any = board
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value

    return change


def _renamed(place: int) -> Change:
    def change(board: dict[str, Any]) -> None:
        variable = board["templating"]["list"][place]
        variable["name"] = misspelt(variable["name"])

    return change


def _in_panel(place: int, path: tuple[Any, ...], value: Any) -> Change:
    def change(board: dict[str, Any]) -> None:
        target: Any = panels.panels(board)[place]
        for part in path[:-1]:
            target = target[part]
        if value is None:
            del target[path[-1]]
        else:
            target[path[-1]] = value

    return change


def _of_queries(place: int, panel: dict[str, Any]) -> Found:
    """Change metrics, labels, values, variables, functions and legends."""
    for number, target in enumerate(panel["targets"]):
        expr, at = target["expr"], ("targets", number)
        for kind, old, new in _edits(expr):
            yield kind, f"{old} -> {new}", _in_panel(place, (*at, "expr"), new_text(expr, old, new))
        for label in set(panels.LEGEND.findall(target.get("legendFormat", ""))):
            text = target["legendFormat"].replace(label, misspelt(label))
            yield "legend", text, _in_panel(place, (*at, "legendFormat"), text)
        if target.get("format"):
            yield "format", "time_series", _in_panel(place, (*at, "format"), "time_series")


def new_text(expr: str, old: str, new: str) -> str:
    return re.sub(rf"(?<![\w:]){re.escape(old)}(?!\w)", lambda _: new, expr, count=1) if (
        re.fullmatch(r"[\w:]+", old)
    ) else expr.replace(old, new, 1)  # fmt: skip


def _edits(expr: str) -> Iterator[tuple[str, str, str]]:
    for metric in sorted(set(re.findall(r"([a-z][\w:]*)\{", expr))):
        yield "metric", metric, misspelt(metric)
    for label in sorted(set(re.findall(r"(\w+)(?:=~|!=|=)\"", expr))):
        yield "label", f"{label}=", f"{misspelt(label)}="
    for group in sorted(set(re.findall(r"\bby \(([^)]+)\)", expr))):
        yield "label", f"by ({group})", f"by ({misspelt(group)})"
    for value in sorted(set(re.findall(r"=\"([a-z_]+)\"", expr))):
        yield "value", f'="{value}"', f'="{misspelt(value)}"'
    for variable in sorted(set(re.findall(r"\$[a-z]\w*", expr))):
        yield "variable", f'"{variable}"', f'"{misspelt(variable)}"'
    for old, new in SWAPS:
        # A quantile of the increase is that of the rate: no test can tell them apart.
        same = "histogram_quantile" in expr and old in ("rate(", "increase(")
        if old in expr and not same:
            yield "function", old, new


def _of_settings(place: int, panel: dict[str, Any]) -> Found:
    """Change units, intervals, what is said of nothing, and overrides."""
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults.get("unit")
    if unit:
        path = ("fieldConfig", "defaults", "unit")
        yield "unit", f"{unit} -> {OTHER_UNITS[unit]}", _in_panel(place, path, OTHER_UNITS[unit])
    if panel.get("interval"):
        yield "interval", "gone", _in_panel(place, ("interval",), None)
        yield "interval", "15s", _in_panel(place, ("interval",), "15s")
    for number, override in enumerate(panel["fieldConfig"].get("overrides", ())):
        at = ("fieldConfig", "overrides", number)
        text = override["matcher"]["options"]
        wrong = (
            misspelt(text) if override["matcher"]["id"] != "byRegexp" else text.replace("C", "K")
        )
        yield "override", f"{text} -> {wrong}", _in_panel(place, (*at, "matcher", "options"), wrong)
        for which, prop in enumerate(override["properties"]):
            name = misspelt(prop["id"])
            yield "override", name, _in_panel(place, (*at, "properties", which, "id"), name)
            if prop["id"] == "unit":
                other = OTHER_UNITS[prop["value"]]
                path = (*at, "properties", which, "value")
                yield "unit", f"{prop['value']} -> {other}", _in_panel(place, path, other)


def _of_tables(place: int, panel: dict[str, Any]) -> Found:
    """Change transformations."""
    for number, step in enumerate(panel.get("transformations", ())):
        at = ("transformations", number)
        wrong = misspelt(step["id"])
        yield "transformation", wrong, _in_panel(place, (*at, "id"), wrong)
        for name, setting in step["options"].items():
            options = {misspelt(k) if k == name else k: v for k, v in step["options"].items()}
            yield "transformation", misspelt(name), _in_panel(place, (*at, "options"), options)
            for field in setting if isinstance(setting, dict) else ():
                renamed = {misspelt(k) if k == field else k: v for k, v in setting.items()}
                path = (*at, "options", name)
                yield "transformation", f"{name} {field}", _in_panel(place, path, renamed)
    if panel.get("transformations"):
        yield "transformation", "none", _in_panel(place, ("transformations",), None)


def seen_without_data(board: dict[str, Any]) -> bool:
    """Tell whether types, schemas or lint complain."""
    try:
        lost = through_types(board)
    except (KeyError, TypeError, ValueError):
        return True
    return bool(lost or lint(board, vocabulary()) or list(unknown_units(board))
                or against_schemas(board))  # fmt: skip


def judged(mutant: Mutant, url: str, *, queries_only: bool) -> str:
    """Name the first tier that sees a mutant; empty when none does."""
    board = copy.deepcopy(panels.load(mutant.board))
    before = copy.deepcopy(board)
    mutant.change(board)
    if board == before:
        return "the same"
    if not queries_only and seen_without_data(board):
        return "T0"
    return "T2" if next(replay.complaints(mutant.board, board, url), None) else ""


def main() -> int:
    """Judge all mutants, or a sample; the exit code is 1 when too few are seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.grafana.mutate_dashboards")
    parser.add_argument("--every", type=int, default=1, help="judge one of so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--queries-only", action="store_true", help="leave the lint out")
    chosen = parser.parse_args()
    found = [m for name in panels.NAMES for m in mutants(name)]
    found = random.Random(chosen.seed).sample(found, len(found) // chosen.every)
    for name in panels.NAMES:
        assert not seen_without_data(panels.load(name)), f"{name} is not sound to begin with"
    seen: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder, running(filled.database(Path(folder))) as url:
        for mutant in found:
            tier = judged(mutant, url, queries_only=chosen.queries_only)
            seen[mutant.kind, tier] += 1
            if not tier:
                print(f"not seen: {mutant.board}, {mutant.kind}: {mutant.where}")  # noqa: T201
    return _told(seen)


def _told(seen: Counter[tuple[str, str]]) -> int:
    """Print the table."""
    total = sum(n for (_, tier), n in seen.items() if tier != "the same")
    missed = sum(n for (_, tier), n in seen.items() if not tier)
    for kind in sorted({kind for kind, _ in seen}):
        counts = [seen[kind, tier] for tier in ("T0", "T2", "")]
        print(f"{kind:15} T0 {counts[0]:4}  T2 {counts[1]:4}  not seen {counts[2]:4}")  # noqa: T201
    share = 1 - missed / total
    print(f"{total - missed} of {total} mutants are seen: {share:.1%}")  # noqa: T201
    return int(share < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
