"""Waits for kernel locks against a lock that is held for a known time."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("workloads", Path(__file__).parent / "workloads.py")
workloads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(workloads)

WAITERS = 7
HELD = 0.2  # [s]

# A thread writes to a file from memory that is not there yet: until it is, the thread sleeps in
# the kernel and holds the lock of the file, and all who want to write to it wait.
HOLD = """
import struct, threading, platform, fcntl
calls = {"x86_64": 323, "aarch64": 282}
faults = libc.syscall(calls[platform.machine()], os.O_CLOEXEC)
assert faults >= 0, os.strerror(ctypes.get_errno())
fcntl.ioctl(faults, 0xC018AA3F, struct.pack("QQQ", 0xAA, 0, 0))  # UFFDIO_API
area = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(area))
fcntl.ioctl(faults, 0xC020AA00, struct.pack("QQQQ", address, 4096, 1, 0))  # UFFDIO_REGISTER
file = os.open(path, os.O_RDWR | os.O_CREAT)
holder = threading.Thread(
    target=libc.pwrite,
    args=(file, ctypes.c_void_p(address), ctypes.c_size_t(4096), ctypes.c_long(0)),
)
holder.start()
os.read(faults, 32)  # it holds the lock and sleeps

def wait(end):
    libc.prctl(15, b"waiter", 0, 0, 0)
    began = time.monotonic()
    os.pwrite(file, b"x", 0)
    os.write(end, struct.pack("d", time.monotonic() - began))
    os._exit(0)

def state(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]

pipes, pids = [os.pipe() for _ in range(waiters)], []
for _, end in pipes:
    pids.append(os.fork())
    if not pids[-1]:
        wait(end)
while any(state(pid) != "D" for pid in pids):
    time.sleep(0.001)
time.sleep(held)
fcntl.ioctl(faults, 0xC020AA04, struct.pack("QQQQ", address, 4096, 0, 0))  # UFFDIO_ZEROPAGE
holder.join()
told["waited"] = [struct.unpack("d", os.read(start, 8))[0] for start, _ in pipes]
for pid in pids:
    os.waitpid(pid, 0)
"""


@pytest.fixture
def seen(observe):
    """Seven programs that wait for the lock of one file, on a file system in memory."""
    path = f"/dev/shm/sysdx-test-{os.getpid()}"
    program = workloads.Program("holder", HOLD, path=path, waiters=WAITERS, held=HELD)
    try:
        return observe("contention", load=program.run, top=1000)
    finally:
        Path(path).unlink(missing_ok=True)


def test_each_waiter_is_told_once_with_what_it_waited(seen):
    rows = workloads.of(seen["contention"].tops["process"], comm="waiter", lock="rwsem")
    waited = sorted(seen.told["waited"])
    assert [row["count"] for row in rows] == [1] * WAITERS
    for row, own in zip(sorted(rows, key=lambda r: r["seconds"]), waited, strict=True):
        assert HELD < row["seconds"] < own
    (histogram,) = [h for h in seen["contention"].histograms if h.labels["lock"] == "rwsem"]
    assert sum(b.count for b in histogram.buckets if b.le > HELD) >= WAITERS
    assert histogram.sum > WAITERS * HELD


def test_the_function_that_wanted_the_lock_is_told_and_not_the_locks_own(seen):
    places = workloads.of(seen["contention"].tops["place"], lock="rwsem")
    (place,) = [p for p in places if p["function"].endswith("_write_iter")]
    assert place["count"] == WAITERS
    assert WAITERS * HELD < place["seconds"] < sum(seen.told["waited"])
    # The heaviest is the first; another lock may be fought for on the same way.
    stack, *_ = [
        s
        for s in seen["contention"].stacks
        if s.frames[0] == "waiter" and f"{place['function']}_[k]" in s.frames
    ]
    assert stack.value == pytest.approx(place["seconds"] * 1e6, rel=1e-3)
    assert seen["contention"].stack_unit == "microseconds"


PIPE = """
import struct
pids, (start, end), (results, result) = [], os.pipe(), os.pipe()
began = time.monotonic()

def fight():
    calls = 0
    while time.monotonic() < began + 2.0:
        os.write(end, b"x")
        os.read(start, 1)
        calls += 2
    os.write(result, struct.pack("Q", calls))
    os._exit(0)

for _ in range(fighters):
    pids.append(os.fork())
    if not pids[-1]:
        fight()
for pid in pids:
    os.waitpid(pid, 0)
told["seconds"] = time.monotonic() - began
told["calls"] = sum(struct.unpack("Q", os.read(results, 8))[0] for _ in pids)
"""


@pytest.mark.skipif(os.cpu_count() == 1, reason="one CPU has nobody to fight with")
def test_programs_that_fight_for_one_pipe_wait_for_its_mutex(observe):
    program = workloads.Program("fighter", PIPE, fighters=4)
    seen = observe("contention", load=program.run, top=1000)
    sample = seen["contention"]
    rows = workloads.of(sample.tops["process"], comm="fighter", lock="mutex")
    count, spent = (sum(row[by] for row in rows) for by in ("count", "seconds"))
    # How often they meet depends on who else wants the CPUs; a call waits at most twice.
    assert 0 < count <= 2 * seen.told["calls"]
    assert 0 < spent < 4 * seen.told["seconds"]
    pipe = [p for p in workloads.of(sample.tops["place"], lock="mutex") if "pipe" in p["function"]]
    assert sum(p["count"] for p in pipe) >= 0.9 * count
    # Interrupts take locks as well, also in the midst of a program of the probe.
    assert sample.lost <= sample.events / 1000
