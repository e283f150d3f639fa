"""Use of the CPUs."""

from __future__ import annotations

import pytest

from analysis.model import Facts
from analysis.use.cpu import cpu, waiting
from analysis.use_model import ErrorCount
from collectors.base import Context
from collectors.cpu import CpuSample, collect
from collectors.interrupts import InterruptsSample
from collectors.model import UNKNOWN, Distribution, Outcome, Status, Sweep
from collectors.pressure import PressureSample, Stall


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "cpu", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


SAMPLE = CpuSample(
    10.0,
    2,
    Distribution(0.5, 0.9, (0.1, 0.9)),
    states={"steal": 0.1},
    per_cpu={0: 0.7, 1: None},
    running=Distribution(2.0, 4.0, (0.0, 4.0)),
)


def test_all_three_sides_are_told():
    stall = Stall(Distribution(0.3, 0.3))
    errors = InterruptsSample(10.0, 2, 1.0, machine_checks=5, machine_checks_increase=1)
    use = cpu(facts(SAMPLE, PressureSample(10.0, stall, None, None, None), errors))
    assert use.utilization == SAMPLE.utilization
    assert (use.saturation, use.queue_length, use.pressure) == ({"steal": 0.1}, 1.0, {"some": 0.3})
    assert use.errors == {"machine_check": ErrorCount(5, 1)}


def test_each_cpu_is_a_device_and_an_unknown_one_stays_unknown():
    devices = cpu(facts(SAMPLE)).devices
    assert {n: d.utilization.mean for n, d in devices.items()} == {"cpu0": 0.7, "cpu1": None}


def test_what_others_did_not_tell_is_unknown_and_not_nothing():
    use = cpu(facts(CpuSample(10.0, 2)))
    assert use.utilization == UNKNOWN
    assert (use.queue_length, use.pressure, use.saturation) == (
        None,
        {"some": None},
        {"steal": None},
    )
    assert use.errors == {"machine_check": ErrorCount(None, None)}
    no_cpu = PressureSample(10.0, None, None, None, None)
    assert cpu(facts(SAMPLE, no_cpu)).pressure == {"some": None}


@pytest.mark.parametrize(
    ("samples", "expected"), [((2.0, 2.0), 0), ((1.0, 3.0), 0.5), ((5.0,), 3), ((0.0, 0.0), 0)]
)
def test_only_tasks_beyond_the_cpus_wait_and_idle_moments_do_not_make_up_for_it(samples, expected):
    assert waiting(CpuSample(10.0, 2, running=Distribution(1.0, 1.0, samples))) == expected


def test_this_host_has_a_use():
    use = cpu(facts(collect(Context(duration=0.1, interval=0.1))))
    assert 0 <= use.utilization.mean <= 1
    assert len(use.devices) >= 1
