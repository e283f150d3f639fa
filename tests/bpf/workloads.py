"""Loads of known size, each in a program of its own: what this process does is not told of."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

PROLOGUE = """
import ctypes, json, mmap, os, random, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(15, NAME.encode(), 0, 0, 0)  # PR_SET_NAME
libc.mlockall(1)  # MCL_CURRENT: its own code is there, and no page of it is read later
told = {}
sys.stdin.readline()
"""


class Program:
    """
    A Python program under a name of its own, which waits for a word before it begins.

    The code may put into `told` what the test is to know.
    """

    def __init__(self, name, code, **constants):
        lines = "".join(f"{k} = {v!r}\n" for k, v in constants.items())
        text = f"NAME = {name!r}\n{PROLOGUE}{lines}{textwrap.dedent(code)}\nprint(json.dumps(told))"
        self._process = subprocess.Popen(
            [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def run(self):
        """Let it begin, wait until it has ended, and return what it told."""
        said, _ = self._process.communicate("begin\n", timeout=120)
        assert self._process.returncode == 0
        return json.loads(said)

    def end(self):
        """End it, if it still waits for its word."""
        self._process.kill()
        self._process.communicate()


def run(name, code, **constants):
    return Program(name, code, **constants).run()


READ_DIRECTLY = """
block = mmap.mmap(-1, size)
handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
began = time.monotonic()
for number in range(times):
    os.preadv(handle, [block], size * number)
told["seconds"] = time.monotonic() - began
"""


@contextlib.contextmanager
def loop_device(image, size=16 << 20):
    """A block device that nobody else uses; gives its path."""
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(size)
    command = ["losetup", "--find", "--show", image]
    device = subprocess.check_output(command, text=True).strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
        # What was mounted from it may still be so in the mount namespace of a worker that ends.
        deadline = time.monotonic() + 30
        while subprocess.check_output(["losetup", "--associated", image]):
            assert time.monotonic() < deadline, f"{device} is still in use"
            time.sleep(0.1)


@contextlib.contextmanager
def small_tmpfs(place, size):
    """A file system that is soon full."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def diskstats(device):
    """What the kernel has counted: Documentation/admin-guide/iostats.rst."""
    name = Path(device).name
    for line in Path("/proc/diskstats").read_text().splitlines():
        words = line.split()
        if words[2] == name:
            read, _, read_sectors, _, write, _, write_sectors = map(int, words[3:10])
            return {
                "read": read,
                "read_bytes": read_sectors * 512,
                "write": write,
                "write_bytes": write_sectors * 512,
            }
    raise AssertionError(f"{name} is not in diskstats")


def vmstat():
    lines = Path("/proc/vmstat").read_text().splitlines()
    return {words[0]: int(words[1]) for words in map(str.split, lines)}


def of(rows, **wanted):
    """The rows that have these values."""
    return [row for row in rows if all(row.get(k) == v for k, v in wanted.items())]
