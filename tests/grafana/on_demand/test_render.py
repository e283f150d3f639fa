"""
Every dashboard as a reader sees it, drawn by Grafana's own libraries in Chromium.

The pictures are kept in the folder that SYSDX_PICTURES names, else in pytest's.
"""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path

import pytest

from tests.grafana import filled, history, panels, replay
from tests.grafana.prometheus import running
from tests.grafana.render.renderer import Job, render
from tests.grafana.render.shown import Seen, says

pytestmark = pytest.mark.timeout(900)

DISK = replay.IN_TROUBLE[0]
# The exporter does not answer any more since a third of an hour; there never was one.
GONE = replay.State("gone", DISK.host, history.END + 20 * 60)
NEVER = replay.State("never", "", history.END)
STATES = {s.name: s for s in (replay.HEALTHY, *replay.IN_TROUBLE, replay.STALE, GONE, NEVER)}
KNOWN = ("healthy", *(state.name for state in replay.IN_TROUBLE))
UNKNOWN = ("gone", "never")
ALL = [(board, state) for board in panels.NAMES for state in STATES]

# Panels with nothing to show: of what is off by default, and of what is well.
OFF = {
    "fsync", "Block I/O size", "Softirq delay", "Softirqs", "Interrupts", "Kernel locks",
    "Direct reclaim", "Compaction", "On CPU", "Process lifetime", "TCP connections",
}  # fmt: skip
EMPTY = {
    "fleet": set(),
    "host": set(),
    "latency": OFF,
    "exporter": {"What was not exposed"},
}
ONLY_HEALTHY = {
    "fleet": {"Most frequent anomalies", "Suspected causes now"},
    "host": {
        "Why it is not 100 now", "Suspected causes", "Deductions", "Anomalies now",
        "Rules over time",
    },
    "latency": set(),
    "exporter": set(),
}  # fmt: skip
# What may say "No data", and only where there never was any host.
SPEECHLESS: dict[str, set[str]] = {name: set() for name in panels.NAMES}
# Words that say that something is well, which nobody knows of a host that does not answer.
WELL = re.compile(
    r"^(none|nothing|nothing is .*|nothing was deducted.*|no rule .*|.* counts none)$"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    named = os.environ.get("SYSDX_PICTURES")
    found = Path(named) if named else tmp_path_factory.mktemp("pictures")
    found.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    data = filled.database(tmp_path_factory.mktemp("history"))
    with running(data) as full, running(tmp_path_factory.mktemp("nothing")) as empty:
        yield dict.fromkeys(STATES, full) | {"never": empty}


def job(board, state, url, picture):
    start = state.end - replay.hours(board)
    one_host = board["uid"] != "sysdx-fleet" and state.host
    chosen = {"instance": state.host} if one_host else {}
    others = [panels.load(name) for name in panels.NAMES]
    return Job(board, url, start, state.end, picture, chosen, others)


@pytest.fixture(scope="module")
def pages(urls, folder):
    """Draw all dashboards in all states, in one browser."""
    jobs = [
        job(panels.load(name), STATES[state], urls[state], folder / f"{name}-{state}.png")
        for name, state in ALL
    ]
    return dict(zip(ALL, render(jobs), strict=True))


def titles(page, *, saying=None):
    """Name the panels that have nothing to show, or those of them that say a certain text."""
    empty = [p for p in page["panels"] if p["empty"]]
    return {p["title"] for p in empty if saying is None or p["lines"] == [saying]}


def unlike(page, board, state, url):
    """Complain about what a page shows unlike what Prometheus says."""
    start = state.end - replay.hours(board)
    own = {} if board["uid"] == "sysdx-fleet" else {"instance": state.host}
    values = panels.chosen(board, url, start, state.end, **own)
    told = {p["id"]: p for p in page["panels"]}
    for panel in panels.panels(board):
        answers = list(panels.ask(panel, values, url, start, state.end))
        if broken := [a.error for a in answers if a.error]:
            yield f"{panel['title']}: {broken}"
            continue
        seen = Seen(panel, answers, told[panel["id"]], state.end)
        yield from (f"{panel['title']}: {text}" for text in seen.complaints())


@pytest.mark.parametrize(("name", "state"), ALL)
def test_a_page_is_drawn_without_any_error(name, state, pages):
    assert pages[name, state]["problems"] == []


@pytest.mark.parametrize(("name", "state"), [(n, s) for n, s in ALL if s != "never"])
def test_a_page_shows_what_the_queries_say(name, state, pages, urls):
    found = unlike(pages[name, state], panels.load(name), STATES[state], urls[state])
    assert not (texts := list(found)), "\n".join(texts)


@pytest.mark.parametrize("state", KNOWN)
@pytest.mark.parametrize("name", panels.NAMES)
def test_only_listed_panels_are_empty(name, state, pages):
    expected = EMPTY[name] | (ONLY_HEALTHY[name] if state == "healthy" else set())
    page = pages[name, state]
    assert titles(page) == expected
    assert titles(page, saying="No data") == set()


@pytest.mark.parametrize(("name", "state"), [(n, s) for n, s in ALL if s in UNKNOWN])
def test_no_data_is_said_only_where_it_is_listed(name, state, pages):
    expected = SPEECHLESS[name] if state == "never" else set()
    assert titles(pages[name, state], saying="No data") == expected


@pytest.mark.parametrize("name", panels.NAMES)
def test_without_any_host_every_panel_is_empty(name, pages):
    page = pages[name, "never"]
    assert titles(page) == {p["title"] for p in page["panels"]}


@pytest.mark.parametrize(("name", "state"), [(n, s) for n, s in ALL if s in UNKNOWN])
def test_of_a_host_that_does_not_answer_nothing_good_is_said(name, state, pages):
    empty = [p for p in pages[name, state]["panels"] if p["empty"]]
    praise = [f"{p['title']}: {text}" for p in empty for text in p["lines"] if WELL.match(text)]
    assert not praise, "\n".join(praise)


@pytest.mark.parametrize(("name", "state"), [(n, s) for n, s in ALL if s in UNKNOWN])
def test_a_panel_without_a_value_is_not_blank(name, state, pages):
    assert [p["title"] for p in pages[name, state]["panels"] if not p["lines"]] == []


def links(page):
    return [link["to"] for p in (page, *page["panels"]) for link in p["links"]]


@pytest.mark.parametrize("name", panels.NAMES)
def test_every_link_leads_to_what_is_there(name, pages):
    found = links(pages[name, "disk"])
    boards = {panels.load(each)["uid"] for each in panels.NAMES} - {panels.load(name)["uid"]}
    assert {m[1] for to in found if (m := re.match(r"/d/([\w-]+)", to))} >= boards
    for to in found:
        assert "$" not in to
        assert "undefined" not in to
        assert to.startswith(("/d/", "http://", "https://"))


def test_links_carry_the_host_and_the_time(pages):
    fleet, host = (links(pages[name, "disk"]) for name in ("fleet", "host"))
    assert f"http://{DISK.host}/report" in fleet
    assert f"http://{DISK.host}/report" in host
    assert any(re.match(rf"http://{DISK.host}/reports/\d+T\d+Z-quick-\w+$", to) for to in host)
    start = DISK.end - replay.hours(panels.load("fleet"))
    time = f"from={start * 1000:.0f}&to={DISK.end * 1000:.0f}"
    (there,) = (to for to in fleet if to.startswith("/d/sysdx-host") and DISK.host in to)
    assert time in there
    assert "var-datasource=prometheus" in there


def _query(title, change):
    def fault(board):
        target = panels.panel(board, title)["targets"][0]
        assert change(target["expr"]) != target["expr"]
        target["expr"] = change(target["expr"])

    return fault


def _transformation(change):
    def fault(board):
        change(panels.panel(board, "Anomalies now")["transformations"])

    return fault


def _misspelt(steps):
    steps[0]["id"] = "organise"


def _unheard(steps):
    steps[0]["options"]["renamedByName"] = steps[0]["options"].pop("renameByName")


def _unknown_setting(board):
    panels.panel(board, "Score")["fieldConfig"]["defaults"]["custom"]["lineWith"] = 3


def _other_source(board):
    panels.panel(board, "Score")["datasource"]["uid"] = "${source}"


def _other_type(board):
    panels.panel(board, "Score")["type"] = "graph"


def _out_of_sight(board):
    panels.panel(board, "CPU: utilization")["fieldConfig"]["defaults"] |= {"min": 5, "max": 6}


def _lost_link(board):
    board["links"][0]["url"] = "http://${host}/report"


FAULTS = {
    "a wrong metric": (
        _query("Score", lambda e: e.replace("sysdx_health_score", "sysdx_health_scores")),
        r"Score.*not named|Score: it has the series",
    ),
    "broken PromQL": (_query("Score", lambda e: e + ")"), r"panel Score: bad_data: .*parse error"),
    "an undefined variable": (
        _query("Score", lambda e: e.replace("$instance", "$host")),
        r"undefined variable \$host",
    ),
    "a misspelt transformation": (_transformation(_misspelt), r"organise.* not found"),
    "a misspelt option of one": (_transformation(_unheard), r"Anomalies now: its columns are"),
    "a misspelt setting": (_unknown_setting, r"no field has a setting custom\.lineWith"),
    "another data source": (_other_source, r"undefined variable \$\{source\}"),
    "an unknown type of panel": (_other_type, r"its type graph is not known"),
    "lines out of sight": (_out_of_sight, r"CPU: utilization: .*nothing is drawn"),
    "a link with a lost variable": (_lost_link, r"undefined variable \$\{host\}"),
}


@pytest.fixture(scope="module")
def broken(urls, folder):
    """Draw a dashboard with each of the faults; what is complained of."""
    boards = {what: copy.deepcopy(panels.load("host")) for what in FAULTS}
    for what, (fault, _) in FAULTS.items():
        fault(boards[what])
    jobs = [
        job(board, DISK, urls["disk"], folder / f"broken-{number}.png")
        for number, board in enumerate(boards.values())
    ]
    found = zip(boards.items(), render(jobs), strict=True)
    return {
        what: [*page["problems"], *unlike(page, panels.load("host"), DISK, urls["disk"])]
        for (what, _), page in found
    }


@pytest.mark.parametrize("what", FAULTS)
def test_a_broken_dashboard_is_found(what, broken):
    _, words = FAULTS[what]
    assert any(re.search(words, text) for text in broken[what]), broken[what]


SECONDS, SHARE, NUMBER = {"unit": "s"}, {"unit": "percentunit"}, {"unit": "none"}
NAMES = {"mappings": [{"type": "value", "options": {"0": {"text": "no"}, "1": {"text": "yes"}}}]}
AGE = {"unit": "dateTimeFromNow"}


@pytest.mark.parametrize(
    ("text", "value", "config", "right"),
    [
        ("65.8", 65.84, NUMBER, True), ("66", 65.84, NUMBER, True), ("65", 65.84, NUMBER, False),
        ("98.5%", 0.98499, SHARE, True), ("98.5%", 0.9856, SHARE, False),
        ("0.985", 0.985, SHARE, False), ("1 mins", 63.7, SECONDS, True),
        ("1.05 ms", 0.001048, SECONDS, True), ("1.05 s", 0.001048, SECONDS, False),
        ("yes", 1, NAMES, True), ("yes", 0, NAMES, False), ("1", 1, NAMES, False),
        ("16 minutes ago", 40_000, AGE, True), ("18 minutes ago", 40_000, AGE, False),
        ("a minute ago", 940_000, AGE, True), ("an hour ago", 40_000, AGE, False),
        ("unknown", 0, NUMBER, False),
    ],
)  # fmt: skip
def test_a_text_says_a_value_as_exactly_as_it_is_written(text, value, config, right):
    assert says(text, value, config, now=1000.0) == right
