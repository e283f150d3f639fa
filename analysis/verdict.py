"""The verdict: what is wrong, who does it, since when and what to do, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from analysis.model import Anomaly, Culprit, Recommendation
from analysis.text import number, percent, size

# Who acts; a disk, a link or a mount is where it happens.
_DOERS = frozenset({"process", "cgroup", "listener"})
_VERBS = {"cores": "takes", "ratio": "takes", "bytes": "holds", "bytes/s": "moves", "1/s": "causes"}
_MOST_CAUSES = 2
# Within this time of a sweep its time of day tells which day is meant [s].
_RECENT = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Told:
    """
    What a verdict tells of the whole host.

    Attributes:
        score: The health score; None when too little is known.
        band: Its band.
        coverage: Share of resources that are known [ratio].
        rules: How many rules looked.
        at: Wall time of the sweep [s].

    """

    score: float | None
    band: str
    coverage: float
    rules: int
    at: float


def verdict(told: Told, anomalies: Sequence[Anomaly], advice: Iterable[Recommendation]) -> str:
    """
    Say in one or two sentences what a sweep means.

    Args:
        told: What is known of the whole host.
        anomalies: The active ones, worst first.
        advice: The advice, most important first.

    Returns:
        The worst finding with its culprit, what else is wrong, and the next step.

    """
    known = "" if told.coverage >= 1 else f"; only {percent(told.coverage)} of the host is known"
    if not anomalies:
        if told.score is None:
            return f"Unknown: too little of this host could be read{known}."
        found = f"none of {told.rules} rules found anything"
        return f"{told.band.capitalize()} ({told.score:g}): {found}{known}."
    worst = anomalies[0]
    return (
        f"{_head(told, len(anomalies))}: {worst.message}{_blame(worst)}, "
        f"since {_clock(worst.since, told.at)}{_others(anomalies)}{known}."
        f"{_step(anomalies, advice)}"
    )


def amount(culprit: Culprit) -> str:
    """
    Write what a culprit takes.

    Args:
        culprit: The culprit.

    Returns:
        Such as "1.9 cores (97 %)"; empty when nothing is known of it.

    """
    if culprit.value is None:
        return ""
    if culprit.unit.startswith("bytes"):
        text = size(culprit.value) + culprit.unit.removeprefix("bytes")
    elif culprit.unit == "ratio":
        text = percent(culprit.value)
    elif culprit.unit.startswith("1/"):
        text = number(culprit.value) + culprit.unit.removeprefix("1")
    else:
        text = f"{number(culprit.value)} {culprit.unit}"
    return text if culprit.share is None else f"{text} ({percent(culprit.share)})"


def _head(told: Told, count: int) -> str:
    """Name the band and the score; a healthy host with findings is told to have them."""
    score = "no score" if told.score is None else f"{told.score:g}"
    head = f"{told.band.capitalize()} ({score})"
    if told.band != "healthy":
        return head
    return f"{head} with {count} warnings" if count > 1 else f"{head} with a warning"


def _blame(worst: Anomaly) -> str:
    """Name who does it, unless the sentence is about that one already."""
    first = next((c for c in worst.culprits if c.kind in _DOERS), None)
    if first is None or first.name == worst.subject or f"{first.name} (" in worst.message:
        return ""
    pid = f" (pid {first.id})" if first.kind == "process" and first.id else ""
    takes = amount(first)
    verb = _VERBS.get(first.unit, "has")
    return f"; {first.name}{pid}" + (f" {verb} {takes}" if takes else "")


def _others(anomalies: Sequence[Anomaly]) -> str:
    """Name the other causes; more findings of the same one are no other trouble."""
    causes = dict.fromkeys(a.cause for a in anomalies)
    names = [cause.replace("_", " ") for cause in causes if cause != anomalies[0].cause]
    if not names:
        return ""
    more = len(names) - _MOST_CAUSES
    shown = [*names[:_MOST_CAUSES], *([f"{more} more"] if more > 0 else [])]
    *first, last = shown
    return f"; also {', '.join(first)} and {last}" if first else f"; also {last}"


def _step(anomalies: Sequence[Anomaly], advice: Iterable[Recommendation]) -> str:
    """Tell the first thing to do about the worst cause."""
    worst = anomalies[0]
    same = {a.rule for a in anomalies if a.cause == worst.cause}
    title = next((item.title for item in advice if item.addresses in same), None)
    if title is not None:
        return f" {title}."
    return f" Next: {worst.next_steps[0].rstrip('.')}." if worst.next_steps else ""


def _clock(when: float, now: float) -> str:
    """Write a wall time, with its date unless it is plain which day is meant."""
    recent = abs(now - when) < _RECENT
    return datetime.fromtimestamp(when, UTC).strftime(
        "%H:%M:%S UTC" if recent else "%Y-%m-%d %H:%M UTC"
    )
