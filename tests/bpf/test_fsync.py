"""Calls that write files back against the counts and the clock of the program that makes them."""

from __future__ import annotations

import errno
import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("workloads", Path(__file__).parent / "workloads.py")
workloads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(workloads)

CALLS = {"fsync": 101, "fdatasync": 53, "msync": 31, "sync_file_range": 17}

SYNC = """
handle = os.open(path, os.O_RDWR | os.O_CREAT)
os.ftruncate(handle, 1 << 16)
area = mmap.mmap(handle, 1 << 16)
both = 6  # SYNC_FILE_RANGE_WRITE and WAIT_AFTER
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
how = {
    "fsync": lambda: os.fsync(handle),
    "fdatasync": lambda: os.fdatasync(handle),
    "msync": area.flush,
    "sync_file_range": lambda: libc.sync_file_range(handle, 0, 0, both),
}
for name, times in calls.items():
    told[name] = 0.0
    for number in range(times):
        area[number] = number % 251
        began = time.monotonic()
        how[name]()
        told[name] += time.monotonic() - began
"""


@pytest.fixture
def seen(observe, tmp_path):
    program = workloads.Program("syncer", SYNC, path=str(tmp_path / "file"), calls=CALLS)
    return observe("fsync", load=program.run, top=1000)


def test_each_call_is_counted_by_its_name_and_its_process(seen):
    rows = workloads.of(seen["fsync"].tops["process"], comm="syncer")
    assert {row["operation"]: row["count"] for row in rows} == CALLS
    counts = {h.labels["operation"]: h.count for h in seen["fsync"].histograms}
    assert all(counts[name] >= times for name, times in CALLS.items())
    assert sum(counts.values()) == seen["fsync"].events
    assert seen["fsync"].lost == 0
    assert seen["fsync"].values["errors"] == 0


def test_the_time_is_what_the_program_waited_by_its_own_clock(seen):
    for name, waited in seen.told.items():
        (row,) = workloads.of(seen["fsync"].tops["process"], comm="syncer", operation=name)
        assert 0.3 * waited < row["seconds"] < waited
        assert row["seconds"] / row["count"] <= row["max_seconds"] <= row["seconds"]
        (histogram,) = [h for h in seen["fsync"].histograms if h.labels["operation"] == name]
        assert histogram.sum >= row["seconds"] * 0.999


FAIL = """
_, pipe = os.pipe()
for number in range(7):
    try:
        os.fsync(pipe)  # EINVAL: the call is wrong
    except OSError:
        pass
handle = os.open(device, os.O_WRONLY)
told["errors"] = []
# On some kernels a write that the full file system takes in part does not fail; the next does.
for half in range(2):
    os.pwrite(handle, bytes(1 << 19), half << 19)
    try:
        os.fsync(handle)
    except OSError as error:
        told["errors"].append(error.errno)
"""


def test_only_what_says_that_data_is_lost_is_an_error(observe, tmp_path):
    with (
        workloads.small_tmpfs(tmp_path / "full", 20 * 4096) as place,
        workloads.loop_device(place / "image", 1 << 20) as device,
    ):
        seen = observe("fsync", load=lambda: workloads.run("failing", FAIL, device=device))
    assert set(seen.told["errors"]) in ({errno.EIO}, {errno.ENOSPC})
    assert seen["fsync"].values["errors"] == len(seen.told["errors"])
    (wrong,) = workloads.of(seen["fsync"].tops["error"], error="EINVAL")
    assert (wrong["operation"], wrong["count"]) == ("fsync", 7)


def test_one_process_can_be_watched_alone(observe, tmp_path):
    def program(name):
        return workloads.Program(name, SYNC, path=str(tmp_path / name), calls=CALLS)

    wanted, other = program("wanted"), program("other")
    sample = observe("fsync", load=lambda: (wanted.run(), other.run()), pid=wanted.pid)["fsync"]
    assert {row["comm"] for row in sample.tops["process"]} == {"wanted"}
    assert sample.events == sum(CALLS.values())
