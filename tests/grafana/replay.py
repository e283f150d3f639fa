"""Every query of every panel, asked of a real Prometheus in states that hosts can be in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.grafana import history, panels
from tests.grafana.panels import Answer
from tests.grafana.prometheus import QueryError, api

Where = tuple[str, str]  # a panel's title and a query's letter
HOUR = history.HOUR


@dataclass(frozen=True)
class State:
    """A moment, and the host that is looked at."""

    name: str
    host: str
    end: float


HEALTHY = State("healthy", history.HOSTS[0], history.TODAY + HOUR - 10)
NOW = State("now", history.HOSTS[1], history.END)
IN_TROUBLE = [State(i.name, i.host, i.middle) for i in history.INCIDENTS]
STATES = [HEALTHY, *IN_TROUBLE, NOW]
STALE = State("stale", history.STALLED.host, history.STALLED.end)

# What has nothing to show on hosts that have always been healthy.
NOTHING_WRONG: dict[str, set[Where]] = {
    "fleet": {("Most frequent anomalies", "A"), ("Suspected causes now", "A")},
    "host": {
        ("Why it is not 100 now", "A"),
        ("Deductions", "A"),
        ("Suspected causes", "A"),
        ("Anomalies now", "A"),
        ("Rules over time", "A"),
    },
    "latency": set(),
    "exporter": set(),
}
# What has nothing to show because nothing of the kind happens in the history.
NEVER: set[Where] = {("What was not exposed", "A")}


def optional() -> set[Where]:
    """Name the panels of probes that are off by default."""
    board = panels.load("latency")
    (row,) = (p for p in board["panels"] if p.get("title") == "Probes that are off by default")
    return {(p["title"], t["refId"]) for p in row["panels"] for t in p["targets"]}


def hours(board: Mapping[str, Any]) -> float:
    return panels.seconds(board["time"]["from"].removeprefix("now-"))


def answers(board: Mapping[str, Any], url: str, state: State) -> list[Answer]:
    """Ask everything that a dashboard asks."""
    start = state.end - hours(board)
    own = {} if board["uid"] == "sysdx-fleet" else {"instance": state.host}
    values = panels.chosen(board, url, start, state.end, **own)
    return [
        answer
        for panel in panels.panels(board)
        for answer in panels.ask(panel, values, url, start, state.end)
    ]


def empty(found: list[Answer]) -> set[Where]:
    return {(a.panel, a.ref) for a in found if not a.numbers()}


def problems(found: list[Answer]) -> Iterator[str]:
    """Complain about what is wrong in any state."""
    for answer in found:
        where = f"{answer.panel} {answer.ref}"
        if answer.error:
            yield f"{where}: {answer.error[:200]}"
        yield from (f"{where}: Prometheus says {note}" for note in answer.notes)
        if "$" in answer.query:
            yield f"{where}: no value for a variable in {answer.query}"
        if len(set(answer.legends)) != len(answer.legends):
            yield f"{where}: two series have one legend: {sorted(answer.legends)}"
        yield from (f"{where}: {text}" for text in _outside(answer))


def _outside(answer: Answer) -> Iterator[str]:
    """Complain about numbers that no honest measurement gives."""
    numbers = answer.numbers()
    if any(n < -1e-9 for n in numbers) or "inf" in {str(abs(n)) for n in numbers}:
        yield f"a value of {min(numbers)} to {max(numbers)}"


def titles_without_hosts(board: Mapping[str, Any]) -> dict[str, str]:
    """Give each panel's title with what it says when it is empty."""
    return {
        p["title"]: p["fieldConfig"]["defaults"].get("noValue", "") for p in panels.panels(board)
    }


def annotations(board: Mapping[str, Any], url: str, state: State) -> dict[str, int]:
    """Ask for a dashboard's annotations: how many series each of them has."""
    start = state.end - hours(board)
    values = panels.chosen(board, url, start, state.end, instance=state.host)
    counts = {}
    for note in board["annotations"]["list"]:
        query = panels.filled(note["expr"], values)
        every = panels.seconds(note["step"])
        said = api(url, "query_range", query=query, start=start, end=state.end, step=every)
        counts[note["name"]] = len(said["data"]["result"])
    return counts


def complaints(
    name: str, board: Mapping[str, Any], url: str, states: Sequence[State] = STATES
) -> Iterator[str]:
    """Complain about everything that is wrong with a dashboard, state by state."""
    for state in states:
        try:
            said = answers(board, url, state)
        except (AssertionError, QueryError, ValueError) as error:
            yield f"{state.name}: {error}"
            return
        yield from (f"{state.name}: {text}" for text in problems(said))
        found = _surprises(name, empty(said), state)
        yield from (f"{state.name}: {where} is {text}" for where, text in found)


def _surprises(name: str, nothing: set[Where], state: State) -> Iterator[tuple[Where, str]]:
    """Hold what is empty against what must and what may be."""
    off = optional() if name == "latency" else NEVER if name == "exporter" else set()
    must = off | (NOTHING_WRONG[name] if state is HEALTHY else set())
    may = must | NOTHING_WRONG[name] if state is NOW else must
    yield from ((where, "empty") for where in sorted(nothing - may))
    yield from ((where, "not empty") for where in sorted(must - nothing))
