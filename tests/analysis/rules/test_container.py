"""Rules on control groups."""

from __future__ import annotations

import pytest

from analysis.model import Facts
from analysis.registry import discover_rules
from analysis.rules.container import (
    container_memory,
    container_oom,
    container_pressure,
    container_tasks,
    cpu_throttling,
)
from collectors.cgroup import Group, GroupCpu, GroupMemory, GroupTasks
from collectors.cgroup_name import identify
from collectors.container import ContainerSample
from collectors.cpu import CpuSample
from collectors.memory import MemorySample
from collectors.model import Outcome, Status, Sweep

GIB = 1 << 30


def facts(*samples, before=()):
    return Facts(sweep(samples), sweep(before) if before else None)


def sweep(samples):
    outcomes = {
        str(n): Outcome(str(n), "x", "quick", False, Status.OK, None, None, 0.0, 0.0, sample)
        for n, sample in enumerate(samples)
    }
    return Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes)


def group(path="/system.slice/a.service", **parts):
    return Group(path, identify(path), **parts)


def sample(*groups, kills=0, increase=0):
    return ContainerSample(10.0, "v2", groups, oom_kills=kills, oom_kills_increase=increase)


def host(available=8 * GIB, online=4):
    cpu = CpuSample.__new__(CpuSample)
    object.__setattr__(cpu, "online", online)
    return cpu, MemorySample(10.0, 16 * GIB, available)


def cpu(throttled, periods=100, quota=1.0):
    return GroupCpu(1.0, quota, periods, throttled, 1.0)


def test_throttling_is_a_share_of_the_periods_of_the_window():
    signal = cpu_throttling(facts(sample(group(cpu=cpu(40)), group("/b.service", cpu=cpu(60)))))
    assert (signal.value, signal.subject) == (0.6, "b.service")
    assert [c.name for c in signal.culprits] == ["b.service", "a.service"]


@pytest.mark.parametrize("quiet", [cpu(9, periods=10), cpu(40, quota=None), GroupCpu()])
def test_a_group_without_quota_or_hardly_active_is_not_throttled(quiet):
    assert cpu_throttling(facts(sample(group(cpu=quiet)))).value == 0


def test_page_cache_does_not_count_as_memory_held():
    full_of_cache = GroupMemory(current=GIB, held=GIB // 10, limit=GIB)
    assert container_memory(facts(sample(group(memory=full_of_cache)))).value == pytest.approx(0.1)


def test_of_equal_groups_the_inner_one_is_named():
    memory = GroupMemory(current=GIB, held=GIB, limit=GIB)
    outer, inner = group("/a.slice", memory=memory), group("/a.slice/b.service", memory=memory)
    assert container_memory(facts(sample(outer, inner))).subject == "b.service"


def test_a_limit_is_raised_only_where_the_host_has_room():
    memory = GroupMemory(current=GIB, held=GIB, limit=GIB)
    advise = discover_rules()["container_memory"].advise
    for available, kind in ((8 * GIB, "tune"), (GIB // 10, "investigate")):
        known = facts(sample(group(memory=memory)), *host(available))
        (advice,) = advise(known, container_memory(known))
        assert advice.kind == kind
    known = facts(sample(group(memory=memory)), *host())
    (advice,) = advise(known, container_memory(known))
    assert advice.commands == (
        f"systemctl set-property --runtime a.service MemoryMax={GIB * 5 // 4}",
    )
    assert advice.undo == (f"systemctl set-property a.service MemoryMax={GIB}",)


def test_a_quota_is_raised_within_the_host():
    advise = discover_rules()["cpu_throttling"].advise
    known = facts(sample(group(cpu=cpu(50))), *host())
    (advice,) = advise(known, cpu_throttling(known))
    assert (advice.current, advice.proposed) == ("100%", "150%")
    known = facts(sample(group(cpu=cpu(50, quota=4.0))), *host())
    (advice,) = advise(known, cpu_throttling(known))
    assert advice.kind == "investigate"


def test_old_kills_are_none_of_today():
    old = group(memory=GroupMemory(oom_kills=7, oom_kills_increase=0))
    assert container_oom(facts(sample(old, kills=7))).value == 0


def test_kills_between_two_sweeps_are_not_missed():
    then = group(memory=GroupMemory(oom_kills=7, oom_kills_increase=0))
    now = group(memory=GroupMemory(oom_kills=9, oom_kills_increase=0))
    signal = container_oom(facts(sample(now, kills=9), before=[sample(then, kills=7)]))
    assert (signal.value, signal.subject) == (2, "a.service")


def test_kills_in_a_group_that_is_gone_count():
    signal = container_oom(facts(sample(kills=8, increase=1)))
    assert (signal.value, signal.subject) == (1, None)
    assert "no longer exist" in signal.message


def test_a_kill_is_charged_to_the_innermost_group():
    memory = GroupMemory(oom_kills=1, oom_kills_increase=1)
    outer, inner = group("/a.slice", memory=memory), group("/a.slice/b.service", memory=memory)
    signal = container_oom(facts(sample(outer, inner, kills=1, increase=1)))
    assert (signal.value, [c.name for c in signal.culprits]) == (1, ["b.service"])


def test_tiny_task_limits_are_meant_that_way():
    tiny, large = GroupTasks(1, 1), GroupTasks(90, 100)
    assert container_tasks(facts(sample(group(tasks=tiny)))).value == 0
    assert container_tasks(facts(sample(group(tasks=large)))).value == pytest.approx(0.9)


def test_pressure_without_a_limit_is_the_hosts():
    stalled = {"memory_full": 0.5}
    free, limited = GroupMemory(), GroupMemory(limit=GIB)
    assert container_pressure(facts(sample(group(memory=free, pressure=stalled)))).value == 0
    assert container_pressure(facts(sample(group(memory=limited, pressure=stalled)))).value == 0.5
    assert container_pressure(facts(sample(group(memory=limited)))) is None


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        (container_memory, {"memory": GroupMemory(limit=GIB)}),
        (container_tasks, {"tasks": GroupTasks(None, 100)}),
        (cpu_throttling, {"cpu": GroupCpu(quota=1.0)}),
    ],
)
def test_a_limited_group_of_which_nothing_was_read_is_unknown(rule, parts):
    assert rule(facts(sample(group(**parts)))) is None
    assert rule(facts(sample(group()))).value == 0


def test_no_kill_and_no_refused_fork_is_told_when_there_was_none():
    assert container_oom(facts(sample())).message == "No process was killed in a control group"
    told = container_tasks(facts(sample(group(tasks=GroupTasks(90, 100))))).message
    assert "refused" not in told
    refused = container_tasks(facts(sample(group(tasks=GroupTasks(90, 100, 3))))).message
    assert refused.endswith("; 3 forks were refused")


@pytest.mark.parametrize(
    ("high", "limit", "setting"),
    [
        (GIB // 2, GIB, "MemoryHigh"),
        (GIB // 2, None, "MemoryHigh"),
        (None, GIB, "MemoryMax"),
        (GIB, GIB, "MemoryMax"),
        (2 * GIB, GIB, "MemoryMax"),
    ],
)
def test_of_two_limits_the_one_that_is_met_first_is_widened(high, limit, setting):
    narrow = group(memory=GroupMemory(GIB, limit=limit, high=high), pressure={"memory_full": 0.9})
    known = facts(sample(narrow), *host())
    (advice,) = discover_rules()["container_pressure"].advise(known, container_pressure(known))
    assert setting in advice.commands[0]
    assert advice.current == str(min(v for v in (high, limit) if v))
