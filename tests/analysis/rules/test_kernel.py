"""Rules on what the whole host shares."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.base import Context
from collectors.cpu import CpuSample
from collectors.interrupts import InterruptsSample
from collectors.limits import LimitsSample
from collectors.limits import collect as collect_limits
from collectors.model import Outcome, Status, Sweep
from collectors.sysctl import SysctlSample

NAMES = ("aio_requests", "file_descriptors", "machine_checks", "packet_steering", "task_capacity")
RULES = {n: discover_rules()[n] for n in NAMES}


def sweep(*samples):
    outcomes = {
        str(n): Outcome(str(n), "kernel", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes)


def facts(*samples, before=None):
    return Facts(sweep(*samples), None if before is None else sweep(before))


def limits(files=100, files_max=1000, tasks=100, threads_max=1000, pid_max=1000, aio=(0, 1000)):
    return LimitsSample(files, files_max, tasks, threads_max, pid_max, 128, 8192, *aio)


def severity(name, known):
    signal = RULES[name].evaluate(known)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


def advice(name, settings, *samples):
    known = facts(*samples, SysctlSample(settings))
    rule = RULES[name]
    return {r.id: r.proposed for r in rule.advise(known, rule.evaluate(known))}


@pytest.mark.parametrize(
    ("files", "expected"), [(690, None), (710, Severity.WARNING), (950, Severity.CRITICAL)]
)
def test_files_are_judged_by_their_limit(files, expected):
    assert severity("file_descriptors", facts(limits(files=files))) is expected


def test_files_without_a_limit_never_run_out_and_unknown_ones_say_nothing():
    assert severity("file_descriptors", facts(limits(10**9, None))) is None
    assert RULES["file_descriptors"].evaluate(facts(limits(files=None))) is None


@pytest.mark.parametrize("bounds", [(1000, 10_000), (10_000, 1000), (None, 1000)])
def test_tasks_are_judged_by_the_nearer_limit(bounds):
    threads_max, pid_max = bounds
    known = facts(limits(tasks=800, threads_max=threads_max, pid_max=pid_max))
    assert severity("task_capacity", known) is Severity.WARNING


def test_tasks_without_a_known_limit_say_nothing():
    known = facts(limits(threads_max=None, pid_max=None))
    assert RULES["task_capacity"].evaluate(known) is None


SETTINGS = {"kernel.pid_max": "32768", "kernel.threads-max": "190000", "fs.file-max": "1000"}


def test_only_the_limit_that_is_near_is_raised():
    pids = limits(tasks=30_000, threads_max=190_000, pid_max=32_768)
    assert advice("task_capacity", SETTINGS, pids) == {"sysctl:kernel.pid_max": "131072"}
    tasks = limits(tasks=180_000, threads_max=190_000, pid_max=4_194_304)
    assert advice("task_capacity", SETTINGS, tasks) == {"sysctl:kernel.threads-max": "380000"}


def test_limits_are_raised_from_what_they_are_and_never_beyond_the_kernels_own():
    assert advice("file_descriptors", SETTINGS, limits(900)) == {"sysctl:fs.file-max": "2000"}
    most = {"kernel.pid_max": "4194304"}
    full = limits(tasks=4_000_000, threads_max=None, pid_max=4_194_304)
    assert advice("task_capacity", most, full) == {}


def test_asynchronous_requests_are_judged_by_their_limit():
    assert severity("aio_requests", facts(limits(aio=(960, 1000)))) is Severity.CRITICAL
    assert severity("aio_requests", facts(limits(aio=(500, 1000)))) is None
    assert RULES["aio_requests"].evaluate(facts(limits(aio=(None, None)))) is None
    raised = advice("aio_requests", {"fs.aio-max-nr": "65536"}, limits(aio=(65000, 65536)))
    assert raised == {"sysctl:fs.aio-max-nr": "1048576"}


def interrupts(share, rate, cpus=8, **fields):
    return InterruptsSample(
        10.0,
        cpus,
        1.0,
        network_receive_share=share,
        network_receive_per_second=rate,
        **fields,
    )


def cpu(*loads):
    return CpuSample(10.0, len(loads), interrupts=dict(enumerate(loads)))


@pytest.mark.parametrize(
    ("share", "rate", "cpus", "load", "expected"),
    [
        (0.95, 50_000, 8, 0.5, Severity.WARNING),
        (0.95, 50_000, 8, 0.1, None),  # one queue, and its CPU has time
        (0.95, 500, 8, 0.5, None),
        (1.0, 50_000, 2, 0.5, None),
        (0.5, 50_000, 8, 0.5, None),
        (None, 50, 8, 0.5, None),
    ],
)
def test_packets_on_one_cpu_count_only_when_it_suffers(share, rate, cpus, load, expected):
    known = facts(interrupts(share, rate, cpus), cpu(0.0, load, None))
    assert severity("packet_steering", known) is expected


def test_packets_say_nothing_when_cpus_or_their_share_is_unknown():
    evaluate = RULES["packet_steering"].evaluate
    assert evaluate(facts(interrupts(0.95, 50_000))) is None
    assert evaluate(facts(interrupts(0.95, 50_000), cpu(None))) is None
    assert evaluate(facts(interrupts(None, 50_000), cpu(0.5))) is None


def test_hardware_errors_count_since_the_sweep_before():
    now = interrupts(None, None, machine_checks=7, machine_checks_increase=0)
    before = interrupts(None, None, machine_checks=5)
    assert RULES["machine_checks"].evaluate(facts(now, before=before)).value == 2
    assert RULES["machine_checks"].evaluate(facts(now)).value == 0
    reset = interrupts(None, None, machine_checks=9)
    assert RULES["machine_checks"].evaluate(facts(now, before=reset)).value == 0
    assert RULES["machine_checks"].evaluate(facts(interrupts(None, None))) is None


def test_the_real_host_is_far_from_its_limits():
    known = facts(collect_limits(Context(duration=0.0)))
    for name in ("aio_requests", "file_descriptors", "task_capacity"):
        assert severity(name, known) is None
