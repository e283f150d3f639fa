"""The verdict: what is wrong, who does it, since when and what to do, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from analysis.hypothesis import Hypothesis
from analysis.model import Anomaly, Culprit, Recommendation
from analysis.text import number, percent, size

# Who acts; a disk, a link or a mount is where it happens.
_DOERS = frozenset({"process", "cgroup", "listener"})
_VERBS = {
    "cores": "takes", "ratio": "takes", "bytes": "holds", "bytes/s": "moves", "1/s": "causes",
    "sockets": "holds", "datagrams": "lost", "pages/s": "asks for",
}  # fmt: skip
_MOST_CAUSES = 2
_SURE, _LIKELY = 0.8, 0.5
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


def verdict(
    told: Told,
    anomalies: Sequence[Anomaly],
    advice: Iterable[Recommendation],
    hypotheses: Sequence[Hypothesis],
) -> str:
    """
    Say in one or two sentences what a sweep means.

    Args:
        told: What is known of the whole host.
        anomalies: The active ones, worst first.
        advice: The advice, most important first.
        hypotheses: What may be behind the anomalies, most likely first; one at least
            where there is an anomaly.

    Returns:
        The most likely cause, the worst finding that shows it with its culprit, what
        else is wrong, and the next step.

    """
    known = "" if told.coverage >= 1 else f"; only {percent(told.coverage)} of the host is known"
    if not anomalies:
        if told.score is None:
            return f"Unknown: too little of this host could be read{known}."
        found = f"none of {told.rules} rules found anything"
        return f"{told.band.capitalize()} ({told.score:g}): {found}{known}."
    cause = hypotheses[0]
    worst = next(a for a in anomalies if a.rule in cause.seen)
    since = _clock(worst.since, told.at)
    return (
        f"{_head(told, len(anomalies))}: {_what(cause, worst)}{_blame(worst)}, since {since}"
        f"{_others(hypotheses)}{known}.{_step(cause, anomalies, advice)}"
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


def _what(cause: Hypothesis, worst: Anomaly) -> str:
    """Name the cause, if it is one that is known, and the finding that shows it."""
    if not cause.known:
        return worst.message
    return f"{cause.title}{_doubt(cause)}: {_in_sentence(worst)}"


def _doubt(cause: Hypothesis) -> str:
    """Say how sure it is, unless it is."""
    if cause.confidence >= _SURE:
        return ""
    return " (likely)" if cause.confidence >= _LIKELY else " (perhaps)"


def _in_sentence(worst: Anomaly) -> str:
    """Begin a message like any word, unless it begins with a name or an abbreviation."""
    first, *_ = worst.message.split(maxsplit=1) or [""]
    name = first in {worst.subject, *(c.name for c in worst.culprits)}
    plain = first[1:].islower() or len(first) == 1
    return worst.message[:1].lower() + worst.message[1:] if plain and not name else worst.message


def _others(hypotheses: Sequence[Hypothesis]) -> str:
    """Name causes of what the first one does not explain."""
    told = {*hypotheses[0].seen, *hypotheses[0].explains}
    names = []
    for other in hypotheses[1:]:
        if not told >= set(other.seen):
            names.append(other.id.replace("_", " "))
        told |= {*other.seen, *other.explains}
    if not names:
        return ""
    more = len(names) - _MOST_CAUSES
    shown = [*names[:_MOST_CAUSES], *([f"{more} more"] if more > 0 else [])]
    *first, last = shown
    return f"; also {', '.join(first)} and {last}" if first else f"; also {last}"


def _step(cause: Hypothesis, anomalies: Sequence[Anomaly], advice: Iterable[Recommendation]) -> str:
    """Tell the first thing to do about the cause."""
    worst = next(a for a in anomalies if a.rule in cause.seen)
    same = {a.rule for a in anomalies if a.cause == worst.cause} | {*cause.seen}
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
