"""Rules and use of the disks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.model import Facts
from analysis.registry import discover_rules
from analysis.rules.disk import disk_latency, disk_queue, disk_utilization, io_pressure, io_stall
from analysis.rules.disk_health import (
    disk_errors,
    disk_stalled,
    disk_state,
    disk_timeouts,
    md_degraded,
)
from analysis.score import findings
from analysis.use.disk import disk as use
from collectors.cpu import CpuSample
from collectors.disk import Disk, DiskSample, Operation
from collectors.disk_device import Array, Device
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.pressure import PressureSample, Stall

SPINNING = Device("scsi", in_sums=True, rotational=True, nr_requests=64, queues=1)
FLASH = replace(SPINNING, rotational=False)
VIRTIO = replace(SPINNING, kind="virtio", nr_requests=256)
NVME = replace(FLASH, kind="nvme", nr_requests=1023, queues=8)


def sweep(*samples):
    outcomes = {
        str(n): Outcome(str(n), "disk", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes)


def facts(*disks, extra=()):
    return Facts(sweep(DiskSample(10.0, tuple(disks)), *extra))


def load(name="sda", device=SPINNING, *, queue=0.0, busy=0.0, **operations):
    return Disk(
        name,
        device,
        read=operations.get("read", Operation(0.0, 0.0, 0.0, None)),
        write=operations.get("write", Operation(0.0, 0.0, 0.0, None)),
        flush=operations.get("flush", Operation(0.0)),
        queue_length=queue,
        utilization=Distribution(busy, busy, (busy,)),
        stalled_seconds=operations.get("stalled", 0.0),
        errors=operations.get("errors", {}),
        errors_increase=operations.get("increase", {}),
    )


def requests(rate, latency, size=4096):
    return Operation(rate, rate * size, 0.0, latency)


def stalls(some, full, blocked):
    io = Stall(Distribution(some, some), Distribution(full, full))
    cpu = CpuSample.__new__(CpuSample)
    object.__setattr__(cpu, "blocked", Distribution(blocked, blocked))
    return PressureSample(10.0, None, None, io, None), cpu


def fires(rule, known):
    signal = rule(known)
    return bool(findings([(discover_rules()[rule.__name__], signal)]))


@pytest.mark.parametrize(
    ("device", "latency", "expected"),
    [
        (SPINNING, 0.015, False),
        (SPINNING, 0.080, True),
        (FLASH, 0.015, True),
        (NVME, 0.004, False),
        (NVME, 0.006, True),
        (VIRTIO, 0.015, False),
        (VIRTIO, 0.030, True),
    ],
)
def test_latency_is_judged_by_the_kind_of_the_disk(device, latency, expected):
    assert fires(disk_latency, facts(load(device=device, read=requests(50, latency)))) is expected


def test_one_slow_request_is_no_finding():
    assert not fires(disk_latency, facts(load(read=requests(0.1, 5.0), write=requests(9, 5.0))))


def test_a_stream_of_large_writes_is_no_latency_finding():
    assert not fires(disk_latency, facts(load(write=requests(500, 0.9, 1 << 20))))


def test_flushes_may_take_longer_but_not_for_ever():
    assert not fires(disk_latency, facts(load(device=VIRTIO, flush=Operation(5.0, latency=0.09))))
    slow = disk_latency(facts(load(device=VIRTIO, flush=Operation(5.0, latency=0.3))))
    assert slow is not None
    assert slow.value == pytest.approx(3)
    assert slow.message == (
        "Flushes on sda took 300 ms on average over 5/s; ordinary for a virtual disk is up to "
        "100 ms"
    )


def test_a_disk_that_only_holds_others_is_not_judged():
    stacked = Device("dm", in_sums=False)
    assert not fires(disk_latency, facts(load(), load("dm-0", stacked, read=requests(50, 9.0))))


def test_a_full_queue_counts_only_on_a_busy_disk_and_by_all_its_slots():
    assert fires(disk_queue, facts(load(queue=40, busy=1.0)))
    assert not fires(disk_queue, facts(load(queue=40, busy=0.5)))
    assert not fires(disk_queue, facts(load(device=NVME, queue=400, busy=1.0)))


@pytest.mark.parametrize(
    ("device", "queue", "expected"),
    [(SPINNING, 1.0, False), (SPINNING, 3.0, True), (NVME, 3.0, False), (NVME, 20.0, True)],
)
def test_a_busy_disk_is_a_finding_only_with_a_queue(device, queue, expected):
    assert fires(disk_utilization, facts(load(device=device, busy=1.0, queue=queue))) is expected


def test_a_queue_that_is_unknown_is_not_taken_for_empty():
    assert disk_utilization(facts(load(busy=1.0, queue=None))) is None
    known = facts(load(busy=1.0, queue=None), load("sdb", busy=0.3, queue=0.1))
    assert disk_utilization(known).culprits[0].name == "sdb"


def test_the_busiest_disk_with_a_queue_is_named():
    known = facts(load("sda", busy=1.0, queue=1), load("sdb", busy=0.97, queue=5))
    signal = disk_utilization(known)
    assert signal is not None
    assert (signal.subject, signal.value) == ("sdb", 0.97)


def test_pressure_of_a_single_job_is_no_finding():
    alone, several = stalls(0.95, 0.9, 1.0), stalls(0.95, 0.9, 4.0)
    for rule in (io_pressure, io_stall):
        assert not fires(rule, facts(load(), extra=alone))
        assert fires(rule, facts(load(), extra=several))


def test_pressure_names_the_busiest_disk():
    signal = io_pressure(facts(load(), load("sdb", busy=0.9), extra=stalls(0.9, 0.2, 3.0)))
    assert signal is not None
    assert [c.name for c in signal.culprits] == ["sdb"]


@pytest.mark.parametrize(
    ("device", "scheduler", "proposed"),
    [
        (SPINNING, "none", "mq-deadline"),
        (SPINNING, "bfq", None),
        (SPINNING, "mq-deadline", None),
        (FLASH, "bfq", "mq-deadline"),
        (FLASH, "none", None),
        (NVME, "bfq", "none"),
        (VIRTIO, "none", None),
        (VIRTIO, "bfq", None),
        (replace(SPINNING, model="QEMU HARDDISK"), "none", None),
    ],
)
def test_a_scheduler_is_advised_only_where_it_fits_the_disk(device, scheduler, proposed):
    device = replace(device, scheduler=scheduler, schedulers=("none", "mq-deadline", "bfq"))
    known = facts(load(device=device, read=requests(90, 1.0)))
    rule, signal = discover_rules()["disk_latency"], disk_latency(known)
    advice = {a.proposed for a in rule.advise(known, signal) if a.kind == "tune"}
    assert advice == ({proposed} if proposed else set())


def test_a_scheduler_this_kernel_does_not_have_is_not_advised():
    device = replace(SPINNING, scheduler="none", schedulers=("none",))
    known = facts(load(device=device, read=requests(90, 1.0)))
    assert list(discover_rules()["disk_latency"].advise(known, disk_latency(known))) == []


def test_errors_count_only_in_the_window_and_are_unknown_without_a_counter():
    assert disk_errors(facts(load(device=VIRTIO, increase={"command": None}))) is None
    old = load(errors={"command": 31}, increase={"command": 0})
    assert not fires(disk_errors, facts(old))
    assert fires(disk_errors, facts(old, load("sdb", increase={"command": 2})))
    assert fires(disk_timeouts, facts(load(increase={"timeout": 1})))


def test_a_disk_that_completes_nothing_is_found():
    assert not fires(disk_stalled, facts(load(stalled=2.0)))
    signal = disk_stalled(facts(load(), load("sdb", stalled=6.0)))
    assert signal is not None
    assert (signal.value, signal.subject) == (6.0, "sdb")


@pytest.mark.parametrize(
    ("state", "value"), [("running", 0), ("live", 0), ("resetting", 1), ("offline", 2)]
)
def test_the_drivers_word_is_taken(state, value):
    signal = disk_state(facts(load(device=replace(SPINNING, state=state))))
    assert signal is not None
    assert signal.value == value


@pytest.mark.parametrize(
    ("level", "disks", "degraded", "value"),
    [
        ("raid1", 2, 0, 0),
        ("raid1", 2, 1, 1),
        ("raid1", 3, 1, 0.5),
        ("raid6", 6, 1, 0.5),
        ("raid6", 6, 2, 1),
        ("raid5", 4, 1, 1),
        ("raid10", 4, 2, 1),
        ("raid0", 2, None, None),
    ],
)
def test_an_array_is_judged_by_the_redundancy_it_lost(level, disks, degraded, value):
    device = Device("md", in_sums=False, array=Array(level, disks, degraded, "idle"))
    signal = md_degraded(facts(load("md0", device)))
    assert (None if signal is None else signal.value) == value


def test_use_is_that_of_the_busiest_disk_and_errors_are_there_before_they_happen():
    told = use(facts(load(busy=0.2, queue=1), load("sdb", busy=0.7, queue=2, increase={})))
    assert told is not None
    assert (told.utilization.mean, told.queue_length) == (0.7, 3)
    assert set(told.errors) == set(told.devices["sda"].errors) == {"command", "timeout"}
    assert told.errors["command"].total is None


def test_use_is_bounded():
    told = use(facts(*(load(f"sd{n}", busy=n / 1000) for n in range(200))))
    assert told is not None
    assert len(told.devices) == 64
    assert "sd199" in told.devices
