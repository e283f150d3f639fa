"""Victims of the OOM killer: one that is made on purpose, in a control group of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import time
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("programs", Path(__file__).parent / "programs.py")
programs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(programs)

LIMIT = 24 << 20  # [bytes]
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def settings(folder):
    """Names of the limits, of either version; those of swap need not be there."""
    if folder.parent == V1:
        limits = ("memory.limit_in_bytes", LIMIT), ("memory.memsw.limit_in_bytes", LIMIT)
    else:
        limits = ("memory.max", LIMIT), ("memory.swap.max", 0)
    return [(folder / name, value) for name, value in limits if (folder / name).exists()]


@pytest.fixture
def group():
    """Make a memory control group that allows 24 MiB."""
    root = V1 if V1.is_dir() else V2
    folder = root / f"oomkill-test-{os.getpid()}"
    if root == V2 and "memory" not in (V2 / "cgroup.controllers").read_text().split():
        pytest.skip("no memory control group here")
    if root == V2:
        (V2 / "cgroup.subtree_control").write_text("+memory")
    folder.mkdir()
    for file, value in settings(folder):
        file.write_text(str(value))
    yield folder
    for _ in range(100):
        try:
            return folder.rmdir()
        except OSError:
            time.sleep(0.1)


KINDS = {"virtual": "total-vm", "anonymous": "anon-rss", "file": "file-rss", "shared": "shmem-rss"}


def messages():
    """The kernel's log, from its beginning."""
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            with contextlib.suppress(BrokenPipeError):  # it was overwritten in the meantime
                yield os.read(log, 8192).decode()
    except BlockingIOError:
        return
    finally:
        os.close(log)


def in_the_log(pid):
    """What the kernel wrote of the newest victim that had this id [bytes]."""
    line = [m for m in messages() if f"Killed process {pid} " in m][-1]
    return {name: int(re.search(rf"{word}:(\d+)kB", line)[1]) << 10 for name, word in KINDS.items()}


def kills(folder):
    name = "memory.oom_control" if folder.parent == V1 else "memory.events"
    lines = dict(line.split() for line in (folder / name).read_text().splitlines())
    return int(lines["oom_kill"])


def test_a_victim_is_told_once_with_its_id_and_its_memory(observe, group):
    code = f'''
import subprocess
hog = """
open("/proc/self/oom_score_adj", "w").write("7")
open("{group / "cgroup.procs"}", "w").write("0")
x = bytearray(1 << 28)
"""
child = subprocess.Popen([sys.executable, "-S", "-c", hog])
print(child.pid, child.wait())
'''
    with programs.Program(code) as one:
        result = observe("oomkill", load=one.work)
    seen, (pid, ended) = result["oomkill"], map(int, result.told[0].split())
    assert ended == -9
    assert kills(group) == 1
    (victim,) = [r for r in seen.records if r["pid"] == pid]
    assert (seen.events, seen.lost, seen.records_of) == (1, 0, 1)
    assert victim["trigger_pid"] == pid
    # An old kernel's event has no name, and the victim may be gone before it is looked up.
    assert victim["comm"] in (victim["trigger"], None)
    assert victim["trigger"].startswith("python")
    if victim["anonymous_bytes"] is not None:
        assert {name: victim[f"{name}_bytes"] for name in KINDS} == in_the_log(pid)
        assert victim["oom_score_adj"] == 7
    assert seen.tops["victim"][0]["count"] == 1
