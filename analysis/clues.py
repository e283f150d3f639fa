"""Clues that several cause patterns share."""

from __future__ import annotations

from collections.abc import Callable

from analysis.model import Facts
from analysis.pattern import Clue
from collectors.cpu import CpuSample
from collectors.memory import MemorySample

Question = Callable[[Facts], bool | None]

SWAPPING = Clue("pages are read back from swap", ("swap_in",))
MEMORY_SHORT = Clue("hardly any memory is left", ("memory_utilization",))
MEMORY_STALLS = Clue("tasks stall on memory", ("memory_pressure", "memory_stall"))
OWN_RECLAIM = Clue(
    "tasks free memory themselves before they get any", ("direct_reclaim", "direct_reclaim_latency")
)
CPUS_FULL = Clue("tasks wait for a CPU", ("cpu_pressure", "run_queue"))
SWITCHING = Clue("tasks are switched all the time", ("context_switches",))


def cpus_below(share: float) -> Question:
    """
    Ask whether the CPUs have time.

    Args:
        share: Utilization below which they do [ratio].

    Returns:
        The question; its answer is None when the utilization is unknown.

    """
    return lambda facts: _below(_cpu(facts), share)


def memory_below(share: float) -> Question:
    """
    Ask whether the host has memory left.

    Args:
        share: Utilization below which it does [ratio].

    Returns:
        The question; its answer is None when the utilization is unknown.

    """
    return lambda facts: _below(_memory(facts), share)


def _below(value: float | None, share: float) -> bool | None:
    """Compare, unless the value is unknown."""
    return None if value is None else value < share


def _cpu(facts: Facts) -> float | None:
    """Give the share of CPU time that was not idle."""
    sample = facts.sample(CpuSample)
    return sample.utilization.mean if sample else None


def _memory(facts: Facts) -> float | None:
    """Give the share of memory in use."""
    sample = facts.sample(MemorySample)
    return sample.utilization.mean if sample else None
