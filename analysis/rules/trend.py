"""What rules on growth share: over which time it is told, and how soon nothing is left."""

from __future__ import annotations

from analysis.model import Facts

HOUR = 3600.0
_SHORTEST = 5.0  # [s] between two sweeps, to speak of a trend
_MOST = 3600.0  # [1/h]: within a second


def between(facts: Facts) -> float | None:
    """
    Give the time over which a trend is told.

    Args:
        facts: What is known of the host.

    Returns:
        From the sweep before to this one [s]; None when that is too short, or there is none.

    """
    if facts.previous is None:
        return None
    # Levels are read at the end of a window, and windows are of different length.
    ends = [s.started_monotonic + s.window_seconds for s in (facts.previous, facts.sweep)]
    seconds = ends[1] - ends[0]
    return seconds if seconds >= _SHORTEST else None


def used_up(more: float, left: float, seconds: float) -> float:
    """
    Tell how soon something is used up if it goes on like this.

    Args:
        more: How much more is used than before.
        left: How much is left, in the same unit.
        seconds: In which time it became more [s].

    Returns:
        How often in an hour what is left could be used up [1/h]; 0 when it does not grow.

    """
    if more <= 0 or seconds <= 0:
        return 0.0
    return _MOST if left <= 0 else min(more / seconds * HOUR / left, _MOST)
