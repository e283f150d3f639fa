"""What changed between two reports, as text for a terminal."""

from __future__ import annotations

from exporter.diff import Change, Difference, Side
from exporter.layout import WIDTH, grid, paragraph
from exporter.text_use import measure

_LONGEST = 30  # rows of the table of use
# Between two sweeps of a healthy host everything moves a little.
_NOISE = {"ratio": 0.01, "tasks": 0.1}
_UNKNOWN = "unknown"


def text(difference: Difference, width: int = WIDTH) -> str:
    """
    Write out what changed.

    Args:
        difference: Between two reports.
        width: Longest line [columns].

    Returns:
        Score, deductions, anomalies and use; shares that moved by less than a
        hundredth, and queues by less than a tenth, are left out.

    """
    parts = [
        grid(map(_side, ("A", "B"), (difference.before, difference.after)), "", width),
        "\n".join(paragraph(f"warning: {w}", "", width) for w in difference.warnings),
        _score(difference),
        _deductions(difference, width),
        _anomalies(difference, width),
        _use(difference, width),
    ]
    shown = [part for part in parts if part]
    if not (difference.deductions or difference.anomalies or parts[-1]):
        shown.append("Nothing of note changed.")
    return "\n\n".join(shown) + "\n"


def _side(name: str, side: Side) -> tuple[str, ...]:
    """Tell which report is meant."""
    return name, side.hostname, side.profile, side.started_at, side.report_id


def _score(difference: Difference) -> str:
    """Write the two scores."""
    sides = [_points(s.score) + f" {s.band}" for s in (difference.before, difference.after)]
    step = "" if difference.score is None else f"  ({difference.score:+.1f})"
    return f"SCORE  {sides[0]} → {sides[1]}{step}"


def _points(value: float | None) -> str:
    """Write points."""
    return _UNKNOWN if value is None else f"{value:.1f}"


def _deductions(difference: Difference, width: int) -> str:
    """Write causes that cost something else than before."""
    rows = [
        (c.kind, f"-{c.before or 0.0:.1f} → -{c.after or 0.0:.1f}", c.of[-1], c.of[0])
        for c in difference.deductions
    ]
    return "DEDUCTIONS\n" + grid(rows, "  ", width) if rows else ""


def _anomalies(difference: Difference, width: int) -> str:
    """Write anomalies that came, went or changed."""
    rows = [(a.kind, a.severity, a.rule, a.message) for a in difference.anomalies]
    return "ANOMALIES\n" + grid(rows, "  ", width) if rows else ""


def _use(difference: Difference, width: int) -> str:
    """Write how the use of resources changed, what changed most first."""
    notable = [c for c in difference.use if _step(c) >= _NOISE.get(c.unit, 0.0)]
    ordered = sorted(notable, key=lambda c: (c.unit != "1/s", -_step(c)))
    rows = [
        (" ".join(c.of), _value(c.before, c.unit), "→", _value(c.after, c.unit))
        for c in ordered[:_LONGEST]
    ]
    more = len(ordered) - len(rows)
    rest = f"\n  and {more} more; --format json has them all" if more > 0 else ""
    return "USE\n" + grid(rows, "  ", width, right=(1,)) + rest if rows else ""


def _step(change: Change) -> float:
    """Tell how far a value moved; what becomes known or unknown moves by what is known."""
    return abs((change.after or 0.0) - (change.before or 0.0))


def _value(value: float | None, unit: str) -> str:
    """Write a value."""
    return _UNKNOWN if value is None else measure(value, unit)
