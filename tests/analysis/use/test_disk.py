"""Use of the disks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.model import Facts
from analysis.use.disk import MOST_DEVICES, disk, slots
from analysis.use_model import ErrorCount
from collectors.base import Context
from collectors.disk import Disk, DiskSample, collect
from collectors.disk_device import Device
from collectors.model import UNKNOWN, Distribution, Outcome, Status, Sweep, Unavailable
from collectors.pressure import PressureSample, Stall

PLAIN = Device("scsi", in_sums=True, nr_requests=100, queues=1)


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "disk", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def one(name="sda", busy=0.5, queue=1.0, device=PLAIN, **fields):
    spread = UNKNOWN if busy is None else Distribution(busy, busy)
    return Disk(name, device, utilization=spread, queue_length=queue, **fields)


def use(*disks, extra=()):
    return disk(facts(DiskSample(10.0, disks), *extra))


def test_the_busiest_disk_stands_for_all_and_queues_add_up():
    told = use(one(busy=0.2, queue=1), one("sdb", 0.8, 3), one("sdc", None, None))
    assert (told.utilization.mean, told.queue_length) == (0.8, 4)
    assert told.devices["sdc"].utilization == UNKNOWN


def test_what_stands_on_other_disks_is_shown_but_not_added():
    stacked = replace(PLAIN, kind="dm", in_sums=False)
    told = use(one(), one("dm-0", 0.9, 9, stacked, errors={"command": 7}))
    assert (told.utilization.mean, told.queue_length) == (0.5, 1)
    assert told.errors["command"] == ErrorCount(None, None)
    assert told.devices["dm-0"].errors["command"].total == 7


def test_unknown_is_not_nothing():
    told = use(one(busy=None, queue=None))
    assert (told.utilization, told.queue_length) == (UNKNOWN, None)
    assert told.saturation == {"slots": None}
    assert told.pressure == {"some": None, "full": None}
    assert use().queue_length is None


def test_errors_of_all_disks_add_up_and_those_without_a_counter_do_not_count():
    counted = {"errors": {"command": 3}, "errors_increase": {"command": 1}}
    told = use(one(**counted), one("sdb", **counted), one("sdc", errors={"command": None}))
    assert told.errors == {"command": ErrorCount(6, 2), "timeout": ErrorCount(None, None)}


@pytest.mark.parametrize(
    ("queue", "requests", "queues", "expected"),
    [(50, 100, 1, 0.5), (50, 100, 4, 0.125), (50, 100, None, 0.5), (50, None, 1, None),
     (None, 100, 1, None), (0.0, 100, 1, 0.0)],
)  # fmt: skip
def test_slots_are_those_of_all_hardware_queues(queue, requests, queues, expected):
    device = replace(PLAIN, nr_requests=requests, queues=queues)
    assert slots(one(queue=queue, device=device)) == expected


def test_the_fullest_queue_stands_for_all():
    assert use(one(queue=10), one("sdb", queue=90)).saturation == {"slots": 0.9}


def test_pressure_is_that_of_storage():
    stall = Stall(Distribution(0.4, 0.4), Distribution(0.2, 0.2))
    told = use(one(), extra=[PressureSample(10.0, None, None, stall, None)])
    assert told.pressure == {"some": 0.4, "full": 0.2}


def test_the_busiest_are_kept_in_the_kernels_order():
    many = [one(f"d{n:03}", busy=(n * 37 % 200) / 200) for n in range(200)]
    names = list(use(*many).devices)
    assert len(names) == MOST_DEVICES
    assert names == sorted(names)
    least = min(d.utilization.mean for d in many if d.name in names)
    assert all(d.utilization.mean <= least for d in many if d.name not in names)


def test_this_host_has_a_use():
    try:
        sample = collect(Context(duration=0.1, interval=0.1))
    except Unavailable:
        pytest.skip("this host has no disk")
    assert set(disk(facts(sample)).errors) == {"command", "timeout"}
