"""Interrupts of devices against /proc/interrupts."""

from __future__ import annotations

import mmap
import os
import subprocess
from pathlib import Path

import pytest

READS = 499
RELEASE = tuple(map(int, os.uname().release.split(".")[:2]))


def interrupts():
    """Read how often each handler ran: by name, over all its lines."""
    header, *lines = Path("/proc/interrupts").read_text().splitlines()
    cpus, told = len(header.split()), {}
    for line in lines:
        number, *words = line.split()
        if number[:-1].isdigit():
            # All handlers that share a line run.
            actions = Path(f"/sys/kernel/irq/{number[:-1]}/actions").read_text().strip()
            for name in filter(None, actions.split(",")):
                told[name] = told.get(name, 0) + sum(map(int, words[:cpus]))
    return told


@pytest.fixture
def reads(tmp_path):
    """Read from a real disk, past the cache."""
    file = tmp_path / "data"
    file.write_bytes(os.urandom(4096 * READS))
    os.sync()
    try:
        handle = os.open(file, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        pytest.skip("no disk below the temporary folder")
    block = mmap.mmap(-1, 4096)

    def load():
        before = interrupts()
        for number in range(READS):
            os.preadv(handle, [block], 4096 * number)
        return before, interrupts()

    yield load
    os.close(handle)


def test_counts_lie_between_those_of_the_kernel_around_and_within_the_window(observe, reads):
    outside = interrupts()
    result = observe("hardirqs", load=reads)
    seen, (before, after), end = result["hardirqs"], result.told, interrupts()
    counts = {h.labels["irq"]: h.count for h in seen.histograms}
    assert len(counts) == len(seen.histograms), "a name is told twice"
    least = {name: after[name] - before[name] for name in after}
    most = {name: end[name] - outside[name] for name in end}
    assert set(counts) <= {name for name, count in most.items() if count}
    told = {name: range(counts.get(name, 0), counts.get(name, 0) + seen.lost + 1) for name in most}
    assert [n for n in least if told[n][-1] < least[n] or told[n][0] > most[n]] == []
    assert max(least.values()) > READS // 10, "there was no load"
    assert seen.events == sum(counts.values())
    assert seen.lost <= READS // 20


@pytest.fixture
def full_of_calls():
    """Keep all CPUs in system calls, so that interrupts come in the midst of other probes."""
    call = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "status=none"]
    programs = [subprocess.Popen(call) for _ in os.sched_getaffinity(0)]
    yield
    for one in programs:
        one.kill()
        one.wait()


def test_what_the_kernel_leaves_out_beside_another_probe_is_lost(observe, reads, full_of_calls):
    result = observe("hardirqs", "syscount", load=reads)
    seen, (before, after) = result["hardirqs"], result.told
    came = sum(after.values()) - sum(before.values())
    assert came > READS // 10, "there was no load"
    (note,) = seen.notes
    if RELEASE < (6, 7):
        assert note.startswith("this kernel does not count")
        return
    assert 0 < seen.lost <= 2 * came
    assert seen.events + seen.lost >= came
    assert note.startswith(f"{seen.lost} of the lost")


def test_times_are_possible_and_agree_with_each_other(observe, reads):
    seen = observe("hardirqs", load=reads)["hardirqs"]
    assert 0 < seen.values["seconds"] < seen.window_seconds * os.cpu_count()
    for histogram in seen.histograms:
        assert sum(b.count for b in histogram.buckets) == histogram.count
        lower = sum(b.le / 2 * b.count for b in histogram.buckets)
        assert lower <= histogram.sum <= 2 * lower
    assert sum(h.sum for h in seen.histograms) == pytest.approx(seen.values["seconds"])
    assert [h.count for h in seen.histograms] == sorted(
        (h.count for h in seen.histograms), reverse=True
    )
