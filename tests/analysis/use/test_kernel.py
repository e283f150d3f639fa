"""Use of what the whole host shares."""

from __future__ import annotations

from analysis.model import Facts
from analysis.use.kernel import kernel
from collectors.base import Context
from collectors.limits import LimitsSample, collect
from collectors.model import Distribution, Outcome, Status, Sweep


def facts(sample):
    outcome = Outcome("l", "kernel", "quick", True, Status.OK, None, None, 0.0, 1.0, sample)
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"l": outcome}))


def test_each_limit_is_a_device_and_what_has_none_is_left_out():
    use = kernel(
        facts(
            LimitsSample(
                1, None, 2, 3, 4, None, None, 5, 10,
                tasks_utilization=Distribution(0.5, 0.6, (0.4, 0.6)),
            )
        )
    )  # fmt: skip
    assert set(use.devices) == {"tasks", "aio_requests"}
    assert use.devices["tasks"].utilization.peak == 0.6
    assert use.devices["aio_requests"].utilization.mean == 0.5


def test_unknown_limits_have_no_use():
    assert kernel(facts(None)) is None


def test_the_real_host_tells_of_tasks_and_pids():
    use = kernel(facts(collect(Context(duration=0.0))))
    assert {"tasks", "pids"} <= set(use.devices)
    assert all(0 <= d.utilization.mean < 1 for d in use.devices.values())
