"""Page cache hits and misses against the sizes of files, page by page."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from collectors.bpf.probe import Settings
from collectors.bpf.probes.cachestat import PROBE
from collectors.bpf.source import Host, plan
from collectors.bpf.tracefs import Tracefs

_spec = importlib.util.spec_from_file_location("workloads", Path(__file__).parent / "workloads.py")
workloads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(workloads)

PAGES = 5003
PAGE = 4096

READ = """
handle = os.open(path, os.O_RDONLY)
if cold:
    os.posix_fadvise(handle, 0, cold, os.POSIX_FADV_DONTNEED)
length = os.fstat(handle).st_size
area = mmap.mmap(handle, length, flags=mmap.MAP_PRIVATE)
pages = (ctypes.c_ubyte * (length + 4095 >> 12))()
start = ctypes.c_char.from_buffer(area)
assert libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(length), pages) == 0
told["absent"] = sum(1 for page in pages if not page & 1)
while os.read(handle, size):
    pass
"""


@pytest.fixture
def path(tmp_path):
    """A file on a disk, wholly in the cache; its last page is not full."""
    file = tmp_path / "file"
    with file.open("wb") as out:
        out.write(os.urandom(PAGES * PAGE - 100))
        os.fsync(out.fileno())
    return str(file)


def row(sample, name):
    (row,) = workloads.of(sample.tops["process"], comm=name)
    return row["accesses"], row["hits"], row["misses"]


def check(told, pages, absent):
    """
    Hold a row against the file: misses to the page, accesses nearly.

    A read that waits for a page is not told of the few that it got just before.
    """
    accesses, hits, misses = told
    assert misses == absent
    assert pages - 0.03 * PAGES <= accesses <= pages
    assert hits == max(0, accesses - misses)


def read(observe, path, size, cold):
    program = workloads.Program("reader", READ, path=path, size=size, cold=cold)
    seen = observe("cachestat", load=program.run, top=1000)
    return seen["cachestat"], seen.told["absent"]


# Each read is told of in batches of at most 31 pages, and no read ends at the end of the file.
SIZES = [PAGE, 64 << 10, 16 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_a_cold_file_misses_each_of_its_pages_once(observe, path, size):
    sample, absent = read(observe, path, size, PAGES * PAGE)
    assert absent == PAGES
    check(row(sample, "reader"), PAGES, PAGES)
    assert sample.values["misses"] >= PAGES
    assert sample.values["added"] >= PAGES


@pytest.mark.parametrize("size", SIZES)
def test_a_warm_file_hits_each_of_its_pages_once(observe, path, size):
    sample, absent = read(observe, path, size, 0)
    assert absent == 0
    assert row(sample, "reader") == (PAGES, PAGES, 0)
    assert sample.values["hit_ratio"] >= PAGES / (PAGES + sample.values["misses"])


def test_of_a_file_that_is_partly_cold_the_absent_pages_are_missed(observe, path):
    sample, absent = read(observe, path, 64 << 10, 2500 * PAGE)
    # A large piece of the cache goes or stays as a whole: mincore tells what is there.
    assert PAGES / 3 < absent <= 2500
    check(row(sample, "reader"), PAGES, absent)
    values = sample.values
    assert values["hits"] + values["misses"] == values["accesses"]
    assert values["hit_ratio"] == pytest.approx(values["hits"] / values["accesses"])


SMALL = """
for number in range(1009):
    handle = os.open(path, os.O_RDONLY)
    os.read(handle, 1 << 20)
    os.close(handle)
"""


def test_a_large_buffer_for_a_small_file_is_one_page_and_not_the_buffers(observe, tmp_path):
    (tmp_path / "small").write_text("small")
    program = workloads.Program("reader", SMALL, path=str(tmp_path / "small"))
    sample = observe("cachestat", load=program.run, top=1000)["cachestat"]
    assert row(sample, "reader") == (1009, 1009, 0)


MAPPED = """
handle = os.open(path, os.O_RDONLY)
os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
area = mmap.mmap(handle, 0, flags=mmap.MAP_PRIVATE)
area.madvise(mmap.MADV_RANDOM)
for page in random.Random(1).sample(range(5000), 997):
    if write:
        area[page * 4096] = 1
    else:
        told["last"] = area[page * 4096]
"""


# A page to be written is asked for again by the same fault after it has come.
@pytest.mark.parametrize("write", [False, True])
def test_each_cold_page_of_a_mapped_file_is_missed_once(observe, path, write):
    program = workloads.Program("mapper", MAPPED, path=path, write=write)
    sample = observe("cachestat", load=program.run, top=1000)["cachestat"]
    accesses, _, misses = row(sample, "mapper")
    # The program's own code is mapped, too.
    assert misses == 997 <= accesses < 997 + 200


WRITE = """
handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
for number in range(301):
    os.write(handle, bytes(65536))
    if reread:
        os.pread(handle, 4096, 65536 * number)
"""


def test_pages_that_are_written_are_no_misses(observe, path, tmp_path):
    writer = workloads.Program("writer", WRITE, path=str(tmp_path / "new"), reread=False)

    reader = workloads.Program("reader", READ, path=path, size=65536, cold=2500 * PAGE)

    def load():
        thread = threading.Thread(target=writer.run)
        thread.start()
        absent = reader.run()["absent"]
        thread.join()
        return absent

    seen = observe("cachestat", load=load, top=1000)
    sample, absent = seen["cachestat"], seen.told
    check(row(sample, "reader"), PAGES, absent)
    assert sum(r["misses"] for r in workloads.of(sample.tops["process"], comm="writer")) == 0
    assert sample.values["added"] >= 301 * 16 + absent


def test_what_a_task_writes_and_reads_again_was_in_the_cache(observe, tmp_path):
    program = workloads.Program("writer", WRITE, path=str(tmp_path / "new"), reread=True)
    sample = observe("cachestat", load=program.run, top=1000)["cachestat"]
    assert row(sample, "writer") == (301, 301, 0)


def test_a_device_is_told_by_its_name(observe, tmp_path):
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with workloads.loop_device(image, 64 << 20) as device:
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        subprocess.run(["mount", device, place], check=True)
        try:
            (place / "file").write_bytes(os.urandom(1 << 20))
            os.sync()
            sample, _ = read(observe, str(place / "file"), 65536, 1 << 20)
        finally:
            subprocess.run(["umount", place], check=True)
    (found,) = workloads.of(sample.tops["device"], device=Path(device).name)
    check((found["accesses"], found["hits"], found["misses"]), 256, 256)


class FakeKernel:
    """A kernel that has no event for reads, but one for faults."""

    def counts(self, name):
        return {"cachestat_pages": [0, 7, 3, 500, 300]}[name]

    def items(self, name):
        return iter(())

    def devices(self):
        return {}


def test_where_reads_cannot_be_seen_hits_are_unknown_and_misses_are_told():
    sample = PROBE.recorder(Settings()).sample(FakeKernel(), 1.0)
    assert sample.values == {"misses": 200, "added": 500}


def test_a_kernel_without_the_event_is_asked_by_kprobe(tmp_path):
    for event in ("mm_filemap_add_to_page_cache",):
        (tmp_path / "events/filemap" / event).mkdir(parents=True)
        (tmp_path / "events/filemap" / event / "format").write_text(FORMAT)
    host = Host(Tracefs(tmp_path), None, FUNCTIONS)
    planned = plan(replace(PROBE, name="cachestat"), host)
    on = {program.part.on for program in planned.programs}
    assert on == {*CALLS, "filemap:mm_filemap_add_to_page_cache"}
    without = plan(replace(PROBE, name="cachestat"), replace(host, functions=frozenset()))
    assert {p.part.on for p in without.programs} == on - CALLS


FUNCTIONS = frozenset({"filemap_read", "filemap_fault"})
CALLS = {"kprobe:filemap_read", "kretprobe:filemap_read", "kprobe:filemap_fault"}
FORMAT = """
\tfield:unsigned long i_ino;\toffset:16;\tsize:8;\tsigned:0;
\tfield:unsigned long index;\toffset:24;\tsize:8;\tsigned:0;
\tfield:dev_t s_dev;\toffset:32;\tsize:4;\tsigned:0;
"""
