"""Rules on what further eBPF probes see."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.bpf.model import ProbeSample, histogram
from collectors.cpu import CpuSample
from collectors.model import Outcome, Status, Sweep

NAMES = {
    "fsync_latency": "fsync", "fsync_errors": "fsync", "block_errors": "blockerrors",
    "lock_contention": "contention", "compaction_latency": "compaction",
    "softirq_latency": "softirqs", "interrupt_latency": "hardirqs",
}  # fmt: skip
RULES = {n: discover_rules()[n] for n in NAMES}
W, C = Severity.WARNING, Severity.CRITICAL
MS = 20  # slot of a millisecond: values from 0.5 to 1 ms
DELAY = "sysdx_softirq_delay_seconds"


def facts(*samples, **probes):
    parts = dict(enumerate(samples)) | probes
    outcomes = {
        str(n): Outcome(str(n), "x", "deep", False, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in parts.items()
    }
    return Facts(Sweep("deep", 0.0, 0.0, 60.0, 60.0, outcomes=outcomes))


def seen(probe, *spreads, family="x", total=0, **parts):
    found = tuple(histogram(family, slots, total, labels=labels) for slots, labels in spreads)
    return ProbeSample(probe, 60.0, 9, histograms=found, **parts)


def severity(name, *samples, **probes):
    signal = RULES[name].evaluate(facts(*samples, **probes))
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


def waiter(seconds=9.0):
    return {"comm": "db", "pid": 7, "count": 3, "seconds": seconds, "max_seconds": 4.0}


@pytest.mark.parametrize("name", NAMES)
def test_each_rests_on_its_probe_and_knows_nothing_without_it(name):
    assert RULES[name].probe == NAMES[name]
    assert RULES[name].evaluate(facts()) is None
    assert RULES[name].at_once


@pytest.mark.parametrize(
    ("name", "labels", "family", "quiet", "warned", "worst", "least"),
    [
        ("fsync_latency", {"operation": "fsync"}, "x", MS + 5, MS + 9, MS + 12, 100),
        ("compaction_latency", {"by": "task"}, "x", MS + 2, MS + 5, MS + 8, 10),
        ("softirq_latency", {"vector": "NET_RX"}, DELAY, MS + 2, MS + 5, MS + 7, 1000),
        ("interrupt_latency", {"irq": "nvme0q1"}, "x", MS - 2, MS + 2, MS + 5, 100),
    ],
)
def test_the_slowest_hundredth_is_judged_when_there_are_enough(
    name, labels, family, quiet, warned, worst, least
):
    for slot, expected in ((quiet, None), (warned, W), (worst, C)):
        sample = seen(NAMES[name], ({slot: least}, labels), family=family)
        assert severity(name, **{NAMES[name]: sample}) is expected, slot
    few = seen(NAMES[name], ({worst: least - 1}, labels), family=family)
    assert severity(name, **{NAMES[name]: few}) is None


@pytest.mark.parametrize(
    ("name", "label", "kinds"),
    [
        ("fsync_latency", "operation", ("msync", "fdatasync", "fsync")),
        ("interrupt_latency", "irq", ("eth0", "nvme0q1", "ahci")),
    ],
)
def test_of_several_kinds_the_slowest_is_told(name, label, kinds):
    slots = (MS + 8, MS + 12, MS + 10)
    spreads = [({s: 200}, {label: kind}) for s, kind in zip(slots, kinds, strict=True)]
    signal = RULES[name].evaluate(facts(**{NAMES[name]: seen(NAMES[name], *spreads)}))
    assert kinds[1] in signal.message
    assert signal.value > 2


def test_who_waited_longest_is_named_with_its_share():
    spread = histogram("x", {MS + 9: 200}, 18e9, labels={"operation": "fdatasync"})
    sample = ProbeSample("fsync", 60.0, 9, histograms=(spread,), tops={"process": (waiter(),)})
    signal = RULES["fsync_latency"].evaluate(facts(fsync=sample))
    (culprit,) = signal.culprits
    assert (culprit.name, culprit.id, culprit.value, culprit.share) == ("db", "7", 9.0, 0.5)
    assert "fdatasync" in signal.message


def errors(*rows):
    return {
        "error": tuple(dict(zip(("operation", "error", "count"), r, strict=True)) for r in rows)
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [((), None), ([("fsync", "ENOSPC", 9)], None), ([("fsync", "EIO", 1)], C)],
)
def test_data_that_did_not_reach_the_disk_is_critical_and_a_full_disk_is_told_elsewhere(
    rows, expected
):
    assert severity("fsync_errors", fsync=seen("fsync", tops=errors(*rows))) is expected


def request(device, error, count):
    return {"device": device, "operation": "read", "error": error, "count": count}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((), None),
        ([request("sda", "EOPNOTSUPP", 9)], None),
        ([request("sr0", "EIO", 9)], None),
        ([request("sda", "EIO", 1)], W),
        ([request("sda", "EIO", 60)], C),
    ],
)
def test_failed_requests_count_where_they_mean_harm(rows, expected):
    known = seen("blockerrors", tops={"error": tuple(rows)})
    assert severity("block_errors", blockerrors=known) is expected


def test_the_disk_that_fails_is_named():
    rows = (request("sdb", "EIO", 3), request("sda", "ETIMEDOUT", 1))
    signal = RULES["block_errors"].evaluate(facts(blockerrors=seen("x", tops={"error": rows})))
    assert [(c.kind, c.name, c.share) for c in signal.culprits] == [
        ("device", "sdb", 0.75), ("device", "sda", 0.25),
    ]  # fmt: skip


def cpus(online):
    cpu = CpuSample.__new__(CpuSample)
    object.__setattr__(cpu, "online", online)
    return cpu


@pytest.mark.parametrize(
    ("tasks", "online", "waits", "expected"),
    [
        (0.3, 2, 5000, None),
        (0.6, 2, 5000, W),
        (3.0, 2, 5000, C),
        (3.0, 64, 5000, None),
        (3.0, 2, 900, None),
    ],
)
def test_waiting_for_locks_counts_in_tasks_for_each_cpu(tasks, online, waits, expected):
    spread = ({MS: waits}, {"lock": "mutex"})
    sample = seen("contention", spread, total=tasks * 60e9)
    assert severity("lock_contention", cpus(online), contention=sample) is expected


def test_the_function_that_wants_the_lock_and_the_process_are_named():
    place = {"function": "mmap_write", "lock": "rwsem", "count": 9, "seconds": 100.0}
    tops = {"place": (place,), "process": (waiter(60.0),)}
    sample = seen("contention", ({MS: 5000}, {"lock": "rwsem"}), total=120e9, tops=tops)
    signal = RULES["lock_contention"].evaluate(facts(cpus(2), contention=sample))
    assert (signal.subject, signal.culprits[0].name) == ("mmap_write", "db")
    assert "mmap_write for a rwsem" in signal.message


def test_what_runs_by_itself_keeps_nobody_waiting():
    daemon = seen("compaction", ({MS + 9: 500}, {"by": "daemon"}))
    assert severity("compaction_latency", compaction=daemon) is None
    late = seen("softirqs", ({MS + 9: 5000}, {"vector": "RCU"}), family=DELAY)
    assert severity("softirq_latency", softirqs=late) is None


def test_a_kernel_that_does_not_tell_when_softirqs_are_raised_does_not_tell_their_wait():
    sample = seen(
        "softirqs", ({MS + 9: 5000}, {"vector": "NET_RX"}), family="sysdx_softirq_seconds"
    )
    assert RULES["softirq_latency"].evaluate(facts(softirqs=sample)) is None
