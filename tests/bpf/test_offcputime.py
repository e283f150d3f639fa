"""Off-CPU time against a program that sleeps a known number of times."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.bpf.untold import nearly

NAPS, MICROSECONDS = 53, 20_000


def status(pid):
    return Path(f"/proc/{pid}/status").read_text()


def sleeps(pid):
    """How often the kernel says that a task gave up its CPU by itself."""
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status(pid), re.MULTILINE)[1])


@pytest.fixture
def slept(observe, native):
    """Watch a sleeper; by its pid alone when `only` is set."""

    def run(*, only):
        program = native("sleep", NAPS, MICROSECONDS)

        def load():
            before = sleeps(program.pid)
            program.go()
            told = program.took()
            while "S (sleeping)" not in status(program.pid):
                time.sleep(0.01)
            run.slept = sleeps(program.pid) - before
            return told

        options = {"pid": program.pid} if only else {}
        seen = observe("offcputime", load=load, **options)
        seen.pid = program.pid
        seen.sleeps = run.slept
        return seen

    return run


def of(seen, function):
    return sum(s.value for s in seen["offcputime"].stacks if function in s.frames)


def test_a_sleeper_owns_its_sleep_by_function(slept):
    seen = slept(only=False)
    wall, _ = seen.told
    assert nearly(NAPS) * MICROSECONDS <= of(seen, "sleeps_here") <= wall * 1e6
    (stack,) = [s for s in seen["offcputime"].stacks if "sleeps_here" in s.frames]
    assert stack.frames[0] == "native"
    assert stack.frames.index("main") < stack.frames.index("sleeps_here")
    assert any(frame.endswith("_[k]") and "nanosleep" in frame for frame in stack.frames)
    assert stack.frames[-1].endswith("_[k]")


def test_each_sleep_counts_once(slept):
    seen = slept(only=True)
    (spread,) = seen["offcputime"].histograms
    # The last one, for standard input, goes on. One whose end was not told is lost.
    assert spread.count + seen["offcputime"].lost == seen.sleeps - 1
    assert nearly(NAPS) <= spread.count <= NAPS
    assert spread.sum >= spread.count * MICROSECONDS * 0.9e-6


def test_a_sleep_that_goes_on_counts_up_to_the_end(slept):
    seen = slept(only=True)["offcputime"]
    # It waits for its standard input, from its last nap on: the window stays open for 0.3 s.
    assert seen.values["unfinished"] == 1
    waits = sum(s.value for s in seen.stacks if "sleeps_here" not in s.frames)
    assert 0.25e6 <= waits <= (seen.window_seconds - NAPS * MICROSECONDS * 1e-6) * 1e6


def test_a_filter_leaves_only_that_process(slept):
    seen = slept(only=True)
    assert [row["pid"] for row in seen["offcputime"].tops["processes"]] == [seen.pid]
    assert {s.frames[0] for s in seen["offcputime"].stacks} == {"native"}


def test_processes_that_end_and_the_idle_task_do_not_sleep(observe, native):
    seen = observe("offcputime", load=lambda: [native("sleep", 1, 1).end() for _ in range(7)])
    stacks = [s.frames for s in seen["offcputime"].stacks]
    assert not [s for s in stacks if s[0] == "native" and "do_task_dead_[k]" in s]
    assert not [s for s in stacks if s[0].startswith("swapper")]


def test_a_burner_is_not_asleep(observe, native):
    rivals = [native("burn", 1.0, cpu=0) for _ in range(3)]

    def load():
        for one in rivals:
            one.go()
        return [one.took() for one in rivals]

    seen = observe("offcputime", load=load, settle=0.0, pid=rivals[0].pid)
    assert of(seen, "burns_seven") == of(seen, "burns_three") == 0


@pytest.fixture
def copiers():
    """Let three programs compete for a CPU within the kernel, where they give way often."""
    copy = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    copy += ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "status=none"]
    programs = [subprocess.Popen(copy) for _ in range(3)]
    yield programs
    for one in programs:
        one.kill()
        one.wait()


def test_a_task_that_is_preempted_in_the_kernel_is_not_asleep(observe, copiers):
    seen = observe("offcputime", load=lambda: time.sleep(1.5), pid=copiers[0].pid)
    assert seen["offcputime"].events == 0
