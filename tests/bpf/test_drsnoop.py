"""Direct reclaim against the accounts of a memory control group at its limit."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("workloads", Path(__file__).parent / "workloads.py")
workloads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(workloads)

PAGE = 4096
LIMIT = 32 << 20
SIZE = 128 << 20

READ = """
with open(group + "/cgroup.procs", "w") as procs:
    procs.write(str(os.getpid()))
handle = os.open(path, os.O_RDONLY)
os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
before = failures(group)
began = time.monotonic()
while os.read(handle, 65536):
    pass
told["seconds"] = time.monotonic() - began
told["failures"] = failures(group) - before
"""

# Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst: how often the limit was met.
FAILURES = {
    1: """
def failures(group):
    with open(group + "/memory.failcnt") as count:
        return int(count.read())
""",
    2: """
def failures(group):
    with open(group + "/memory.events") as events:
        return int(dict(line.split() for line in events)["max"])
""",
}


@pytest.fixture
def group():
    """A control group with little memory, and the version of its hierarchy."""
    first = Path("/sys/fs/cgroup/memory")
    version = 1 if (first / "memory.limit_in_bytes").exists() else 2
    place = (first if version == 1 else Path("/sys/fs/cgroup")) / f"sysdx-test-{os.getpid()}"
    place.mkdir()
    limit = "memory.limit_in_bytes" if version == 1 else "memory.max"
    try:
        (place / limit).write_text(str(LIMIT))
        yield version, str(place)
    finally:
        place.rmdir()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "file"
    with file.open("wb") as out:
        for _ in range(SIZE >> 20):
            out.write(bytes(1 << 20))
        os.fsync(out.fileno())
    return str(file)


def test_each_reclaim_of_a_group_at_its_limit_is_told(observe, group, path):
    version, place = group
    program = workloads.Program("reader", FAILURES[version] + READ, path=path, group=place)
    before = workloads.vmstat()
    seen = observe("drsnoop", load=program.run)
    after = workloads.vmstat()
    sample = seen["drsnoop"]
    (row,) = workloads.of(sample.tops["process"], comm="reader", scope="cgroup")
    assert row["count"] == seen.told["failures"] > 10
    assert row["pid"] == program.pid
    # All but what fits in had to be freed, and nothing can be freed that was not read.
    pages, fit = SIZE // PAGE, LIMIT // PAGE
    assert pages - fit <= sample.values["cgroup_pages"] <= 1.1 * pages
    # What the host reclaimed meanwhile is counted apart, and is none on a host with free memory.
    assert sample.values["host_pages"] == after["pgsteal_direct"] - before["pgsteal_direct"]
    assert sample.lost == 0


def test_its_time_is_a_part_of_what_the_program_took(observe, group, path):
    version, place = group
    program = workloads.Program("reader", FAILURES[version] + READ, path=path, group=place)
    seen = observe("drsnoop", load=program.run)
    (row,) = workloads.of(seen["drsnoop"].tops["process"], comm="reader")
    assert 0 < row["max_seconds"] <= row["seconds"] < seen.told["seconds"]
    (histogram,) = [h for h in seen["drsnoop"].histograms if h.labels == {"scope": "cgroup"}]
    lower = sum(b.le / 2 * b.count for b in histogram.buckets)
    assert lower <= histogram.sum <= 2 * lower
    assert histogram.count >= row["count"]


def test_without_need_there_is_no_reclaim(observe, path):
    code = "told['size'] = len(open(path, 'rb').read())"
    sample = observe("drsnoop", load=lambda: workloads.run("reader", code, path=path))["drsnoop"]
    assert workloads.of(sample.tops["process"], comm="reader") == []
