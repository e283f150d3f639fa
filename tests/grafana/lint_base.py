"""What checks of dashboards share: the register of checks, and ways to read a dashboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from tests.grafana import dimension, panels
from tests.grafana.scrape import Vocabulary

Board = Mapping[str, Any]
Check = Callable[[Board, Vocabulary], Iterator[str]]
CHECKS: list[Check] = []

# What the variables stand for where an expression is only read.
EXAMPLES = {"__rate_interval": "135s", "__range": "21600s", "__interval": "120s"}


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def named(panel: Mapping[str, Any]) -> str:
    return f"panel {panel.get('id')} {panel.get('title')!r}"


def example(board: Board) -> dict[str, str]:
    own = {v["name"]: "some" for v in board["templating"]["list"]}
    return {**own, **EXAMPLES}


Query = tuple[dict[str, Any], dict[str, Any], Any]


def queries(board: Board) -> list[Query]:
    """Give every query that can be read: its panel, its target and its tree."""
    return [
        (panel, target, tree)
        for panel in panels.panels(board)
        for target in panel.get("targets", ())
        if (tree := tree_of(target["expr"], board)) is not None
    ]


def tree_of(text: str, board: Board) -> Any | None:
    return _parsed(panels.filled(text, example(board)))


@cache
def _parsed(text: str) -> Any | None:
    try:
        return dimension.parse(text)
    except ValueError:
        return None


def expressions(board: Board) -> Iterator[tuple[str, str]]:
    """Give every PromQL text: of panels, of annotations and of variables."""
    for panel in panels.panels(board):
        for target in panel.get("targets", ()):
            yield f"{named(panel)} {target.get('refId')}", target["expr"]
    for note in board["annotations"]["list"]:
        yield f"annotation {note['name']!r}", note["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            yield f"variable {variable['name']}", match[1] if match else "no label_values()"
