"""The CPU profile against programs that know what they burn."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from collectors.bpf.probes.profile import FREQUENCY


def burned(seen, pid):
    """Samples of a process."""
    (row,) = [r for r in seen["profile"].tops["processes"] if r["pid"] == pid]
    return row["samples"]


def of(seen, function):
    return sum(s.value for s in seen["profile"].stacks if function in s.frames)


def test_functions_own_their_share(observe, native):
    program = native("work", 2.5, cpu=1)

    def load():
        program.go()
        return program.took()

    seen = observe("profile", load=load)
    seven, three = of(seen, "burns_seven"), of(seen, "burns_three")
    # 4 standard deviations of 100 samples and more
    assert 0.5 < seven / (seven + three) < 0.9
    assert seven + three >= 0.9 * burned(seen, program.pid)


def test_samples_agree_with_the_cpu_time_of_the_process(observe, native):
    program = native("work", 2.5, cpu=1)

    def load():
        program.go()
        return program.took()

    seen = observe("profile", load=load)
    _, cpu_seconds = seen.told
    expected = FREQUENCY * cpu_seconds
    # Next to others it is chance whether a sample hits it: 4 standard deviations.
    assert burned(seen, program.pid) == pytest.approx(expected, abs=4 * math.sqrt(expected))


def test_all_stacks_are_all_samples_and_idle_cpus_give_none(observe, native):
    program = native("burn", 1.0)

    def load():
        program.go()
        return program.took()

    seen = observe("profile", load=load)["profile"]
    assert sum(s.value for s in seen.stacks) == seen.values["samples"] == seen.events
    assert not [s for s in seen.stacks if s.frames[0].startswith("swapper")]
    assert [s.value for s in seen.stacks] == sorted((s.value for s in seen.stacks), reverse=True)


def test_a_filter_leaves_only_that_process(observe, native):
    wanted, other = native("burn", 2.0, cpu=0), native("burn", 2.0, cpu=1)

    def load():
        wanted.go()
        other.go()
        other.took()
        return wanted.took()

    seen = observe("profile", load=load, pid=wanted.pid)["profile"]
    assert [row["pid"] for row in seen.tops["processes"]] == [wanted.pid]
    assert {s.frames[0] for s in seen.stacks} == {"native"}
    assert seen.values["cpu_seconds"] <= 2.2


_THREAD = """
import threading, time
def burn():
    open(f"/proc/self/task/{threading.get_native_id()}/comm", "w").write("other-name")
    end = time.thread_time() + 1.0
    while time.thread_time() < end: pass
thread = threading.Thread(target=burn)
thread.start()
thread.join()
"""


def test_a_thread_is_charged_to_its_process(observe):
    def load():
        with subprocess.Popen([sys.executable, "-c", _THREAD]) as program:
            pass
        return program.pid

    seen = observe("profile", load=load)
    (row,) = [r for r in seen["profile"].tops["processes"] if r["pid"] == seen.told]
    assert row["comm"] != "other-name"
    assert row["samples"] >= 0.7 * FREQUENCY
