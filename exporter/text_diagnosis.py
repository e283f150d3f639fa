"""The diagnosis as text: causes ranked, each with what speaks for and against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from analysis.hypothesis import Bearing, Ground, Hypothesis
from analysis.text import percent
from exporter.layout import paragraph, safe

_MOST = 5
_INDENT = "     "
_ASKED = {
    Bearing.SEEN: "the cause itself",
    Bearing.MUST: "must hold",
    Bearing.FOR: "speaks for it",
    Bearing.AGAINST: "would speak against it",
}
_WORDS = {True: "yes", False: "no", None: "unknown"}


def diagnosis(hypotheses: Iterable[Hypothesis], width: int) -> str:
    """
    Write the differential diagnosis.

    Args:
        hypotheses: Most likely first.
        width: Longest line [columns].

    Returns:
        The first five, each with its confidence and how it was reached; empty when
        there is nothing to explain.

    """
    ranked = tuple(hypotheses)
    if not ranked:
        return ""
    lines = [line for n, h in enumerate(ranked[:_MOST], 1) for line in _one(n, h, width)]
    if len(ranked) > _MOST:
        lines.append(f"{_INDENT}and {len(ranked) - _MOST} less likely")
    return "\n".join(["DIAGNOSIS", *lines])


def _one(number: int, one: Hypothesis, width: int) -> Iterator[str]:
    """Write one hypothesis."""
    sure = f"confidence {percent(one.confidence)}" if one.known else "no pattern knows its cause"
    title = f"{one.title[:1].upper()}{one.title[1:]} ({sure})"
    yield paragraph(title, f"{number:>3}. ", width, _INDENT)
    shown = f"{safe(one.id)} ({safe(one.resource)}), seen by {', '.join(one.seen)}"
    if one.explains:
        shown += f"; explains {', '.join(one.explains)}"
    yield paragraph(shown, _INDENT, width)
    if one.known:
        yield from (paragraph(_ground(g), _INDENT, width, f"{_INDENT}  ") for g in one.grounds)


def _ground(ground: Ground) -> str:
    """Write a clue: a plus where it supports the cause, a minus where it does not."""
    against = ground.bearing is Bearing.AGAINST
    sign = "?" if ground.holds is None else "+" if ground.holds is not against else "-"
    return f"{sign} {ground.text}: {_WORDS[ground.holds]} ({_ASKED[ground.bearing]})"
