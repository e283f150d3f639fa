"""What eBPF objects the kernel holds, asked of the kernel itself."""

from __future__ import annotations

import ctypes
import platform
import time

_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]  # the system call's number
_NEXT_ID = {"programs": 11, "maps": 12}  # BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID


class _Attributes(ctypes.Structure):
    _fields_ = (("start", ctypes.c_uint32), ("next", ctypes.c_uint32), ("flags", ctypes.c_uint32))


def ids(kind):
    """The ids of all loaded "programs" or "maps"."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes, found = _Attributes(), set()
    while (
        libc.syscall(_BPF, _NEXT_ID[kind], ctypes.byref(attributes), ctypes.sizeof(attributes)) == 0
    ):
        found.add(attributes.next)
        attributes.start = attributes.next
    return found


def held():
    return ids("programs"), ids("maps")


def left_over(before, seconds=30.0):
    """What is there that was not before; the kernel may take seconds to detach."""
    deadline = time.monotonic() + seconds
    while True:
        more = [now - old for now, old in zip(held(), before, strict=True)]
        if not any(more) or time.monotonic() > deadline:
            return more
        time.sleep(0.1)
