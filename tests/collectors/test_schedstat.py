"""Waits on run queues."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.base import Context
from collectors.model import Cause, Unavailable
from collectors.schedstat import SchedstatSample, collect, parse


def stat(*cpus):
    lines = [f"cpu{n} 0 0 1 2 3 4 777 {wait} {turns}" for n, wait, turns in cpus]
    domains = "domain0 MC 3 1 2 3 4 5 6 7 8\n"
    return {"proc/schedstat": "version 16\ntimestamp 99\n" + f"\n{domains}".join(lines) + "\n"}


def test_waits_are_tasks_that_had_no_cpu_and_the_wait_of_each_turn(host):
    ctx = host(stat((0, 0, 0), (3, 10, 5)), stat((0, 10**9, 100), (3, 3 * 10**9 + 10, 105)), step=2)
    sample = collect(ctx)
    assert (sample.waiting, sample.busiest_waiting, sample.busiest_cpu) == (2.0, 1.5, 3)
    assert (sample.turns_per_second, sample.wait_per_turn) == (100, 0.02)


@pytest.mark.parametrize(
    "last", [[(0, 5, 5)], [(0, 5, 5), (1, 0, 5)], [(0, 9, 9), (1, 9, 9), (2, 0, 0)]]
)
def test_a_cpu_that_came_went_or_counted_back_makes_the_window_unknown(host, last):
    sample = collect(host(stat((0, 4, 4), (1, 4, 4)), stat(*last)))
    assert sample == SchedstatSample(1.0)


def test_nobody_waited_is_no_culprit(host):
    sample = collect(host(stat((0, 4, 4)), {}))
    assert (sample.waiting, sample.busiest_cpu, sample.wait_per_turn) == (0.0, None, None)


def test_a_kernel_without_it_is_an_answer(host):
    with pytest.raises(Unavailable) as told:
        collect(host({}))
    assert told.value.cause is Cause.ABSENT


def test_a_short_line_is_refused():
    with pytest.raises(ValueError, match="not a CPU"):
        parse(b"cpu0 1 2 3\n")


def test_the_real_table_is_understood_where_there_is_one():
    if not Path("/proc/schedstat").exists():
        pytest.skip("this kernel keeps no schedstat")
    assert collect(Context(duration=0.2, interval=0.2)).waiting >= 0
