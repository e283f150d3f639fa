"""Single block requests against diskstats and a known number of reads."""

from __future__ import annotations

import importlib.util
import mmap
import os
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("workloads", Path(__file__).parent / "workloads.py")
workloads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(workloads)

READS = 997
SIZE = 4096


@pytest.fixture
def device(tmp_path):
    with workloads.loop_device(tmp_path / "image") as path:
        yield path


def read(device, name="directreader", times=READS, size=SIZE):
    return workloads.Program(name, workloads.READ_DIRECTLY, device=device, times=times, size=size)


def told(sample, device, **wanted):
    return workloads.of(sample.tops["process"], device=Path(device).name, **wanted)


def test_each_read_is_told_with_who_asked_and_agrees_with_diskstats(observe, device):
    before = workloads.diskstats(device)
    program = read(device)
    sample = observe("biosnoop", load=program.run, top=1000)["biosnoop"]
    after = workloads.diskstats(device)
    (row,) = told(sample, device, operation="read", pid=program.pid)
    assert row["count"] == READS == after["read"] - before["read"]
    assert row["bytes"] == READS * SIZE == after["read_bytes"] - before["read_bytes"]
    assert row["comm"] == "directreader"
    assert (sample.lost, sample.values["unknown"]) == (0, 0)


def test_the_sample_of_requests_is_fair(observe, device):
    sample = observe("biosnoop", load=read(device).run)["biosnoop"]
    mine = workloads.of(sample.records, device=Path(device).name, comm="directreader")
    assert READS <= sample.records_of == sample.events
    assert len(sample.records) == 200
    # The reads go through the device from its beginning to its end.
    fifths = [int(5 * record["sector"] * 512 / (READS * SIZE)) for record in mine]
    assert all(fifths.count(n) >= 15 for n in range(5))
    assert {record["bytes"] for record in mine} == {SIZE}
    assert sorted(mine, key=lambda r: r["monotonic_seconds"]) == mine


def test_time_in_queue_and_in_the_device_are_parts_of_what_the_program_waited(observe, device):
    seen = observe("biosnoop", load=read(device).run, top=1000)
    sample, waited = seen["biosnoop"], seen.told["seconds"]
    (row,) = told(sample, device, comm="directreader")
    queues = [h for h in sample.histograms if h.labels == {"device": Path(device).name}]
    # A device without a scheduler has no queue, and older kernels tell of the queue alone.
    made = not any("block_io_start" in note for note in sample.notes)
    assert [queue.count for queue in queues] == ([READS] if made else [])
    queued = sum(queue.sum for queue in queues)
    assert (0 < queued < waited) == made
    assert 0.1 * waited < row["seconds"] + queued < waited
    assert row["max_seconds"] < row["seconds"]
    for record in workloads.of(sample.records, device=Path(device).name):
        assert (record["queue_seconds"] is not None) == made
        assert 0 <= (record["queue_seconds"] or 0) < waited
        assert 0 < record["seconds"] <= row["max_seconds"]


def test_one_process_can_be_watched_alone(observe, device):
    wanted, other = read(device, "wanted", 101), read(device, "other", 103)
    sample = observe(
        "biosnoop", load=lambda: (wanted.run(), other.run()), pid=wanted.pid, top=1000
    )["biosnoop"]
    rows = workloads.of(sample.tops["process"], device=Path(device).name)
    assert [(row["comm"], row["count"]) for row in rows] == [("wanted", 101)]
    assert {row["pid"] for row in sample.tops["process"]} == {wanted.pid}


def test_what_this_program_reads_itself_is_not_told(observe, device):
    def load():
        block = mmap.mmap(-1, SIZE)
        handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
        for number in range(101):
            os.preadv(handle, [block], SIZE * number)
        os.close(handle)

    sample = observe("biosnoop", load=load, top=1000)["biosnoop"]
    assert told(sample, device) == []
    assert workloads.of(sample.records, device=Path(device).name) == []
