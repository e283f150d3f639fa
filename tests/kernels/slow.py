"""Patience on slow machines: the variable SYSDX_SLOW says how many times slower one is."""

from __future__ import annotations

import os

import pytest

from exporter import probes

SLOW = float(os.environ.get("SYSDX_SLOW", "1"))
_LIMITS = ("COMPILE_BUDGET", "_READ_BUDGET", "_LINGER", "CANCEL_GRACE")


def be_patient(patch: pytest.MonkeyPatch) -> None:
    """Have the daemon wait for its worker as long as a slow machine takes."""
    for limit in _LIMITS:
        patch.setattr(probes, limit, SLOW * getattr(probes, limit))
