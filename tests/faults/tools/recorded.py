"""Recorded faults: a sweep of this host in which one sample says what another host would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from collectors.model import Sweep


def changed(sweep: Sweep, kind: type[Any], change: Callable[[Any], dict[str, Any]]) -> Sweep:
    """
    Change one sample of a sweep.

    Args:
        sweep: The sweep.
        kind: Class of the sample.
        change: Given the sample, tells which fields become what.

    Returns:
        The same sweep with the changed sample.

    """
    outcomes = dict(sweep.outcomes)
    for name, outcome in outcomes.items():
        data: Any = outcome.data
        if isinstance(data, kind):
            outcomes[name] = replace(outcome, data=replace(data, **change(data)))
    return replace(sweep, outcomes=outcomes)
