"""
What is wrong with a dashboard, without a Grafana and without data.

Every check is a function from a dashboard to complaints; the vocabulary is that of a real scrape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path

from grafana.source.frame import TITLES
from tests.grafana import dimension, lint_queries, lint_shown, panels
from tests.grafana.lint_base import CHECKS, Board, check, expressions, named, tree_of
from tests.grafana.panels import variables_in
from tests.grafana.scrape import Vocabulary

ROOT = Path(__file__).parents[2]
# Their checks are registered when they are imported.
PARTS = (lint_queries, lint_shown)
BUILT_IN = {"__rate_interval", "__range", "__interval"}
IN_LINKS = re.compile(r"\$\{__(value\.raw|data\.fields\.[\w ]+|url_time_range)\}")
_HOST = r"\$\{(?:instance|__value\.raw|__data\.fields\.Host)\}"
HOST_PATHS = re.compile(rf"http://{_HOST}(/|/report|/reports/\$\{{__value\.raw\}})")


def lint(board: Board, known: Vocabulary) -> list[str]:
    """Gather all complaints."""
    return [f"{c.__name__}: {text}" for c in CHECKS for text in c(board, known)]


@check
def it_is_named_and_read_only(board: Board, _: Vocabulary) -> Iterator[str]:
    if TITLES.get(board.get("uid", "")) != board.get("title"):
        yield f"uid {board.get('uid')!r} and title {board.get('title')!r} do not belong together"
    if board.get("editable") is not False:
        yield "what is edited in the browser is lost with the next file"
    if "sysdx" not in board.get("tags", ()) or not board.get("description"):
        yield "no tag or no description"
    if not re.fullmatch(r"\d+[smh]", board.get("refresh", "")):
        yield "it does not refresh itself"


@check
def panels_are_numbered_named_and_explained(board: Board, _: Vocabulary) -> Iterator[str]:
    ids = [p.get("id") for p in panels.flat(board)]
    if len(set(ids)) != len(ids) or not all(isinstance(i, int) and i > 0 for i in ids):
        yield f"ids are not unique positive numbers: {ids}"
    titles = [p.get("title") for p in panels.flat(board)]
    yield from (f"two panels are called {t!r}" for t in set(titles) if titles.count(t) > 1)
    for panel in panels.panels(board):
        text = panel.get("description", "")
        if not panel.get("title") or len(text) < 20 or not text.endswith("."):
            yield f"{named(panel)} has no title or no description in sentences"


@check
def panels_do_not_overlap(board: Board, _: Vocabulary) -> Iterator[str]:
    open_row = list(board["panels"])
    for group in (open_row, *(p["panels"] for p in board["panels"] if p.get("panels"))):
        for one, other in combinations(group, 2):
            if _overlap(one["gridPos"], other["gridPos"]):
                yield f"{named(one)} lies over {named(other)}"
    for panel in panels.flat(board):
        place = panel["gridPos"]
        if place["x"] + place["w"] > 24 or place["h"] < 1:
            yield f"{named(panel)} is outside of the 24 columns"


def _overlap(a: Mapping[str, int], b: Mapping[str, int]) -> bool:
    across = a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"]
    return across and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


@check
def the_data_source_can_be_chosen(board: Board, _: Vocabulary) -> Iterator[str]:
    first = board["templating"]["list"][0]
    if (first["type"], first.get("query"), first["name"]) != ("datasource", "prometheus",
                                                             "datasource"):  # fmt: skip
        yield "the first variable is not the data source"
    asking = [*panels.panels(board), *board["annotations"]["list"]]
    asking += [v for v in board["templating"]["list"] if v["type"] == "query"]
    for each in asking:
        if each.get("datasource") != {"type": "prometheus", "uid": "${datasource}"}:
            yield f"{each.get('title') or each.get('name')!r} has a data source of its own"


@check
def variables_are_defined_and_used(board: Board, _: Vocabulary) -> Iterator[str]:
    listed = [v["name"] for v in board["templating"]["list"]]
    for need in ("job", "instance"):
        if need not in listed:
            yield f"there is no variable {need}"
    body = {k: v for k, v in board.items() if k != "templating"}
    asked = " ".join(text for _, text in expressions(board))
    used = variables_in(IN_LINKS.sub("", json.dumps(body)) + asked) - BUILT_IN
    yield from (f"${name} is not defined" for name in sorted(used - set(listed)))
    yield from (f"${name} is not used" for name in sorted(set(listed) - used))
    for variable in board["templating"]["list"]:
        if variable["type"] == "query" and variable.get("refresh") != 2:
            yield f"${variable['name']} does not follow the time range"


@check
def nothing_is_explained(board: Board, known: Vocabulary) -> Iterator[str]:
    """What may be absent on a healthy host says so instead of "No data"."""
    always = {"up", "sysdx_build_info", "scrape_duration_seconds", "scrape_samples_scraped"}
    for panel in panels.panels(board):
        if panel["fieldConfig"]["defaults"].get("noValue"):
            continue
        trees = [tree_of(t["expr"], board) for t in panel["targets"]]
        names = {s.name for t in trees if t is not None for s, _ in dimension.selectors(t)}
        if any(may_be_absent(n) for n in names - always):
            yield f"{named(panel)} does not say what it means when there is nothing"


def may_be_absent(name: str) -> bool:
    """Tell whether a metric needs more than a running exporter with a fresh sweep."""
    return bool(re.search(r"deduction|hypothesis|_since_|transitions|errors|dropped|_probe_|latency"
                          r"|last_success|anomaly_active|report", name))  # fmt: skip


@check
def links_lead_somewhere(board: Board, _: Vocabulary) -> Iterator[str]:
    others = {u for u in TITLES if u != board["uid"]}
    urls = [*re.findall(r'"url": "([^"]*)"', json.dumps(board))]
    for url in urls:
        yield from (f"{url}: {text}" for text in _dead(url))
    linked = {m[1] for u in urls if (m := re.match(r"/d/([\w-]+)", u))}
    yield from (f"no link to {uid}" for uid in sorted(others - linked))
    if not {"/", "/report"} <= {m[1] for u in urls if (m := HOST_PATHS.fullmatch(u))}:
        yield "no link to the host's pages"


def _dead(url: str) -> Iterator[str]:
    if match := re.match(r"/d/([\w-]+)", url):
        if match[1] not in TITLES:
            yield "no such dashboard"
    elif match := re.fullmatch(r"\$\{docs\}/([\w./-]+)#\$\{__value\.raw\}", url):
        file = ROOT / "docs" / match[1]
        if not file.is_file() or not _anchored(file):
            yield "no such document, or not a section for each rule"
    elif not HOST_PATHS.fullmatch(url):
        yield "neither a dashboard, nor a document, nor a page of a host"
    for part in re.findall(r"\$\{__([^}]*)\}", url):
        if not IN_LINKS.fullmatch(f"${{__{part}}}"):
            yield f"Grafana puts nothing in the place of ${{__{part}}}"


@cache
def _anchored(file: Path) -> bool:
    """Tell whether a document has a section for each of what it counts; others hold it whole."""
    text = file.read_text(encoding="utf-8")
    headings = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
    count = re.search(r"^There are (\d+) (rules|causes)\.$", text, re.MULTILINE)
    return count is not None and int(count[1]) == len(headings)
