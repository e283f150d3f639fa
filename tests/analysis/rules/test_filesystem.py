"""Rules and use of the file systems."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.rules.filesystem import (
    filesystem_broken,
    filesystem_errors,
    filesystem_hung,
    filesystem_inodes,
    filesystem_readonly,
    filesystem_space,
)
from analysis.score import findings
from analysis.use.filesystem import filesystem as use
from collectors.filesystem import Filesystem, FilesystemSample, HungMount
from collectors.model import Outcome, Status, Sweep

GIB = 1 << 30
TIB = 1 << 40
GOOD = Filesystem("/", "/dev/sda1", "ext4", False, False, False, errors=0, errors_increase=0)


def sweep(*found, hung=()):
    sample = FilesystemSample(10.0, found, hung)
    outcome = Outcome("f", "filesystem", "quick", True, Status.OK, None, None, 0.0, 1.0, sample)
    return Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"f": outcome})


def facts(*found, hung=(), before=None):
    return Facts(sweep(*found, hung=hung), before)


def sized(size, available, mount="/", reserved=0):
    used = (size - reserved - available) / (size - reserved)
    return replace(GOOD, mount=mount, size_bytes=size, available_bytes=available, used=used)


def severity(rule, known):
    found = findings([(discover_rules()[rule.__name__], rule(known))])
    return found[0].severity if found else None


@pytest.mark.parametrize(
    ("size", "available", "expected"),
    [
        (20 * GIB, 2 * GIB, None),
        (20 * GIB, GIB, Severity.WARNING),
        (20 * GIB, GIB // 4, Severity.CRITICAL),
        (20 * TIB, TIB, None),
        (20 * TIB, 6 * GIB, None),
        (20 * TIB, 4 * GIB, Severity.WARNING),
        (20 * TIB, GIB, Severity.CRITICAL),
        (20 * GIB, 0, Severity.CRITICAL),
        (0, 0, None),
    ],
)
def test_room_is_judged_by_share_and_a_large_one_by_what_is_left(size, available, expected):
    if not size:
        found = replace(GOOD, size_bytes=0, available_bytes=0, used=None)
        assert filesystem_space(facts(found)) is None
    else:
        assert severity(filesystem_space, facts(sized(size, available))) is expected


def test_what_is_kept_for_root_is_not_counted_as_used():
    assert severity(filesystem_space, facts(sized(20 * GIB, 2 * GIB, reserved=GIB * 10))) is None


def test_a_full_file_system_that_cannot_be_written_is_no_finding():
    full = replace(sized(20 * GIB, 0), read_only=True)
    assert filesystem_space(facts(full)) is None


def test_the_fullest_is_named_with_advice_that_cannot_break_out_of_the_shell():
    bad = sized(20 * GIB, 0, "/srv/a; rm -rf b")
    known = facts(sized(20 * GIB, 9 * GIB), bad)
    signal = filesystem_space(known)
    assert signal is not None
    assert (signal.subject, signal.culprits[0].name) == (bad.mount, bad.mount)
    (advice,) = discover_rules()["filesystem_space"].advise(known, signal)
    assert "'/srv/a; rm -rf b'" in advice.commands[0]


def test_no_command_is_given_for_a_path_that_had_to_be_altered():
    known = facts(sized(20 * GIB, 0, "/srv/\\x0a"))
    rule, signal = discover_rules()["filesystem_space"], filesystem_space(known)
    assert list(rule.advise(known, signal)) == []


@pytest.mark.parametrize(
    ("inodes", "left", "expected"),
    [
        (100_000, 6_000, None),
        (100_000, 4_000, Severity.WARNING),
        (100_000, 1_000, Severity.CRITICAL),
        (200_000_000, 1_000_000, None),
        (200_000_000, 10_000, Severity.CRITICAL),
    ],
)
def test_inodes_are_judged_alike(inodes, left, expected):
    found = replace(GOOD, inodes=inodes, inodes_available=left)
    assert severity(filesystem_inodes, facts(found)) is expected


def test_a_file_system_that_makes_inodes_as_needed_cannot_run_out():
    assert filesystem_inodes(facts(replace(GOOD, inodes=None))) is None


def test_only_the_kernels_stop_is_a_finding_and_it_is_critical():
    mounted_so = replace(GOOD, read_only=True)
    stopped = replace(mounted_so, mount="/data", stopped=True)
    assert severity(filesystem_readonly, facts(GOOD, mounted_so)) is None
    assert severity(filesystem_readonly, facts(GOOD, stopped)) is Severity.CRITICAL
    flip = filesystem_readonly(facts(stopped, before=sweep(replace(stopped, stopped=False))))
    assert flip is not None
    assert "since the sweep before" in flip.message


def test_errors_between_two_sweeps_are_not_missed():
    now = replace(GOOD, errors=3, errors_increase=0)
    assert severity(filesystem_errors, facts(now)) is None
    before = sweep(replace(GOOD, errors=2))
    assert severity(filesystem_errors, facts(now, before=before)) is Severity.WARNING


def test_another_file_system_on_the_same_point_has_no_past():
    now = replace(GOOD, source="/dev/sdb1", errors=9, errors_increase=0)
    assert severity(filesystem_errors, facts(now, before=sweep(GOOD))) is None


def test_old_errors_are_no_finding_and_none_are_unknown():
    assert severity(filesystem_errors, facts(replace(GOOD, errors=5))) is None
    assert filesystem_errors(facts(replace(GOOD, errors=None, errors_increase=None))) is None


def test_a_hung_mount_is_named_and_becomes_critical_when_it_lasts():
    hung = HungMount("/net", "server:/x", "nfs4", 10.0, "rpc_wait_bit_killable", True)
    known = facts(GOOD, hung=(hung,))
    signal = filesystem_hung(known)
    assert signal is not None
    assert signal.culprits[0].name == "/net"
    assert severity(filesystem_hung, known) is Severity.WARNING
    lasting = facts(GOOD, hung=(replace(hung, seconds=70.0),))
    assert severity(filesystem_hung, lasting) is Severity.CRITICAL
    assert severity(filesystem_hung, facts(GOOD)) is None


def test_a_mount_that_is_gone_is_a_finding_and_one_that_is_private_is_not():
    assert severity(filesystem_broken, facts(replace(GOOD, failure="ESTALE"))) is Severity.WARNING
    assert severity(filesystem_broken, facts(replace(GOOD, failure="EACCES"))) is None


def test_use_is_that_of_the_fullest_that_can_be_written():
    image = replace(sized(GIB, 0, "/image"), read_only=True)
    told = use(facts(sized(20 * GIB, 15 * GIB), image))
    assert told is not None
    assert told.utilization.mean == 0.25
    assert told.devices["/image"].utilization.mean == 1
    assert told.errors["metadata"].increase == 0


def test_use_is_bounded():
    told = use(facts(*(sized(1000, 1000 - n, f"/{n}") for n in range(100))))
    assert told is not None
    assert len(told.devices) == 32
    assert "/99" in told.devices
