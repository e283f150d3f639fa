"""The clocks: one module asks for the time of day, everything else is told."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def wall() -> float:
    """
    Return the time of day, for labels only.

    Returns:
        Seconds since the epoch [s].

    """
    return time.time()


def now() -> datetime:
    """
    Return the time of day with its zone.

    Returns:
        The present moment, UTC.

    """
    return datetime.fromtimestamp(wall(), UTC)


def rfc3339(when: float) -> str:
    """
    Write a time of day.

    Args:
        when: Seconds since the epoch [s].

    Returns:
        Such as "2026-11-24T08:15:30.250Z".

    """
    text = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def compact(when: float) -> str:
    """
    Write a time of day for a file name.

    Args:
        when: Seconds since the epoch [s].

    Returns:
        Such as "20261124T081530Z".

    """
    return datetime.fromtimestamp(when, UTC).strftime("%Y%m%dT%H%M%SZ")
