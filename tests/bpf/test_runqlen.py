"""Run queue length against the kernel's own count of what can run."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest

from collectors.bpf.probes.runqlen import EDGES, FREQUENCY, histogram

EACH = 3
CPUS = sorted(os.sched_getaffinity(0))


def running():
    """Tasks that can run, without this one, which runs when it looks."""
    return int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]) - 1


@pytest.fixture
def crowded(observe, native):
    """Three programs compete for each CPU; told is the mean number of tasks that can run."""
    programs = [native("burn", 2.5, cpu=cpu) for cpu in CPUS for _ in range(EACH)]

    def load():
        for one in programs:
            one.go()
        looks, end = [], time.monotonic() + 2.0
        while time.monotonic() < end:
            looks.append(running())
            time.sleep(0.0101)
        return statistics.mean(looks)

    return observe("runqlen", load=load, settle=0.0)


def test_the_mean_agrees_with_the_kernels_count(crowded):
    waiting = crowded.told / len(CPUS) - 1
    assert crowded["runqlen"].values["mean_waiting_tasks"] == pytest.approx(waiting, rel=0.25)


def test_those_that_compete_stand_in_line(crowded):
    (lengths,) = crowded["runqlen"].histograms
    in_line = sum(b.count for b in lengths.buckets if b.le >= EACH - 1)
    assert in_line >= 0.9 * lengths.count
    assert lengths.p50 >= EACH - 1


def test_each_busy_cpu_is_sampled_as_often_as_was_asked(crowded):
    seen = crowded["runqlen"]
    expected = FREQUENCY * len(CPUS) * seen.window_seconds
    assert 0.85 * expected <= seen.events <= 1.02 * expected
    assert seen.events == seen.values["samples"] == seen.histograms[0].count


def test_lengths_go_into_the_bucket_that_holds_them():
    counts = [0] * 512
    for length in (0, 0, 0, 1, 2, 3, 4, 5, 8, 9):
        counts[length] += 1
    found = histogram(counts, 32)
    assert {b.le: b.count for b in found.buckets} == {0: 3, 1: 1, 2: 1, 4: 2, 8: 2, 16: 1}
    assert (found.count, found.sum) == (10, 32.0)
    assert (found.p50, found.p90, found.p99) == (2.0, 8.0, 9.0)


def test_nothing_sampled_has_no_quantiles():
    found = histogram([0] * 512, 0)
    assert (found.count, found.buckets, found.p50, found.p99) == (0, (), None, None)


def test_the_longest_length_has_a_bucket():
    counts = [0] * 511 + [1]
    assert histogram(counts, 511).buckets[0].le == EDGES[-1]
