"""Judging what the kernel reports."""

from __future__ import annotations

import pytest

from analysis.charges import charged
from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import deductions, findings
from collectors.base import Context
from collectors.kernel_log import KernelLogSample, LogMessage, LogSubject, collect
from collectors.kernel_log_classes import CLASSES
from collectors.model import Outcome, Status, Sweep, Unavailable

# Rule to the classes it judges, and what one and many such messages are.
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
JUDGED = {
    "kernel_faults": (("oops", "bug", "soft_lockup", "hard_lockup", "rcu_stall"), CRITICAL, 1),
    "hung_tasks": (("hung_task",), WARNING, 3),
    "kernel_warnings": (("kernel_warning",), WARNING, None),
    "kernel_alarms": (("alarm",), WARNING, None),
    "page_allocation_failures": (("page_allocation_failure",), WARNING, None),
    "files_refused": (("files_exhausted",), CRITICAL, 1),
    "storage_log_errors": (("io_error", "storage_reset", "disk_gone"), WARNING, 50),
    "lost_writes": (("lost_write",), CRITICAL, 1),
    "filesystem_log_errors": (("filesystem_error",), WARNING, 5),
    "memory_uncorrected": (("edac_uncorrected",), CRITICAL, 1),
    "bus_errors": (("pcie_error",), WARNING, 10),
    "gpu_faults": (("gpu_fault",), CRITICAL, 1),
    "network_device_hangs": (("nic_hang",), WARNING, 3),
    "thermal_throttling": (("thermal_throttle",), WARNING, None),
    "syn_flood": (("tcp_syn_flooding",), WARNING, None),
    "tcp_out_of_memory": (("tcp_out_of_memory",), CRITICAL, 1),
    "clocksource_unstable": (("clocksource_unstable",), WARNING, None),
}
RULES = {n: discover_rules()[n] for n in (*JUDGED, "kernel_log_lost")}
# Judged from better counters, or no trouble of the host: there is evidence, and no rule.
EVIDENCE = {
    "oom_kill", "machine_check", "edac_corrected", "memory_error", "gpu_application_fault",
    "conntrack_table_full", "neighbour_overflow",
}  # fmt: skip
CASES = [(rule, error) for rule, (errors, _, _) in JUDGED.items() for error in errors]


def log(subjects=(), messages=(), lost=0, caught_up=True, **counts):
    zero = dict.fromkeys(CLASSES, 0)
    return KernelLogSample(
        zero | counts, zero | counts, {}, {}, tuple(subjects), tuple(messages), 9, lost, lost,
        caught_up=caught_up,
    )  # fmt: skip


def facts(sample):
    outcome = Outcome(
        "kernel_log", "kernel", "quick", False, Status.OK, None, None, 0.0, 1.0, sample
    )
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"kernel_log": outcome}))


def found(sample, *names):
    known = facts(sample)
    signals = [(RULES[n], RULES[n].evaluate(known)) for n in names or RULES]
    return findings([(r, s) for r, s in signals if s is not None])


@pytest.mark.parametrize(("name", "error"), CASES)
def test_each_class_is_judged_by_its_rule_alone_and_at_once(name, error):
    (finding,) = found(log(**{error: 1}))
    assert (finding.rule.id, finding.severity) == (name, JUDGED[name][1])
    assert finding.rule.at_once
    assert finding.signal.value == 1


@pytest.mark.parametrize("name", [n for n, (_, _, many) in JUDGED.items() if many])
def test_many_are_critical(name):
    errors, _, many = JUDGED[name]
    (finding,) = found(log(**{errors[0]: many}))
    assert finding.severity is CRITICAL


def test_what_is_judged_elsewhere_is_only_evidence():
    assert {e for _, e in CASES} | EVIDENCE | {"segfault"} == set(CLASSES)
    assert found(log(**dict.fromkeys(EVIDENCE, 100))) == []


@pytest.mark.parametrize(("crashes", "severity"), [(1, None), (2, WARNING), (20, CRITICAL)])
def test_a_program_that_crashes_again_is_a_finding_and_one_crash_is_not(crashes, severity):
    rule = discover_rules()["program_crashes"]
    signal = rule.evaluate(facts(log([LogSubject("segfault", "java", crashes)], segfault=crashes)))
    assert [f.severity for f in findings([(rule, signal)])] == ([severity] if severity else [])
    assert (signal.culprits[0].kind, signal.culprits[0].name) == ("process", "java")
    assert rule.at_once


def test_only_new_messages_count():
    sample = log()
    old = KernelLogSample(dict.fromkeys(CLASSES, 7), sample.increases, {}, {})
    assert found(old) == []


def test_a_finding_quotes_the_newest_message_and_names_the_device():
    messages = [
        LogMessage(1, 1.0, "io_error", "err", "old", new=False),
        LogMessage(2, 2.0, "io_error", "err", "first", new=True),
        LogMessage(3, 3.0, "segfault", "info", "another", new=True),
        LogMessage(4, 4.0, "disk_gone", "err", "last", new=True),
    ]
    subjects = [LogSubject("io_error", "sdb", 2), LogSubject("segfault", "java", 1)]
    (finding,) = found(log(subjects, messages, io_error=2, disk_gone=1, segfault=1))
    signal = finding.signal
    assert signal.message == "The kernel reported 3 storage errors: last"
    assert [e.text for e in signal.evidence] == ["new storage errors", "first", "last"]
    assert [e.value for e in signal.evidence] == [3, 2.0, 4.0]
    assert [(c.kind, c.name, c.value) for c in signal.culprits] == [("device", "sdb", 2)]
    assert signal.subject == "sdb"


def test_a_floppy_or_a_disc_that_cannot_be_read_is_no_failing_disk():
    subjects = [LogSubject("io_error", "fd0", 2), LogSubject("io_error", "sr0", 9)]
    assert found(log(subjects, io_error=11)) == []
    subjects.append(LogSubject("io_error", "sda", 1))
    (finding,) = found(log(subjects, io_error=12))
    assert (finding.signal.value, finding.signal.subject) == (1, "sda")


def test_where_messages_were_lost_silence_is_unknown_and_a_fault_still_a_fault():
    for sample in (log(lost=3), log(caught_up=False)):
        assert RULES["kernel_faults"].evaluate(facts(sample)) is None
    (lost,) = found(log(lost=3))
    assert (lost.rule.id, lost.severity) == ("kernel_log_lost", WARNING)
    assert {f.rule.id for f in found(log(lost=3, oops=1))} == {"kernel_log_lost", "kernel_faults"}


def test_one_cause_is_charged_once():
    rules = discover_rules()
    shared = {
        "storage_log_errors": "disk_errors",
        "filesystem_log_errors": "filesystem_errors",
        "memory_uncorrected": "memory_corrupted",
        "hung_tasks": "blocked_tasks",
        "files_refused": "file_descriptors",
        "gpu_faults": "gpu_lost",
    }
    assert [rules[a].cause for a in shared] == [rules[b].cause for b in shared.values()]
    charges = deductions(charged(found(log(oops=1, kernel_warning=1, alarm=5)), {}))
    assert [(d.cause, d.rule) for d in charges] == [("kernel_fault", "kernel_faults")]


def test_an_oops_alone_leaves_the_healthy_band():
    (charge,) = deductions(found(log(oops=1)))
    assert charge.points >= 25


def test_this_hosts_old_messages_are_no_finding():
    try:
        sample = collect(Context(duration=0.0))
    except Unavailable as answer:
        pytest.skip(str(answer))
    assert sum(sample.totals.values()) >= 0
    assert found(sample, "kernel_faults", "storage_log_errors", "lost_writes") == []
