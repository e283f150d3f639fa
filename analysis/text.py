"""Numbers as people read them."""

from __future__ import annotations

_STEP = 1024.0


def percent(share: float | None) -> str:
    """
    Write a ratio as a percentage.

    Args:
        share: The ratio; None when unknown.

    Returns:
        Such as "97 %" or "0.3 %".

    """
    if share is None:
        return "unknown"
    value = share * 100
    return f"{value:.0f} %" if value >= 10 or value == int(value) else f"{value:.2g} %"  # noqa: PLR2004


def size(count: float | None) -> str:
    """
    Write a number of bytes.

    Args:
        count: The bytes; None when unknown.

    Returns:
        Such as "3.2 GiB".

    """
    if count is None:
        return "unknown"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < _STEP:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= _STEP
    return f"{count:.3g} PiB"


def duration(seconds: float | None) -> str:
    """
    Write a time.

    Args:
        seconds: The time [s]; None when unknown.

    Returns:
        Such as "12 ms", "3.4 s" or "2 h 5 min".

    """
    if seconds is None:
        return "unknown"
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004
