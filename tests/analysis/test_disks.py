"""What rules on disks share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.disks import disks, kind_of, name_disk
from analysis.model import Culprit, Facts
from collectors.disk import Disk, DiskSample
from collectors.disk_device import Device
from collectors.model import Outcome, Status, Sweep
from collectors.system import SystemSample


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "disk", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def host(virtualization):
    sample = SystemSample.__new__(SystemSample)
    object.__setattr__(sample, "virtualization", virtualization)
    return sample


def disk(kind="scsi", name="sda", **fields):
    return Disk(name, Device(kind, in_sums=True, **fields))


def test_disks_are_those_that_nothing_else_carries():
    stacked = Disk("dm-0", Device("dm", in_sums=False))
    found = disks(facts(DiskSample(10.0, (disk(), stacked, disk(name="sdb")))))
    assert [d.name for d in found] == ["sda", "sdb"]
    assert disks(facts()) == []


@pytest.mark.parametrize(
    ("device", "virtualization", "kind"),
    [
        (disk("nvme"), "none", "nvme"),
        (disk("nvme"), None, "nvme"),
        (disk("nvme"), "kvm", "virtual"),
        (disk(rotational=True), "none", "rotating"),
        (disk(rotational=False), "none", "flash"),
        (disk(rotational=None), "none", "flash"),
        (disk("mmc", rotational=False), "none", "rotating"),
        (disk("virtio", rotational=True), "none", "virtual"),
        (disk("rbd"), "none", "virtual"),
        (disk(rotational=True, model="QEMU HARDDISK"), "none", "virtual"),
        (disk(rotational=True, model="WDC WD40"), "none", "rotating"),
        (disk(rotational=True), "kvm", "virtual"),
    ],
)
def test_a_disk_is_held_to_what_it_is(device, virtualization, kind):
    assert kind_of(device, facts(host(virtualization))) == kind


def test_a_host_that_does_not_tell_what_it_is_keeps_its_disks_word():
    assert kind_of(disk(rotational=True), facts()) == "rotating"


def test_a_disk_is_named_with_all_that_is_known_of_it():
    known = disk(alias="data", model="WDC WD40", size_bytes=4 << 40)
    named = Culprit("device", "sda", value=0.5, unit="ratio", detail="data, WDC WD40, scsi, 4 TiB")
    assert name_disk(known, 0.5, "ratio") == named
    assert name_disk(disk(), None, "").detail == "scsi"
    assert name_disk(replace(known, name="sdb"), 1.0, "s").name == "sdb"
