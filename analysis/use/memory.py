"""Use of memory."""

from __future__ import annotations

from analysis.model import Facts
from analysis.registry import use
from analysis.use_model import ErrorCount, ResourceUse
from collectors.memory import MemorySample
from collectors.pressure import PressureSample
from collectors.rates import ratio


@use("memory")
def memory(facts: Facts) -> ResourceUse | None:
    """
    Tell how much memory is taken and how much work waited for it.

    Args:
        facts: What is known of the host.

    Returns:
        Utilization (what is not available), swap in use, stalls, and what went
        wrong; None when /proc/meminfo is unknown.

    Source:
        MemAvailable, SwapFree, HardwareCorrupted of /proc/meminfo;
        /proc/pressure/memory; oom_kill of /proc/vmstat; the USE method, Brendan Gregg.

    """
    sample = facts.sample(MemorySample)
    if sample is None:
        return None
    pressure = facts.sample(PressureSample)
    stall = pressure.memory if pressure else None
    return ResourceUse(
        utilization=sample.utilization,
        saturation={"swap": ratio(sample.swap_used_bytes, sample.swap_total_bytes)},
        pressure={"some": stall.some.mean, "full": stall.full.mean} if stall else {},
        errors={
            "oom_kill": _count(sample, "oom_kill"),
            "hardware_corrupted": _count(sample, "hardware_corrupted"),
        },
    )


def _count(sample: MemorySample, name: str) -> ErrorCount:
    """Count a mishap."""
    return ErrorCount(sample.totals.get(name), sample.increases.get(name))
