"""Whoever else watches the same tracepoints goes on seeing them while probes are attached."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess

import pytest

_NUMBERS = {"x86_64": 298, "aarch64": 241}  # of perf_event_open
_TRACEPOINT, _SIZE = 2, 112  # PERF_TYPE_TRACEPOINT, PERF_ATTR_SIZE_VER5
_EVENTS = "/sys/kernel/tracing/events"
_READ = f"""
test -e {_EVENTS} || mount -t tracefs none /sys/kernel/tracing
cat {_EVENTS}/$0/id
"""


class Counter:
    """A count of a tracepoint on all CPUs, as perf keeps it."""

    def __init__(self, event):
        told = subprocess.run(
            ["unshare", "--mount", "sh", "-c", _READ, event], check=True, capture_output=True
        )
        attributes = struct.pack("=IIQ", _TRACEPOINT, _SIZE, int(told.stdout)).ljust(_SIZE, b"\0")
        call, number = ctypes.CDLL(None, use_errno=True).syscall, _NUMBERS[platform.machine()]
        self.files = [
            call(number, ctypes.c_char_p(attributes), -1, cpu, -1, 0)
            for cpu in range(os.cpu_count())
        ]
        assert min(self.files) >= 0, os.strerror(ctypes.get_errno())

    def read(self):
        return sum(struct.unpack("=Q", os.read(file, 8))[0] for file in self.files)

    def close(self):
        for file in self.files:
            os.close(file)


@pytest.mark.parametrize("options", [{}, {"pid": 1}])
@pytest.mark.parametrize(
    ("probe", "event"),
    [("execsnoop", "sched/sched_process_exec"), ("runqlat", "sched/sched_wakeup_new")],
)
def test_perf_counts_as_many_with_a_probe_beside_it(observe, probe, event, options):
    # What a filter leaves out takes another way out of the program.
    counter = Counter(event)

    def load():
        before = counter.read()
        for _ in range(53):
            subprocess.run(["/bin/true"], check=True)
        return counter.read() - before

    try:
        assert observe(probe, load=load, **options).told >= 53
    finally:
        counter.close()
