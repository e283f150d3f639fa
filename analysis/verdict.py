"""The verdict: what is wrong, who does it, since when and what to do, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from analysis.model import Anomaly, Culprit, Recommendation
from analysis.text import percent, size


def verdict(
    score: float | None,
    band: str,
    coverage: float,
    anomalies: Sequence[Anomaly],
    advice: Sequence[Recommendation],
    rules: int,
) -> str:
    """
    Say in one or two sentences what a sweep means.

    Args:
        score: The health score; None when too little is known.
        band: Its band.
        coverage: Share of resources that are known [ratio].
        anomalies: The active ones, worst first.
        advice: The advice, most important first.
        rules: How many rules looked.

    Returns:
        The sentence.

    """
    if not anomalies:
        known = "" if coverage >= 1 else f"; only {percent(coverage)} of the host is known"
        if score is None:
            return f"Unknown: too little of this host could be read{known}."
        return f"{band.capitalize()} ({score:g}): none of {rules} rules found anything{known}."
    worst = anomalies[0]
    head = f"{band.capitalize()} ({'no score' if score is None else f'{score:g}'}): "
    sentence = head + worst.message + _blame(worst.culprits) + f", since {_clock(worst.since)}"
    more = len(anomalies) - 1
    if more:
        sentence += f"; and {more} more finding{'s' if more > 1 else ''}"
    return f"{sentence}. {advice[0].title}." if advice else f"{sentence}."


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
    else:
        text = f"{culprit.value:.3g} {culprit.unit}"
    return text if culprit.share is None else f"{text} ({percent(culprit.share)})"


def _blame(culprits: Sequence[Culprit]) -> str:
    """Name the first culprit."""
    if not culprits:
        return ""
    first = culprits[0]
    pid = f" (pid {first.id})" if first.kind == "process" and first.id else ""
    takes = amount(first)
    return f"; {first.name}{pid}" + (f" takes {takes}" if takes else "")


def _clock(when: float) -> str:
    """Write a wall time of day."""
    return datetime.fromtimestamp(when, UTC).strftime("%H:%M:%S UTC")
