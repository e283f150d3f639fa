"""Use of control groups."""

from __future__ import annotations

from analysis.model import Facts
from analysis.use.container import MOST, container
from collectors.base import Context
from collectors.cgroup import Group, GroupCpu, GroupMemory
from collectors.cgroup_name import identify
from collectors.container import ContainerSample, collect
from collectors.memory import MemorySample
from collectors.model import Outcome, Status, Sweep


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "x", "quick", False, Status.OK, None, None, 0.0, 0.0, sample)
        for n, sample in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def group(path, **parts):
    return Group(path, identify(path), **parts)


def test_a_group_is_measured_against_its_limit_or_else_the_host():
    limited = group(
        "/a.service",
        cpu=GroupCpu(used=0.5, quota=2.0, periods=10, throttled_periods=5),
        memory=GroupMemory(working_set=30, limit=100),
        pressure={"cpu_some": 0.1, "memory_full": 0.2},
    )
    free = group("/b.service", cpu=GroupCpu(used=0.5), memory=GroupMemory(working_set=30))
    sample = ContainerSample(10.0, "v2", (limited, free), oom_kills=3, oom_kills_increase=1)
    use = container(facts(sample, MemorySample(10.0, 300, None)))
    means = {name: d.utilization.mean for name, d in use.devices.items()}
    assert means == {
        "a.service:cpu": 0.25,
        "a.service:memory": 0.3,
        "b.service:cpu": None,
        "b.service:memory": 0.1,
    }
    assert use.devices["a.service:cpu"].saturation == {"throttled": 0.5, "cpu_stall": 0.1}
    assert use.saturation == {"throttled": 0.5, "memory_stall": 0.2}
    assert (use.errors["oom_kill"].total, use.errors["oom_kill"].increase) == (3, 1)
    assert use.errors["fork_refused"].increase == 0


def test_devices_are_bounded_and_equal_names_stay_apart():
    many = [group(f"/s{n}.service") for n in range(50)]
    use = container(facts(ContainerSample(10.0, "v2", tuple(many))))
    assert len(use.devices) == 2 * MOST
    twins = (group("/a/x.service"), group("/b/x.service"))
    assert len(container(facts(ContainerSample(10.0, "v2", twins))).devices) == 4


def test_this_host_has_a_use():
    assert container(facts(collect(Context(duration=0.0)))).errors["oom_kill"].total >= 0
