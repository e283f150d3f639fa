"""Numbers as people read them."""

from __future__ import annotations

_STEP = 1024.0
_HUNDRED, _THOUSAND = 99.95, 999.5
_LEAST_PERCENT = 0.001
_HOUR = 60
_LONG = 120


def number(value: float) -> str:
    """
    Write a number with three digits, or all of those before the point.

    Args:
        value: The number.

    Returns:
        Such as "0.0123", "1.97", "412" or "12,345", never with an exponent
        unless it is tiny.

    """
    return f"{value:.3g}" if abs(value) < _HUNDRED else f"{value:,.0f}"


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
    if value >= 10 or value == int(value):  # noqa: PLR2004
        return f"{value:.0f} %"
    return f"below {_LEAST_PERCENT} %" if 0 < value < _LEAST_PERCENT else f"{value:.2g} %"


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
        # What would be rounded to 1,024 or more belongs to the next unit.
        if abs(count) < _STEP - 0.5:
            return f"{count:.0f} B" if unit == "B" else f"{number(count)} {unit}"
        count /= _STEP
    return f"{number(count)} PiB"


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
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < _THOUSAND:
            return f"{number(seconds * factor)} {unit}"
    if seconds < _LONG:
        return f"{number(seconds)} s"
    minutes = round(seconds / _HOUR)
    return f"{minutes} min" if minutes < _LONG else f"{minutes // _HOUR} h {minutes % _HOUR} min"
