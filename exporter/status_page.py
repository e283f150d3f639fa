"""The status page: the newest report for a person, in one file without scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from analysis.text import duration
from exporter.status_format import mapping, number, text
from exporter.status_sections import band_of, card, report_body
from exporter.status_style import POLICY, STYLE

if TYPE_CHECKING:
    from exporter.store import Store, StoredReport

__all__ = ["ABSENT", "POLICY", "PageCache", "ServiceState"]

ABSENT = "not here"  # what this host does not have; nothing is missing from the picture

_LINKS = (
    ("/report", "newest report"),
    ("/reports", "all reports"),
    ("/report/schema", "schema"),
    ("/metrics", "metrics"),
    ("/-/healthy", "healthy"),
    ("/-/ready", "ready"),
)
_STATUSES = ("error", "timeout", "partial", "unavailable", "ok", ABSENT)
_DOTS = {"healthy": "14804a", "degraded": "d98a16", "critical": "c3272b", "unknown": "8a94a0"}
_SHORTEST_REFRESH, _LONGEST_REFRESH = 5.0, 60.0  # [s]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """
    How the service is, apart from any report.

    Attributes:
        version: Of sysdx.
        hostname: Of this host.
        started: When the service started, RFC 3339.
        ready: True once there is a report.
        stale: True when the newest report is older than it may be.
        next_sweep_seconds: Time to the next sweep [s]; None when none is due.
        running_profile: The profile being swept, None between sweeps.
        collectors: Name, status (or ABSENT) and reason of each collector in its last turn.
        config_problem: Why the last reload failed, None when it did not.
        stopping: True once the service was told to stop.
        running_seconds_left: Rest of the running sweep's window [s].

    """

    version: str
    hostname: str
    started: str
    ready: bool
    stale: bool
    next_sweep_seconds: float | None
    running_profile: str | None
    collectors: Sequence[tuple[str, str, str | None]]
    config_problem: str | None
    stopping: bool
    running_seconds_left: float = 0.0


@dataclass(frozen=True, slots=True)
class _Rendered:
    """
    What a report contributes, rendered once.

    Attributes:
        report_id: Of the report.
        band: Its band.
        title: Its score and band, for the window's title.
        body: HTML.

    """

    report_id: str
    band: str
    title: str
    body: str


class PageCache:
    """Render the page; the part that a report fills is rendered once per report."""

    def __init__(self) -> None:
        """Start empty."""
        self._rendered: _Rendered | None = None

    def render(self, store: Store, state: ServiceState, now: datetime) -> bytes:
        """
        Return the page.

        Args:
            store: Gives the newest report.
            state: How the service is.
            now: The present, with its zone.

        Returns:
            HTML in UTF-8.

        """
        report = store.newest()
        part = _EMPTY if report is None else self._of(report)
        body = (
            _top(state, report, now),
            "<main>",
            _notes(state, store, report),
            part.body,
            _collectors(state.collectors),
            "</main>",
            _footer(state),
        )
        page = _HEAD.format(
            refresh=_refresh(state),
            dot=_DOTS[part.band],
            title=f"{part.title} · {text(state.hostname)}",
            style=STYLE,
        )
        return f"{page}{''.join(body)}</body></html>\n".encode()

    def _of(self, report: StoredReport) -> _Rendered:
        """Return the part of a report, rendered at most once."""
        rendered = self._rendered
        if rendered is None or rendered.report_id != report.report_id:
            rendered = self._rendered = _render(report)
        return rendered


_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="robots" content="noindex"><meta http-equiv="refresh" content="{refresh}">'
    '<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 '
    "viewBox=%270 0 16 16%27%3E%3Ccircle cx=%278%27 cy=%278%27 r=%277%27 "
    'fill=%27%23{dot}%27/%3E%3C/svg%3E">'
    "<title>{title}</title><style>{style}</style></head><body>"
)
_EMPTY = _Rendered(
    "",
    "unknown",
    "no report yet",
    '<section class="card"><h3>There is no report yet</h3><p class="muted">'
    "This page shows the first one as soon as its sweep has finished.</p></section>",
)


def _render(report: StoredReport) -> _Rendered:
    """Render the part of a report."""
    try:
        content: Mapping[str, Any] = mapping(json.loads(report.body))
    except (ValueError, RecursionError):
        content = {}
    summary = mapping(content.get("summary"))
    score, band = number(summary.get("health_score")), band_of(summary)
    title = band if score is None else f"{score:.0f} {band}"
    return _Rendered(report.report_id, band, title, report_body(content))


def _refresh(state: ServiceState) -> int:
    """Return when to look again [s]: soon after the next report, and at least once a minute."""
    due = _LONGEST_REFRESH if state.next_sweep_seconds is None else state.next_sweep_seconds + 1
    return round(min(_LONGEST_REFRESH, max(_SHORTEST_REFRESH, due)))


def _top(state: ServiceState, report: StoredReport | None, now: datetime) -> str:
    """Render host, version and the times of the last and the next sweep."""
    times = []
    if report is not None:
        link = f'<a href="/reports/{text(report.report_id)}">{text(report.report_id)}</a>'
        times.append(f"last sweep {_ago(report.started_at, now)} ({link})")
    if state.running_profile is not None:
        times.append(f"{text(state.running_profile)} sweep running")
    if state.next_sweep_seconds is not None:
        times.append(f"next in {duration(float(max(0, round(state.next_sweep_seconds))))}")
    return (
        f'<header class="top"><h1>{text(state.hostname)}</h1>'
        f'<span class="muted">sysdx {text(state.version)}</span>'
        f'<span class="muted when">{" · ".join(times)}</span></header>'
    )


def _ago(started_at: str, now: datetime) -> str:
    """Write how long ago a sweep started."""
    try:
        seconds = (now - datetime.fromisoformat(started_at)).total_seconds()
    except (ValueError, TypeError):
        return f"at {text(started_at)}"
    return f"{duration(float(round(seconds)))} ago" if seconds >= 1 else "just now"


def _notes(state: ServiceState, store: Store, report: StoredReport | None) -> str:
    """Render what is wrong with the service itself."""
    notes = []
    if state.stopping:
        notes.append(_note("sysdx is stopping.", "", "bad"))
    if state.stale:
        sentence = "This report is stale: newer sweeps failed or did not run."
        notes.append(_note(sentence, "The metrics made from it have been withdrawn.", "bad"))
    if state.config_problem is not None:
        sentence = "The configuration could not be reloaded; the one before is in force."
        notes.append(_note(sentence, text(state.config_problem), ""))
    if store.problem is not None:
        notes.append(_note("Reports are not kept on disk.", text(store.problem), ""))
    newest = next(iter(store.list()), None)
    if report is not None and newest is not None and newest.report_id != report.report_id:
        link = f'<a href="/reports/{text(newest.report_id)}">{text(newest.report_id)}</a>'
        notes.append(_note("A newer sweep ended early; below is the last complete one.", link, ""))
    return "".join(notes)


def _note(sentence: str, more: str, kind: str) -> str:
    """Return a sentence that stands out; both texts are HTML already."""
    detail = f'<p class="muted">{more}</p>' if more else ""
    return f'<section class="card note {kind}"><b>{sentence}</b>{detail}</section>'


def _collectors(collectors: Sequence[tuple[str, str, str | None]]) -> str:
    """Render the collectors: those with a reason one by one, the others in a row."""
    ordered = sorted(collectors, key=lambda c: (_STATUSES.index(_status(c[1])), c[0]))
    rows = [
        f'<tr><td>{text(name)}</td><td class="{_status(status)}">{text(status)}</td>'
        f"<td>{text(reason or '')}</td></tr>"
        for name, status, reason in ordered
        if status not in ("ok", ABSENT)
    ]
    table = f'<div class="wide"><table>{"".join(rows)}</table></div>' if rows else ""
    chips = (_chips(word, [c[0] for c in ordered if c[1] == word]) for word in ("ok", ABSENT))
    return card("Collectors", "".join(chips) + table)


def _chips(word: str, names: Sequence[str]) -> str:
    """Render names in a row after what they have in common."""
    if not names:
        return ""
    kind = "ok" if word == "ok" else "muted"
    listed = "".join(f"<li>{text(name)}</li>" for name in names)
    return f'<ul class="chips"><li class="{kind}"><b>{text(word)}</b></li>{listed}</ul>'


def _status(status: str) -> str:
    """Return a status that the style sheet knows."""
    return status if status in _STATUSES else "error"


def _footer(state: ServiceState) -> str:
    """Render the way to everything else."""
    links = "".join(f'<li><a href="{path}">{name}</a></li>' for path, name in _LINKS)
    return f'<footer><ul>{links}<li class="muted">up since {text(state.started)}</li></ul></footer>'
