"""Run queue latency against the scheduler's own accounting of each task."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest


def waited(pid):
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def compete():
    """Let five programs compete for one CPU, and tell how long they waited for it."""
    spin = ["taskset", "-c", "0", "sh", "-c", "while :; do :; done"]
    programs = [subprocess.Popen(spin) for _ in range(5)]
    time.sleep(2.0)
    told = sum(waited(p.pid) for p in programs)
    for program in programs:
        program.kill()
        program.wait()
    return told


def test_waits_are_those_that_the_scheduler_accounts_for(observe):
    seen = observe("runqlat", load=compete)
    (waits,) = seen["runqlat"].histograms
    assert waits.sum >= 0.9 * seen.told
    # Four of five wait at any time, for whole slices of the scheduler.
    slices = sum(b.count for b in waits.buckets if b.le > 1e-3)
    assert slices > 100
    assert waits.count == seen["runqlat"].events == sum(b.count for b in waits.buckets)


def test_the_sum_is_not_far_above_what_all_tasks_waited(observe):
    def all_waits():
        files = list(Path("/proc").glob("[0-9]*/task/*/schedstat"))
        total = 0.0
        for file in files:
            try:
                total += int(file.read_text().split()[1]) / 1e9
            except (OSError, IndexError):
                continue
        return total

    def load():
        before = all_waits()
        compete()
        return all_waits() - before

    seen = observe("runqlat", load=load)
    (waits,) = seen["runqlat"].histograms
    # The programs that ended took their accounts with them.
    assert waits.sum == pytest.approx(seen.told + 8.0, abs=5.0)
