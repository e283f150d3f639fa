"""Advice on memory."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Signal
from analysis.rules import memory_advice
from collectors.memory import MemorySample
from collectors.model import Outcome, Status, Sweep
from collectors.numa import Node, NumaSample
from collectors.swaps import Swap
from collectors.sysctl import SysctlSample

GIB = 1 << 30
STOCK = {
    "vm.swappiness": "60",
    "vm.watermark_scale_factor": "10",
    "vm.zone_reclaim_mode": "0",
    "vm.min_free_kbytes": "67584",
    "vm.dirty_ratio": "20",
    "vm.dirty_background_ratio": "10",
    "kernel.numa_balancing": "0",
}


def advice(function, *samples, settings=STOCK):
    outcomes = {
        str(n): Outcome(str(n), "memory", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate([*samples, SysctlSample(settings)])
    }
    facts = Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))
    return {r.id: r for r in function(facts, Signal(1.0, "x"))}


def memory(available=16 * GIB, total=64 * GIB, **fields):
    return MemorySample(10.0, total, available, **fields)


def test_swappiness_is_lowered_only_where_caches_push_programs_out():
    found = advice(memory_advice.swap_less, memory())
    assert (found["sysctl:vm.swappiness"].current, found["sysctl:vm.swappiness"].proposed) == (
        "60",
        "10",
    )
    assert advice(memory_advice.swap_less, memory(GIB)) == {}
    assert advice(memory_advice.swap_less, memory(), settings={"vm.swappiness": "1"}) == {}


def test_swap_in_memory_keeps_its_swappiness():
    zram = Swap("/dev/zram0", "partition", GIB, GIB, 100, in_memory=True)
    assert advice(memory_advice.swap_less, memory(swaps=(zram,))) == {}


def test_reclaim_begins_earlier_only_where_there_is_something_to_reclaim():
    found = advice(memory_advice.reclaim_earlier, memory())
    assert list(found) == ["sysctl:vm.watermark_scale_factor"]
    assert advice(memory_advice.reclaim_earlier, memory(GIB)) == {}
    assert advice(memory_advice.reclaim_earlier, memory(None)) == {}


def test_reclaiming_ones_own_node_is_ended():
    found = advice(
        memory_advice.reclaim_earlier, memory(), settings=STOCK | {"vm.zone_reclaim_mode": "1"}
    )
    assert found["sysctl:vm.zone_reclaim_mode"].proposed == "0"


@pytest.mark.parametrize(
    ("gibibytes", "kibibytes"), [(8, 65536), (64, 262144), (256, 1048576), (1024, 1048576)]
)
def test_the_reserve_is_sized_to_the_host(gibibytes, kibibytes):
    sample = memory(gibibytes * GIB // 2, gibibytes * GIB)
    found = advice(memory_advice.compact_less, sample, settings={"vm.min_free_kbytes": "1000"})
    assert found["sysctl:vm.min_free_kbytes"].proposed == str(kibibytes)
    assert kibibytes << 10 <= 0.01 * gibibytes * GIB


def test_a_small_or_a_full_host_keeps_its_reserve():
    assert advice(memory_advice.compact_less, memory(2 * GIB, 4 * GIB)) == {}
    assert advice(memory_advice.compact_less, memory(GIB, 64 * GIB)) == {}


def test_modes_of_huge_pages_change_only_from_always():
    always = memory(GIB, huge_pages="always", huge_pages_defrag="always")
    splits = advice(memory_advice.ask_for_huge_pages, always)
    stalls = advice(memory_advice.compact_less, always)
    assert splits["huge_pages:enabled"].proposed == "madvise"
    assert stalls["huge_pages:defrag"].proposed == "defer+madvise"
    modest = memory(GIB, huge_pages="madvise", huge_pages_defrag="madvise")
    assert advice(memory_advice.ask_for_huge_pages, modest) == {}
    assert advice(memory_advice.compact_less, modest) == {}


def test_balancing_is_for_hosts_of_several_nodes():
    nodes = tuple(Node(n, GIB, GIB, "0", (10,), {}) for n in range(2))
    two = advice(memory_advice.balance_nodes, NumaSample(10.0, nodes))
    assert two["sysctl:kernel.numa_balancing"].proposed == "1"
    assert advice(memory_advice.balance_nodes, NumaSample(10.0, nodes[:1])) == {}


def test_dirty_limits_are_lowered_in_step_and_never_raised():
    found = advice(memory_advice.write_back_earlier)
    assert {r.proposed for r in found.values()} == {"5", "10"}
    in_bytes = STOCK | {"vm.dirty_ratio": "0", "vm.dirty_background_ratio": "0"}
    assert advice(memory_advice.write_back_earlier, settings=in_bytes) == {}


ALL = (
    memory_advice.swap_less,
    memory_advice.reclaim_earlier,
    memory_advice.compact_less,
    memory_advice.ask_for_huge_pages,
    memory_advice.balance_nodes,
    memory_advice.write_back_earlier,
)


def test_every_change_names_its_risk_its_undo_and_its_source():
    nodes = tuple(Node(n, GIB, GIB, "0", (10,), {}) for n in range(2))
    samples = memory(huge_pages="always", huge_pages_defrag="always"), NumaSample(1.0, nodes)
    found = [r for f in ALL for r in advice(f, *samples).values()]
    assert len(found) == len({r.id for r in found}) == 8
    for item in found:
        assert item.risk != "none"
        assert item.undo
        assert item.persistent
        assert item.source
        assert item.current != item.proposed


def test_nothing_known_advises_nothing():
    assert [advice(f, settings={}) for f in ALL] == [{}] * len(ALL)
