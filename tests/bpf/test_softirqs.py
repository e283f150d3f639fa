"""Softirqs against /proc/softirqs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

PACKETS = 997
TIME, WAIT = "sysdx_softirq_seconds", "sysdx_softirq_delay_seconds"


def softirqs():
    lines = [line.split() for line in Path("/proc/softirqs").read_text().splitlines()[1:]]
    return {name[:-1]: sum(map(int, counts)) for name, *counts in lines}


def load():
    """Send packets to ourselves: each is received in a softirq."""
    before = softirqs()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        for _ in range(PACKETS):
            one.sendto(b"x", one.getsockname())
            one.recv(1)
    return before, softirqs()


def by_vector(sample, family):
    return {h.labels["vector"]: h for h in sample.histograms if h.family == family}


def test_counts_lie_between_those_of_the_kernel_around_and_within_the_window(observe):
    outside = softirqs()
    result = observe("softirqs", load=load)
    seen, (before, after), end = result["softirqs"], result.told, softirqs()
    counts = {name: h.count for name, h in by_vector(seen, TIME).items()}
    assert set(counts) <= set(end)
    wrong = {
        name: (after[name] - before[name], counts.get(name, 0), end[name] - outside[name])
        for name in end
        if not after[name] - before[name] <= counts.get(name, 0) <= end[name] - outside[name]
    }
    assert wrong == {}
    assert counts["NET_RX"] >= PACKETS
    assert seen.events == sum(counts.values())


def test_each_kind_that_came_has_waited_before(observe):
    seen = observe("softirqs", load=load)["softirqs"]
    took, waited = by_vector(seen, TIME), by_vector(seen, WAIT)
    assert set(waited) <= set(took)
    cpus = os.cpu_count()
    assert all(waited[n].count <= took[n].count + cpus for n in waited)
    # On one CPU it waits but once at a time.
    assert all(h.sum <= seen.window_seconds * cpus for h in waited.values())
    # All but those raised once more while they were about to be handled.
    assert waited["NET_RX"].count >= 0.9 * took["NET_RX"].count


def test_times_are_possible_and_agree_with_each_other(observe):
    seen = observe("softirqs", load=load)["softirqs"]
    assert 0 < seen.values["seconds"] < seen.window_seconds * os.cpu_count()
    for histogram in seen.histograms:
        assert sum(b.count for b in histogram.buckets) == histogram.count
        lower = sum(b.le / 2 * b.count for b in histogram.buckets)
        assert lower <= histogram.sum <= 2 * lower
    times = by_vector(seen, TIME).values()
    assert sum(h.sum for h in times) == pytest.approx(seen.values["seconds"])
