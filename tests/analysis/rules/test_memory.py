"""Rules and use of memory."""

from __future__ import annotations

import pytest

from analysis.charges import charged
from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.rules import memory, memory_reclaim
from analysis.score import findings
from collectors.base import Context
from collectors.memory import MemorySample
from collectors.memory import collect as collect_memory
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.numa import Node, NumaSample
from collectors.pressure import PressureSample, Stall
from collectors.process_sample import Process, ProcessSample
from collectors.swaps import Swap
from collectors.sysctl import SysctlSample

GIB = 1 << 30
NAMES = (
    "commit_limit", "compaction_stalls", "direct_reclaim", "dirty_throttling", "huge_page_splits",
    "major_faults", "memory_corrupted", "memory_pressure", "memory_stall", "memory_utilization",
    "numa_miss", "oom_kill", "swap_full", "swap_in",
)  # fmt: skip
RULES = {n: discover_rules()[n] for n in NAMES}


def sweep(*samples):
    outcomes = {
        str(n): Outcome(str(n), "memory", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes)


def facts(*samples, before=None):
    return Facts(sweep(*samples), None if before is None else sweep(before))


def sample(total=64 * GIB, available=32 * GIB, rates=(), **fields):
    increases = {n: None if r is None else round(r * 10) for n, r in dict(rates).items()}
    used = Distribution(1 - available / total) if total and available is not None else None
    fields = {"utilization": used} | fields if used else fields
    return MemorySample(10.0, total, available, increases=increases, **fields)


def pressure(memory=0.0, full=0.0, io=0.0):
    return PressureSample(
        10.0,
        None,
        Stall(Distribution(memory, memory), Distribution(full, full)),
        Stall(Distribution(io, io)),
        None,
    )


def severity(name, known):
    signal = RULES[name].evaluate(known)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


def fired(known):
    signals = [(r, r.evaluate(known)) for r in RULES.values()]
    return findings([(r, s) for r, s in signals if s is not None])


@pytest.mark.parametrize(
    ("total", "available", "expected"),
    [
        (64 * GIB, 32 * GIB, None),
        (64 * GIB, 4 * GIB, None),  # 94 %, but 4 GiB are left
        (1024 * GIB, 8 * GIB, Severity.CRITICAL),  # 8 GiB are little on such a host
        (16 * GIB, 1 * GIB, Severity.WARNING),
        (16 * GIB, GIB // 4, Severity.CRITICAL),
        (1 * GIB, GIB // 4, None),
    ],
)
def test_memory_is_full_by_share_and_by_what_is_left(total, available, expected):
    assert severity("memory_utilization", facts(sample(total, available))) is expected


def test_unknown_availability_is_no_full_memory():
    assert RULES["memory_utilization"].evaluate(facts(sample(16 * GIB, None))) is None


def test_huge_pages_set_aside_are_not_what_runs_out():
    database = sample(64 * GIB, 2 * GIB, meminfo={"Hugetlb": 60 * GIB})
    assert severity("memory_utilization", facts(database)) is None
    starved = sample(64 * GIB, GIB // 16, meminfo={"Hugetlb": 60 * GIB})
    assert severity("memory_utilization", facts(starved)) is Severity.CRITICAL


def test_what_zfs_caches_can_be_had():
    cached = sample(16 * GIB, GIB // 4, arc_reclaimable_bytes=12 * GIB)
    assert severity("memory_utilization", facts(cached)) is None


@pytest.mark.parametrize(
    ("some", "expected"), [(0.049, None), (0.06, Severity.WARNING), (0.3, Severity.CRITICAL)]
)
def test_pressure_is_judged_by_the_time_lost(some, expected):
    assert severity("memory_pressure", facts(pressure(some))) is expected


def test_all_tasks_standing_still_is_worse_than_some():
    assert severity("memory_stall", facts(pressure(0.1, 0.3))) is Severity.CRITICAL
    assert severity("memory_pressure", facts(pressure(0.1, 0.3))) is Severity.WARNING


def test_one_cause_is_charged_once():
    thrashing = fired(facts(sample(16 * GIB, GIB // 4), pressure(0.5, 0.3)))
    assert len(thrashing) >= 3
    assert len(charged(thrashing, {})) == 1


@pytest.mark.parametrize(
    ("rule", "counter", "rate"),
    [
        ("swap_in", "pswpin", 600),
        ("direct_reclaim", "allocstall_normal", 20),
        ("compaction_stalls", "compact_stall", 50),
        ("major_faults", "pgmajfault", 600),
    ],
)
def test_activity_counts_when_tasks_wait_or_nobody_tells(rule, counter, rate):
    busy = sample(rates={counter: rate})
    assert severity(rule, facts(busy, pressure(0.02))) is Severity.WARNING
    assert severity(rule, facts(busy)) is Severity.WARNING
    assert severity(rule, facts(busy, pressure(0.001))) is None


@pytest.mark.parametrize(
    ("rule", "counter"), [("swap_in", "pswpin"), ("direct_reclaim", "allocstall_normal"),
                          ("compaction_stalls", "compact_stall"), ("major_faults", "pgmajfault"),
                          ("huge_page_splits", "thp_split_page")],
)  # fmt: skip
def test_a_counter_that_went_back_or_is_missing_says_nothing(rule, counter):
    assert RULES[rule].evaluate(facts(sample(rates={counter: None}))) is None
    assert RULES[rule].evaluate(facts(sample())) is None


def test_stalls_of_all_zones_add_up():
    stalls = {"allocstall_normal": 6, "allocstall_movable": 6, "pgscan_direct": 900}
    signal = RULES["direct_reclaim"].evaluate(facts(sample(rates=stalls)))
    assert signal.value == 12


def test_waiting_on_storage_counts_for_faults_and_not_for_swap():
    busy = sample(rates={"pgmajfault": 600, "pswpin": 600})
    assert severity("major_faults", facts(busy, pressure(io=0.2))) is Severity.WARNING
    assert severity("swap_in", facts(busy, pressure(io=0.2))) is None


@pytest.mark.parametrize(
    ("available", "swapped", "advised"),
    [
        (8 * GIB, 0, "memory:cold_files"),
        (8 * GIB, 200, "memory:cold_files"),
        (8 * GIB, 400, "memory:consumers"),
        (GIB, 0, "memory:consumers"),
    ],
)
def test_who_waits_for_files_is_asked_only_where_memory_is_not_short(available, swapped, advised):
    busy = sample(16 * GIB, available, rates={"pgmajfault": 600, "pswpin": swapped})
    reader = Process(7, 1, "r", "D", 1, rss_bytes=GIB, major_faults_per_second=600.0)
    listed = ProcessSample(10.0, 2, 1, 1, {}, top_faults=(reader,), top_memory=(reader,))
    seen = facts(busy, pressure(io=0.2), listed)
    signal = RULES["major_faults"].evaluate(seen)
    assert [r.id for r in RULES["major_faults"].advise(seen, signal)] == [advised]


def test_swap_in_memory_is_no_trouble_unless_tasks_wait():
    zram = Swap("/dev/zram0", "partition", GIB, GIB, 100, in_memory=True)
    busy = sample(rates={"pswpin": 5000}, swaps=(zram,))
    assert severity("swap_in", facts(busy)) is None
    assert severity("swap_in", facts(busy, pressure(0.05))) is not None


@pytest.mark.parametrize(
    ("available", "used", "expected"),
    [(2 * GIB, 9, Severity.WARNING), (2 * GIB, 9.8, Severity.CRITICAL), (12 * GIB, 10, None),
     (2 * GIB, 1, None)],
)  # fmt: skip
def test_full_swap_counts_only_while_memory_is_short(available, used, expected):
    full = sample(16 * GIB, available, swap_total_bytes=10 * GIB, swap_used_bytes=round(used * GIB))
    assert severity("swap_full", facts(full)) is expected


def test_no_swap_is_quiet_and_unknown_swap_is_unknown():
    assert severity("swap_full", facts(sample(swap_total_bytes=0, swap_used_bytes=0))) is None
    assert RULES["swap_full"].evaluate(facts(sample())) is None


@pytest.mark.parametrize("rule", ["oom_kill", "memory_corrupted"])
def test_mishaps_are_counted_since_the_sweep_before(rule):
    name = {"oom_kill": "oom_kill", "memory_corrupted": "hardware_corrupted"}[rule]
    now = sample(rates={name: 0}, totals={name: 11})
    assert severity(rule, facts(now, before=sample(totals={name: 10}))) is Severity.WARNING
    assert severity(rule, facts(now, before=sample(totals={name: 11}))) is None


@pytest.mark.parametrize("rule", ["oom_kill", "memory_corrupted"])
def test_without_a_sweep_before_only_the_window_counts(rule):
    name = {"oom_kill": "oom_kill", "memory_corrupted": "hardware_corrupted"}[rule]
    old = sample(rates={name: 0}, totals={name: 400})
    assert severity(rule, facts(old)) is None
    assert severity(rule, facts(sample(rates={name: 0.1}, totals={name: 1}))) is Severity.WARNING
    assert RULES[rule].evaluate(facts(sample())) is None
    assert RULES[rule].at_once


def test_after_a_reboot_the_earlier_total_is_not_compared():
    now = sample(rates={"oom_kill": 0}, totals={"oom_kill": 2})
    signal = RULES["oom_kill"].evaluate(facts(now, before=sample(totals={"oom_kill": 9})))
    assert signal.value == 0


def test_a_kill_in_a_container_is_not_charged_twice():
    assert RULES["oom_kill"].cause == discover_rules()["container_oom"].cause


def test_promises_count_only_where_they_are_limited():
    promised = sample(meminfo={"CommitLimit": 100, "Committed_AS": 99})
    strict, loose = (SysctlSample({"vm.overcommit_memory": v}) for v in "20")
    assert severity("commit_limit", facts(promised, strict)) is Severity.CRITICAL
    assert severity("commit_limit", facts(promised, loose)) is None
    assert RULES["commit_limit"].evaluate(facts(promised)) is None


def test_huge_page_splits_alone_never_are_critical():
    assert severity("huge_page_splits", facts(sample(rates={"thp_split_page": 50}))) is None
    many = sample(rates={"thp_split_page": 1e6})
    assert severity("huge_page_splits", facts(many)) is Severity.WARNING


def node(number, hit, miss):
    return Node(number, GIB, GIB, "0", (10,), {"numa_hit": hit, "numa_miss": miss})


@pytest.mark.parametrize(
    ("nodes", "value"),
    [
        ([node(0, 10**6, 0), node(1, 800_000, 200_000)], 0.2),
        ([node(0, 50, 50)], 0.0),  # too few to say
    ],
)
def test_misses_are_a_share_of_this_windows_allocations(nodes, value):
    signal = memory_reclaim.numa_miss(facts(NumaSample(10.0, tuple(nodes))))
    assert signal.value == value


def test_nodes_that_are_not_told_say_nothing():
    assert memory_reclaim.numa_miss(facts(NumaSample(10.0, (node(0, None, None),)))) is None


LEVELS = {
    "nr_dirty": 1500,
    "nr_writeback": 300,
    "nr_dirty_background_threshold": 1000,
    "nr_dirty_threshold": 2000,
}


def test_writers_are_slowed_from_the_middle_between_the_limits():
    piled = sample(levels=LEVELS)
    signal = memory_reclaim.dirty_throttling(facts(piled, pressure(io=0.3)))
    assert signal.value == 1.2
    assert severity("dirty_throttling", facts(piled, pressure(io=0.3))) is Severity.WARNING
    assert severity("dirty_throttling", facts(piled, pressure(io=0.05))) is None


@pytest.mark.parametrize("missing", LEVELS)
def test_an_unknown_limit_says_nothing_of_writers(missing):
    levels = {n: v for n, v in LEVELS.items() if n != missing}
    assert memory_reclaim.dirty_throttling(facts(sample(levels=levels), pressure())) is None
    assert memory_reclaim.dirty_throttling(facts(sample(levels=LEVELS))) is None


def test_the_real_idle_host_is_silent():
    found = fired(facts(collect_memory(Context(duration=0.2, interval=0.1))))
    # Somebody else's container may run into its limit meanwhile.
    assert [f.rule.id for f in found if f.rule.id != "oom_kill"] == []


def test_left_over_memory_never_exceeds_the_whole():
    assert memory._left(sample(GIB, GIB, arc_reclaimable_bytes=GIB)) == (GIB, GIB)
    assert memory._left(sample(GIB, GIB, meminfo={"Hugetlb": 2 * GIB})) is None


@pytest.mark.parametrize(
    ("rule", "counter"),
    [("direct_reclaim", "allocstall_normal"), ("compaction_stalls", "compact_stall")],
)
def test_who_asks_for_memory_is_named_and_not_who_has_it(rule, counter):
    large = Process(7, 1, "large", "S", 1, rss_bytes=GIB)
    asking = Process(8, 1, "asking", "R", 1, pages_taken_per_second=9e3)
    known = ProcessSample(10.0, 2, 2, 2, {}, top_memory=(large,), top_taken=(asking,))
    signal = RULES[rule].evaluate(facts(sample(rates={counter: 600}), known))
    assert [c.name for c in signal.culprits] == ["asking"]
