"""Sizes of block requests against diskstats and reads of known sizes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("workloads", Path(__file__).parent / "workloads.py")
workloads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(workloads)

TIMES = {512: 101, 4096: 211, 65536: 53}


@pytest.fixture
def device(tmp_path):
    with workloads.loop_device(tmp_path / "image") as path:
        yield path


def read(device):
    for size, times in TIMES.items():
        workloads.run(
            "directreader", workloads.READ_DIRECTLY, device=device, times=times, size=size
        )


def mine(sample, device):
    name = Path(device).name
    return {h.labels["operation"]: h for h in sample.histograms if h.labels["device"] == name}


def test_each_size_is_in_the_bucket_that_ends_with_it(observe, device):
    sample = observe("bitesize", load=lambda: read(device))["bitesize"]
    reads = mine(sample, device)["read"]
    assert {bucket.le: bucket.count for bucket in reads.buckets} == TIMES


def test_the_sum_is_what_diskstats_has_in_sectors(observe, device):
    before = workloads.diskstats(device)
    sample = observe("bitesize", load=lambda: read(device))["bitesize"]
    after = workloads.diskstats(device)
    reads = mine(sample, device)["read"]
    assert reads.sum == after["read_bytes"] - before["read_bytes"]
    assert reads.count == after["read"] - before["read"] == sum(TIMES.values())


WRITE_AND_FLUSH = """
block = mmap.mmap(-1, 8192)
handle = os.open(device, os.O_RDWR | os.O_DIRECT)
for number in range(31):
    os.pwritev(handle, [block], 8192 * number)
    os.fsync(handle)
"""


def test_a_flush_has_no_size(observe, device):
    sample = observe(
        "bitesize", load=lambda: workloads.run("writer", WRITE_AND_FLUSH, device=device)
    )["bitesize"]
    assert set(mine(sample, device)) == {"write"}
    writes = mine(sample, device)["write"]
    assert [(bucket.le, bucket.count) for bucket in writes.buckets] == [(8192, 31)]
