"""Values from a report into harmless HTML: nothing in a report is trusted, or sure to be there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from analysis.text import duration, percent, size
from collectors.text import label

UNKNOWN = "&ndash;"
_LONGEST = 600  # [characters] of one text
_POINTS = 60  # of a sparkline


def text(value: object, limit: int = _LONGEST) -> str:
    """
    Return anything as text that is safe between tags and in quoted attributes.

    Args:
        value: What to show; None is shown as unknown.
        limit: Longest text before escaping [characters].

    Returns:
        HTML without markup, control characters or marks that reorder text.

    """
    if value is None:
        return UNKNOWN
    raw = value if isinstance(value, str) else f"{value}"
    # A lone surrogate is legal in JSON and in no encoding.
    return escape(label(raw.encode("utf-8", "replace").decode(), limit), quote=True)


def mapping(value: object) -> Mapping[str, Any]:
    """Return an object, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def items(value: object, limit: int = 100) -> Sequence[Any]:
    """Return the first elements of a list, or none for anything else."""
    return value[:limit] if isinstance(value, list) else []


def number(value: object) -> float | None:
    """Return a finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def quantity(value: object, unit: object) -> str:
    """
    Write a number with its unit as people read it.

    Args:
        value: The number; anything else is unknown.
        unit: "ratio", "bytes", "bytes/s", "s", or any word that is shown as it is.

    Returns:
        Escaped text, such as "97 %", "3.2 GiB" or "14 1/s per CPU".

    """
    known = number(value)
    if known is None:
        return UNKNOWN
    if unit in ("ratio", "share"):
        return percent(known)
    if unit in ("bytes", "bytes/s"):
        return size(known) + ("/s" if unit == "bytes/s" else "")
    if unit in ("s", "seconds"):
        return duration(known)
    shown = f"{known:,.0f}" if abs(known) >= 1000 else f"{known:.4g}"  # noqa: PLR2004
    return f"{shown} {text(unit)}" if unit else shown


def moment(value: object) -> str:
    """
    Write a point in time.

    Args:
        value: Seconds since the epoch [s], or a text that is shown as it is.

    Returns:
        Such as "08:12:30 UTC on 24 Nov".

    """
    seconds = number(value)
    if seconds is None:
        return text(value)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S UTC on %d %b}"
    except (ValueError, OverflowError, OSError):
        return UNKNOWN


def bar(share: float | None, peak: float | None = None, kind: str = "") -> str:
    """
    Draw a share of a whole, with a tick at its peak.

    Args:
        share: The length [ratio]; None draws nothing.
        peak: Where the tick stands [ratio]; None draws none.
        kind: More classes for the style sheet.

    Returns:
        An SVG image.

    """
    if share is None:
        return ""
    parts = [f'<svg class="bar {kind}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden']
    parts.append('="true"><rect class="t" width="100" height="8"/>')
    parts.append(f'<rect class="f" width="{_clamp(share) * 100:.1f}" height="8"/>')
    if peak is not None:
        parts.append(f'<rect class="p" x="{_clamp(peak) * 98:.1f}" width="2" height="8"/>')
    return "".join(parts) + "</svg>"


def sparkline(samples: object) -> str:
    """
    Draw how a ratio went through the window.

    Args:
        samples: Ratios, oldest first; fewer than three draw nothing.

    Returns:
        An SVG image.

    """
    values = [n for n in map(number, items(samples, _POINTS)) if n is not None]
    if len(values) < 3:  # noqa: PLR2004
        return ""
    step = 100 / (len(values) - 1)
    points = " ".join(
        f"{place * step:.1f},{19 - 18 * _clamp(value):.1f}" for place, value in enumerate(values)
    )
    return (
        '<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{points}" vector-effect="non-scaling-stroke"/></svg>'
    )


def _clamp(share: float) -> float:
    """Return a ratio within 0 and 1."""
    return min(1.0, max(0.0, share))
