"""Time on CPU against what programs and the scheduler say they ran."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from collectors.bpf.kernel import Kernel
from collectors.bpf.probe import Settings
from collectors.bpf.probes.cpudist import CpudistRecorder
from tests.bpf.untold import nearly


def compete(programs):
    for one in programs:
        one.go()
    return [one.took() for one in programs]


def test_the_stretches_of_a_process_are_its_cpu_time(observe, native):
    programs = [native("burn", 2.0, cpu=0) for _ in range(3)]

    def load():
        before = taken(0)
        told = compete(programs)
        return told[0][1], taken(0) - before

    seen = observe("cpudist", load=load, pid=programs[0].pid)
    (ran,) = seen["cpudist"].histograms
    cpu_seconds, taken_seconds = seen.told
    # A stretch holds what interrupts and the hypervisor took from it; the process's time does not.
    assert 0.97 * cpu_seconds - 0.01 <= ran.sum
    assert ran.sum <= 1.03 * cpu_seconds + taken_seconds + 0.01
    assert ran.count == seen["cpudist"].events == sum(b.count for b in ran.buckets)


def test_who_sleeps_often_runs_shortly(observe, native):
    naps = 997
    program = native("sleep", naps, 200)
    seen = observe("cpudist", load=lambda: compete([program]), pid=program.pid)
    (ran,) = seen["cpudist"].histograms
    # One stretch before each nap, and one more when it was preempted in one.
    assert nearly(naps) <= ran.count <= 1.2 * naps
    assert ran.p50 < 1e-3


def ticks(line):
    """Time of all CPUs (0), or of one (1 and more), by what it was spent on [s]."""
    words = Path("/proc/stat").read_text().splitlines()[line].split()[1:9]
    return [int(word) / 100 for word in words]


def busy():
    """CPU time of all CPUs so far [s]."""
    user, nice, system, _, _, irq, softirq, steal = ticks(0)
    return user + nice + system + irq + softirq + steal


def taken(cpu):
    """Time that interrupts and the hypervisor have taken from a CPU so far [s]."""
    return sum(ticks(1 + cpu)[5:])


def whole(sample):
    return sample.histograms[0].sum + sample.values["unfinished_seconds"]


def test_all_stretches_are_all_that_the_cpus_did(observe, native):
    programs = [native("burn", 2.0, cpu=cpu) for cpu in (0, 0, 1, 1)]

    def load():
        before = busy()
        compete(programs)
        return busy() - before

    seen = observe("cpudist", load=load, settle=0.0)
    assert whole(seen["cpudist"]) == pytest.approx(seen.told, rel=0.1)


def test_idle_time_is_no_stretch(observe):
    def load():
        before = busy()
        time.sleep(2.0)
        return busy() - before

    seen = observe("cpudist", load=load, settle=0.0)
    # Ticks of 10 ms do not count short stretches well.
    assert whole(seen["cpudist"]) == pytest.approx(seen.told, rel=0.1, abs=0.4)


def stretches(*pairs):
    now = time.monotonic_ns()
    per_cpu = [SimpleNamespace(since=now - int(s * 1e9), tid=tid) for tid, s in pairs]
    tables = {"cpudist_now": [(0, per_cpu)]}
    kernel = Kernel(None)
    kernel.counts = lambda name: [0] if name.endswith("_sum") else [0] * 65
    kernel.items = lambda name: tables[name]
    recorder = CpudistRecorder(Settings(own=frozenset({7})))
    return recorder.sample(kernel, 1.0).values


def test_a_program_alone_on_its_cpu_is_unfinished():
    values = stretches((4242, 3.0), (4243, 1.0))
    assert values["unfinished"] == 2
    assert values["unfinished_seconds"] == pytest.approx(4.0, abs=0.5)
    assert values["longest_unfinished_seconds"] == pytest.approx(3.0, abs=0.5)


def test_idle_cpus_and_what_reads_the_maps_are_not_unfinished():
    assert stretches((0, 3.0), (7, 1.0))["unfinished"] == 0


def test_under_a_filter_nothing_is_said_about_unfinished_stretches(observe, native):
    program = native("burn", 0.5)
    seen = observe("cpudist", load=lambda: compete([program]), pid=program.pid)
    assert seen["cpudist"].values == {}
