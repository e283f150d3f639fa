"""Rules on control groups that stand still although the host has room."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.cgroup import Group, GroupCpu, GroupIo, GroupTasks
from collectors.cgroup_name import identify
from collectors.container import ContainerSample
from collectors.disk import Disk, DiskSample
from collectors.disk_device import Device
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.pressure import PressureSample, Stall

NAMES = ("container_cpu_stall", "container_io_stall", "container_forks_refused")
RULES = {n: discover_rules()[n] for n in NAMES}
MIB = 1 << 20


def sweep(samples):
    outcomes = {
        str(n): Outcome(str(n), "x", "quick", False, Status.OK, None, None, 0.0, 0.0, sample)
        for n, sample in enumerate(samples)
    }
    return Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes)


def facts(*samples, before=()):
    return Facts(sweep(samples), sweep(before) if before else None)


def group(path="/system.slice/a.service", used=0.5, moved=MIB, **parts):
    cpu, io = GroupCpu(used=used), GroupIo(0.0, moved)
    return Group(path, identify(path), cpu=cpu, io=io, **parts)


def groups(*found, **totals):
    return ContainerSample(10.0, "v2", found, **totals)


def host(some):
    spread = Distribution(some, some)
    return PressureSample(10.0, Stall(spread), None, None, None)


def disk(busy):
    device = Device("scsi", in_sums=True, rotational=False)
    return DiskSample(10.0, (Disk("sda", device, utilization=Distribution(busy, busy)),))


def severity(name, known):
    signal = RULES[name].evaluate(known)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


@pytest.mark.parametrize(
    ("stalled", "some", "used", "expected"),
    [
        (0.2, 0.1, 0.5, None),
        (0.3, 0.1, 0.5, Severity.WARNING),
        (0.7, 0.1, 0.5, Severity.CRITICAL),
        (0.7, 0.4, 0.5, None),
        (0.7, 0.1, 0.01, None),
    ],
)
def test_a_group_lacks_cpus_only_where_the_host_has_some_and_the_group_works(
    stalled, some, used, expected
):
    found = groups(group(used=used, pressure={"cpu_full": stalled}))
    assert severity("container_cpu_stall", facts(found, host(some))) is expected


@pytest.mark.parametrize(
    ("stalled", "busy", "moved", "expected"),
    [
        (0.4, 0.1, MIB, None),
        (0.6, 0.1, MIB, Severity.WARNING),
        (0.9, 0.9, MIB, None),
        (0.9, 0.1, 1000, None),
    ],
)
def test_a_group_waits_for_its_limit_only_where_the_disks_idle(stalled, busy, moved, expected):
    found = groups(group(moved=moved, pressure={"io_full": stalled}))
    assert severity("container_io_stall", facts(found, disk(busy))) is expected


def test_the_group_that_stands_still_is_named():
    found = groups(
        group(pressure={"cpu_full": 0.3}), group("/b.service", pressure={"cpu_full": 0.6})
    )
    signal = RULES["container_cpu_stall"].evaluate(facts(found, host(0.0)))
    assert (signal.subject, [c.kind for c in signal.culprits]) == ("b.service", ["cgroup"] * 2)


def test_without_pressure_or_disks_nothing_is_known():
    assert RULES["container_cpu_stall"].evaluate(facts(groups(group()), host(0.0))) is None
    stalled = groups(group(pressure={"cpu_full": 0.6, "io_full": 0.6}))
    assert RULES["container_cpu_stall"].evaluate(facts(stalled)) is None
    assert RULES["container_io_stall"].evaluate(facts(stalled)) is None


@pytest.mark.parametrize(
    ("refused", "expected"), [(0, None), (1, Severity.WARNING), (20, Severity.CRITICAL)]
)
def test_refused_forks_between_two_sweeps_are_not_missed(refused, expected):
    known = facts(groups(refused_forks=5 + refused), before=(groups(refused_forks=5),))
    assert severity("container_forks_refused", known) is expected


def test_refused_forks_are_charged_to_the_group_at_its_limit():
    full = group("/a.service", tasks=GroupTasks(50, 50, 0))
    told = group("/b.service", tasks=GroupTasks(40, 50, 3))
    rule = RULES["container_forks_refused"]
    signal = rule.evaluate(facts(groups(full, told, refused_forks_increase=3)))
    assert (signal.value, signal.subject) == (3, "b.service")
    between = facts(groups(full, refused_forks=3), before=(groups(full),))
    assert rule.evaluate(between).subject == "a.service"
