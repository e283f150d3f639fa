"""Use of memory."""

from __future__ import annotations

from analysis.model import Facts
from analysis.use.memory import memory
from analysis.use_model import ErrorCount
from collectors.memory import MemorySample
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.pressure import PressureSample, Stall


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "memory", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def test_use_saturation_and_errors_are_told():
    used = Distribution(0.4, 0.5, (0.3, 0.5))
    sample = MemorySample(
        10.0,
        100,
        60,
        utilization=used,
        increases={"oom_kill": 1},
        totals={"oom_kill": 3},
        swap_total_bytes=200,
        swap_used_bytes=50,
    )
    stall = Stall(Distribution(0.1), Distribution(0.02))
    use = memory(facts(sample, PressureSample(10.0, None, stall, None, None)))
    assert use.utilization == used
    assert use.saturation == {"swap": 0.25}
    assert use.pressure == {"some": 0.1, "full": 0.02}
    assert use.errors == {"oom_kill": ErrorCount(3, 1), "hardware_corrupted": ErrorCount()}


def test_what_is_not_told_stays_unknown():
    use = memory(facts(MemorySample(10.0, 100, None, swap_total_bytes=0, swap_used_bytes=0)))
    assert (use.utilization.mean, use.saturation, use.pressure) == (None, {"swap": None}, {})
    assert memory(facts()) is None
