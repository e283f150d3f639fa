"""Block I/O latency against diskstats and a known number of reads."""

from __future__ import annotations

import mmap
import os
import subprocess
from pathlib import Path

import pytest

READS = 997


@pytest.fixture
def loop(tmp_path):
    """Make a block device that nobody else uses."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    found = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=True
    )
    device = found.stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def stats(device):
    name = Path(device).name
    for line in Path("/proc/diskstats").read_text().splitlines():
        words = line.split()
        if words[2] == name:
            return {"read": int(words[3]), "write": int(words[7])}
    raise AssertionError(f"{name} is not in diskstats")


def read_directly(device, times):
    block = mmap.mmap(-1, 4096)
    handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
    for number in range(times):
        os.preadv(handle, [block], 4096 * (number % 4000))
    os.close(handle)


def test_each_direct_read_is_counted_once_and_agrees_with_diskstats(observe, loop):
    before = stats(loop)
    seen = observe("biolatency", load=lambda: read_directly(loop, READS))
    counted = {
        h.labels["operation"]: h.count
        for h in seen["biolatency"].histograms
        if h.labels["device"] == Path(loop).name
    }
    assert counted["read"] == READS == stats(loop)["read"] - before["read"]
    assert seen["biolatency"].lost == 0


def test_a_histogram_is_whole(observe, loop):
    seen = observe("biolatency", load=lambda: read_directly(loop, 53))
    (reads,) = [
        h
        for h in seen["biolatency"].histograms
        if h.labels == {"device": Path(loop).name, "operation": "read"}
    ]
    assert sum(b.count for b in reads.buckets) == reads.count
    lower = sum(b.le / 2 * b.count for b in reads.buckets)
    upper = sum(b.le * b.count for b in reads.buckets)
    assert lower <= reads.sum <= upper
    assert reads.buckets[0].le / 2 <= reads.p50 <= reads.p90 <= reads.p99 <= reads.buckets[-1].le
