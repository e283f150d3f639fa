"""Run queue latency against the scheduler's own accounting of each task."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.bpf.untold import nearly


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


def test_a_filter_leaves_only_the_waits_of_that_process(observe, native):
    programs = [native("burn", 2.0, cpu=0) for _ in range(4)]

    def load():
        before = waited(programs[0].pid)
        for one in programs:
            one.go()
        for one in programs:
            one.took()
        return waited(programs[0].pid) - before

    seen = observe("runqlat", load=load, pid=programs[0].pid)
    (waits,) = seen["runqlat"].histograms
    # What it waits at first is not known to be its own.
    assert 0.9 * seen.told <= waits.sum <= 1.01 * seen.told


def test_a_filter_keeps_a_process_that_is_woken(observe, native):
    naps = 53
    program = native("sleep", naps, 2000)

    def times():
        return int(Path(f"/proc/{program.pid}/schedstat").read_text().split()[2])

    def load():
        before = times()
        program.go()
        program.took()
        return times() - before

    seen = observe("runqlat", load=load, pid=program.pid)
    assert nearly(naps) <= seen["runqlat"].events <= seen.told


PEER = "/usr/sbin/runqlat"


def of_peer(text):
    """Parse the peer's histogram: upper edge [s] to count."""
    rows = re.findall(r"^\s*(\d+) -> (\d+)\s*: (\d+)", text, re.MULTILINE)
    return {(int(high) + 1) * 1e-6: int(count) for _, high, count in rows}


def below(counts, edge):
    """Share of the values up to an edge; edges of 2^n us and 2^n of 1,024 ns are near enough."""
    return sum(n for le, n in counts.items() if le <= 1.05 * edge) / sum(counts.values())


@pytest.mark.skipif(not Path(PEER).exists(), reason="needs libbpf-tools")
def test_the_spread_is_that_of_another_tool_at_the_same_time(observe, native):
    seconds = 4
    loads = [("burn", seconds + 2, 0)] * 3 + [("burn", seconds + 2, 1)]
    programs = [native(kind, length, cpu=cpu) for kind, length, cpu in loads]
    programs += [native("sleep", 100_000, 500, cpu=cpu) for cpu in (0, 1)]

    def load():
        for one in programs:
            one.go()
        return subprocess.run(
            [PEER, str(seconds), "1"], capture_output=True, text=True, check=True
        ).stdout

    seen = observe("runqlat", load=load, settle=0.0)
    for one in programs:
        one.process.kill()
    theirs = of_peer(seen.told)
    ours = {b.le: b.count for b in seen["runqlat"].histograms[0].buckets}
    assert sum(theirs.values()) > 1000
    # Both watch nearly the same seconds: the curves lie close to each other everywhere.
    assert max(abs(below(ours, e) - below(theirs, e)) for e in theirs if e >= 4e-6) < 0.1
