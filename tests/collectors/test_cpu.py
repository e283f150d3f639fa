"""CPU time."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from collectors.base import Context
from collectors.cpu import collect, parse, parse_load


def stat(*cpus, ctxt=0, running=1, blocked=0, forks=0):
    lines = ["cpu  " + " ".join(str(sum(column)) for column in zip(*cpus, strict=True))]
    lines += [f"cpu{n} " + " ".join(map(str, ticks)) for n, ticks in enumerate(cpus)]
    lines += [f"intr 5 1 2 {'0 ' * 300}", f"ctxt {ctxt}", "btime 1795506207"]
    lines += [f"processes {forks}", f"procs_running {running}", f"procs_blocked {blocked}"]
    return {"proc/stat": "\n".join(lines) + "\n"}


IDLE = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_shares_are_of_all_ticks_and_guest_time_is_not_counted_twice(host):
    # guest (9th) is part of user already
    sample = collect(host(stat(IDLE), stat((40, 0, 10, 30, 10, 0, 5, 5, 40, 0))))
    assert sample.states == {
        "user": 0.4, "nice": 0.0, "system": 0.1, "idle": 0.3, "iowait": 0.1, "irq": 0.0,
        "softirq": 0.05, "steal": 0.05,
    }  # fmt: skip
    assert sample.utilization.mean == pytest.approx(0.6)


def test_mean_is_of_the_window_and_peak_of_one_interval(host):
    busy, idle = (90, 0, 0, 110, 0, 0, 0, 0), (90, 0, 0, 210, 0, 0, 0, 0)
    sample = collect(host(stat(IDLE[:8]), stat(busy), stat(idle)))
    assert sample.utilization.mean == pytest.approx(0.3)
    assert sample.utilization.peak == pytest.approx(0.45)
    assert len(sample.utilization.samples) == 2


def test_iowait_that_went_back_makes_its_share_unknown_and_no_spike(host):
    before, after = (0, 0, 0, 0, 50, 0, 0, 0), (10, 0, 0, 90, 40, 0, 0, 0)
    sample = collect(host(stat(before), stat(after)))
    assert sample.states["iowait"] is None
    assert sample.utilization.mean is None


def test_a_cpu_that_went_offline_is_left_out_of_the_sums(host):
    two = stat(IDLE, IDLE)
    one = stat((50, 0, 0, 50, 0, 0, 0, 0, 0, 0))
    sample = collect(host(two, one))
    assert sample.online == 1
    assert sample.utilization.mean == 0.5


def test_a_cpu_that_came_is_unknown(host):
    sample = collect(host(stat(IDLE), stat((5, 0, 0, 5, 0, 0, 0, 0, 0, 0), IDLE)))
    assert sample.per_cpu == {0: 0.5, 1: None}


def test_the_reader_is_not_counted_among_the_running(host):
    sample = collect(host(stat(IDLE, running=1), stat(IDLE, running=4)))
    assert sample.running.samples == (0, 3)


def test_equal_readings_are_unknown_and_not_full(host):
    assert collect(host(stat(IDLE), stat(IDLE))).utilization.mean is None


@pytest.mark.parametrize(
    "raw", [b"", b"cpu  1 2 3 4\n", b"cpu0 1 2\n", b"cpu0 1 2 nan 4\n", b"cpux 1 2 3 4\n"]
)
def test_garbage_is_refused(raw):
    with pytest.raises(ValueError, match=r"CPU|number"):
        parse(raw)


def test_loads_are_read():
    assert parse_load(b"0.01 0.22 3.10 2/300 4711\n") == (0.01, 0.22, 3.10)


def test_a_burning_process_is_seen_on_the_real_host():
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        sample = collect(Context(duration=1.0, interval=0.25))
    finally:
        burner.kill()
        burner.wait()
    assert sample.utilization.mean > 0.8 / (os.cpu_count() or 1)
    assert sample.online == os.sysconf("SC_NPROCESSORS_ONLN")
    assert sample.context_switches.mean > 0


def test_time_of_virtual_machines_and_stolen_time_are_told(host):
    # user nice system idle iowait irq softirq steal guest guest_nice
    first = "cpu  0\ncpu0 10 0 0 10 0 0 0 0 5 0\ncpu1 0 0 0 10 0 0 0 0 0 0\n"
    last = "cpu  0\ncpu0 60 0 0 40 0 0 0 20 25 10\ncpu1 0 0 0 110 0 0 0 0 0 0\n"
    sample = collect(host({"proc/stat": first}, {"proc/stat": last}))
    assert sample.guest == pytest.approx(30 / 200)
    assert sample.steal == {0: pytest.approx(0.2), 1: 0.0}


def test_a_kernel_that_tells_no_guests_or_no_steal_leaves_them_unknown(host):
    sample = collect(host({"proc/stat": "cpu0 1 0 0 9\n"}, {"proc/stat": "cpu0 2 0 0 18\n"}))
    assert (sample.guest, sample.steal) == (None, {0: None})


def test_stolen_and_guest_time_are_those_that_psutil_tells():
    before = psutil.cpu_times(percpu=True)
    sample = collect(Context(duration=1.0, interval=0.5))
    after = psutil.cpu_times(percpu=True)
    whole = sum(sum(b[:8]) - sum(a[:8]) for a, b in zip(before, after, strict=True))
    guest = sum(b.guest - a.guest for a, b in zip(before, after, strict=True))
    assert sample.guest == pytest.approx(guest / whole, abs=0.05)
    for number, (a, b) in enumerate(zip(before, after, strict=True)):
        share = (b.steal - a.steal) / (sum(b[:8]) - sum(a[:8]))
        assert sample.steal[number] == pytest.approx(share, abs=0.1)
