"""Whether work waited: what tells a busy host from a suffering one."""

from __future__ import annotations

from typing import Literal

from analysis.model import Facts
from collectors.pressure import PressureSample

_LEAST = 0.01


def harmed(facts: Facts, *resources: Literal["cpu", "memory", "io"]) -> bool:
    """
    Tell whether tasks stalled noticeably on any of some resources.

    Args:
        facts: What is known of the host.
        resources: The resources.

    Returns:
        False only when the kernel tells that tasks stalled on each of them in
        less than 1 % of the time. Where it does not tell, counters have to
        speak for themselves.

    Source:
        `some` of /proc/pressure/*: reclaim, compaction, swap-in and refaults are
        all counted there as stalls on memory, Documentation/accounting/psi.rst.

    """
    sample = facts.sample(PressureSample)
    stalls = [getattr(sample, r).some.mean if getattr(sample, r, None) else None for r in resources]
    return None in stalls or any(s is not None and s >= _LEAST for s in stalls)
