"""Slow waits against the scheduler's own accounting of competing programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.bpf.probes.runqslower import THRESHOLD

RIVALS = 7
SLOW = THRESHOLD * 1e-9


def accounts(pid):
    """What a task waited [s], and how often it got a CPU."""
    _, waited, times = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(waited) / 1e9, int(times)


@pytest.fixture
def competed(observe, native):
    """Seven programs compete for a CPU; told are the waits of the first one."""

    def run(*, only):
        programs = [native("burn", 3.0, cpu=0) for _ in range(RIVALS)]

        def load():
            before = accounts(programs[0].pid)
            for one in programs:
                one.go()
            for one in programs:
                one.took()
            after = accounts(programs[0].pid)
            return after[0] - before[0], after[1] - before[1]

        options = {"pid": programs[0].pid} if only else {}
        seen = observe("runqslower", load=load, **options)
        seen.pids = {p.pid for p in programs}
        seen.pid = programs[0].pid
        return seen

    return run


def test_slow_waits_are_within_what_the_scheduler_accounts_for(competed):
    seen = competed(only=True)
    waited, times = seen.told
    slow = seen["runqslower"].values["slow_seconds"]
    # Six others run before it is its turn again: nearly all its waits are slow.
    assert 0.7 * waited <= slow <= 1.01 * waited
    assert 0 < seen["runqslower"].events <= min(times, waited / SLOW)


def test_a_filter_leaves_only_that_process(competed):
    seen = competed(only=True)
    assert {r["tid"] for r in seen["runqslower"].records} == {seen.pid}


def test_records_say_who_waited_and_who_ran(competed):
    seen = competed(only=False)["runqslower"]
    assert seen.events - seen.lost <= seen.records_of <= seen.events
    assert all(r["waited_seconds"] >= SLOW for r in seen.records)
    ours = [r for r in seen.records if r["comm"] == "native"]
    assert len(ours) > 10
    assert {r["cpu"] for r in ours} == {0}
    assert all(r["before_tid"] != r["tid"] for r in ours)
    # Whoever else is about may run in between, but not always.
    assert any(r["before_comm"] == "native" for r in ours)
    assert [r["monotonic_seconds"] for r in seen.records] == sorted(
        r["monotonic_seconds"] for r in seen.records
    )


def test_rankings_hold_all_slow_waits(competed):
    seen = competed(only=False)["runqslower"]
    for ranking in ("waiters", "ran_before"):
        rows = {r["comm"]: r for r in seen.tops[ranking]}
        # Two sums of the same numbers in another order.
        assert rows["native"]["waited_seconds"] <= seen.values["slow_seconds"] + 1e-6
        assert rows["native"]["max_waited_seconds"] >= SLOW
        assert sum(r["count"] for r in rows.values()) <= seen.events


def test_without_rivals_no_wait_of_a_sleeper_is_counted_as_slow_that_was_not(observe, native):
    program = native("sleep", 53, 1000)

    def load():
        before, _ = accounts(program.pid)
        program.go()
        program.took()
        return accounts(program.pid)[0] - before

    seen = observe("runqslower", load=load, pid=program.pid)
    assert seen["runqslower"].values["slow_seconds"] <= seen.told
