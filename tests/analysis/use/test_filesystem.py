"""Use of the file systems."""

from __future__ import annotations

from analysis.model import Facts
from analysis.use.filesystem import MOST_DEVICES, filesystem
from analysis.use_model import ErrorCount
from collectors.base import Context
from collectors.filesystem import Filesystem, FilesystemSample, collect
from collectors.model import UNKNOWN, Outcome, Status, Sweep


def facts(sample):
    outcome = Outcome("f", "filesystem", "quick", True, Status.OK, None, None, 0.0, 1.0, sample)
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"f": outcome}))


def one(mount="/", used=0.5, inodes=0.1, read_only=False, **fields):
    return Filesystem(
        mount, "/dev/sda1", "ext4", False, read_only, False, used=used, inodes_used=inodes, **fields
    )


def use(*found):
    return filesystem(facts(FilesystemSample(10.0, found)))


def test_the_fullest_stands_for_all_by_room_and_by_inodes():
    told = use(one(), one("/var", 0.9, 0.2), one("/srv", 0.3, 0.8))
    assert (told.utilization.mean, told.saturation) == (0.9, {"inodes": 0.8})
    assert told.devices["/srv"].saturation == {"inodes": 0.8}


def test_what_cannot_be_written_is_full_by_nature_and_does_not_stand_for_all():
    told = use(one(), one("/snap", 1.0, 1.0, read_only=True))
    assert (told.utilization.mean, told.saturation["inodes"]) == (0.5, 0.1)
    assert told.devices["/snap"].utilization.mean == 1.0


def test_errors_add_up_and_unknown_is_not_nothing():
    told = use(one(errors=3, errors_increase=1), one("/b", errors=4, errors_increase=0), one("/c"))
    assert told.errors == {"metadata": ErrorCount(7, 1)}
    assert told.devices["/c"].errors == {"metadata": ErrorCount(None, None)}
    silent = use(one(used=None, inodes=None))
    assert (silent.utilization, silent.saturation) == (UNKNOWN, {"inodes": None})
    assert silent.devices["/"].utilization == UNKNOWN
    assert use(one()).errors == {"metadata": ErrorCount(None, None)}


def test_the_fullest_are_kept_in_the_order_of_mounting():
    many = [one(f"/m{n:03}", used=(n * 37 % 100) / 100) for n in range(100)]
    mounts = list(use(*many).devices)
    assert len(mounts) == MOST_DEVICES
    assert mounts == sorted(mounts)
    assert {m.mount for m in many if m.used >= 0.68} == set(mounts)


def test_this_host_has_a_use():
    told = filesystem(facts(collect(Context(duration=0.0))))
    assert told.devices
    assert 0 <= told.utilization.mean <= 1
