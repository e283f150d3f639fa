"""Use of control groups."""

from __future__ import annotations

from analysis.model import Facts
from analysis.use.container import MOST, container, nearest
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


def test_the_groups_nearest_to_a_limit_come_first_then_those_with_most_cpu_time():
    idle = group("/idle.service", memory=GroupMemory(current=9000))
    busy = group("/busy.service", cpu=GroupCpu(used=3.0))
    full = group("/full.service", memory=GroupMemory(held=90, limit=100))
    held = group("/held.service", cpu=GroupCpu(used=0.5, quota=0.52))
    ranked = nearest((idle, busy, full, held), 3)
    assert [g.identity.name for g in ranked] == ["held.service", "full.service", "busy.service"]


def test_devices_are_bounded_and_equal_names_stay_apart():
    many = [group(f"/s{n}.service") for n in range(50)]
    use = container(facts(ContainerSample(10.0, "v2", tuple(many))))
    assert len(use.devices) == 2 * MOST
    twins = (group("/a/x.service"), group("/b/x.service"))
    found = container(facts(ContainerSample(10.0, "v2", twins))).devices
    assert list(found) == ["x.service:cpu", "x.service:memory", "b/x.service:cpu",
                           "b/x.service:memory"]  # fmt: skip


def test_of_groups_that_do_nothing_the_largest_comes_first():
    small, large = (group(f"/{n}.service", memory=GroupMemory(current=n)) for n in (1, 9))
    unknown = group("/u.service")
    assert nearest((unknown, small, large), 3)[0] is large
    assert nearest((unknown, large, small), 2) == (large, small)


def test_memory_stalls_of_each_group_and_the_worst_of_all():
    stalled = [group(f"/{n}.service", pressure={"memory_full": n / 10}) for n in (1, 3, 2)]
    told = container(facts(ContainerSample(10.0, "v2", tuple(stalled))))
    assert told.saturation == {"throttled": None, "memory_stall": 0.3}
    assert told.devices["2.service:memory"].saturation == {"memory_stall": 0.2}


def test_this_host_has_a_use():
    assert container(facts(collect(Context(duration=0.0)))).errors["oom_kill"].total >= 0
