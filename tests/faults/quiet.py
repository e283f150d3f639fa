"""Waiting until the host is idle: what others do meanwhile would be found as well."""

from __future__ import annotations

import time
from pathlib import Path

PATIENCE = 180.0  # [s]
_CALM = 3  # looks in a row
_LOOK = 1.0  # [s]
_MOST_BUSY = 0.15
_IDLE, _WAITING = 3, 4


def wait(patience: float = PATIENCE) -> bool:
    """
    Wait until the CPUs have had time for some seconds.

    Args:
        patience: How long at most [s].

    Returns:
        Whether they have; otherwise the host is examined as it is.

    """
    calm, until = 0, time.monotonic() + patience
    while calm < _CALM:
        if time.monotonic() > until:
            return False
        calm = calm + 1 if _busy() < _MOST_BUSY else 0
    return True


def _busy() -> float:
    """Give the share of CPU time that was not idle in a moment."""
    before = _ticks()
    time.sleep(_LOOK)
    spent = [now - then for then, now in zip(before, _ticks(), strict=True)]
    return 1 - (spent[_IDLE] + spent[_WAITING]) / max(sum(spent), 1)


def _ticks() -> list[int]:
    """Read what the CPUs did since the start."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
