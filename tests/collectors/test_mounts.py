"""Which mounts hold data, and which may never answer."""

from __future__ import annotations

import pytest

from collectors.mounts import parse, risky, storing


def mounts(*lines):
    return parse("\n".join(lines).encode())


def line(point, kind, source="none", device="0:50", root="/", options="rw", super_options="rw"):
    return f"1 0 {device} {root} {point} {options} - {kind} {source} {super_options}"


def points(entries):
    return [e.point for e in entries]


def test_escapes_become_bytes_and_optional_fields_are_skipped():
    (entry,) = parse(
        b"36 35 98:0 /mnt1 /mnt/a\\040b\\134c\xff rw,noatime master:1 shared:2 "
        b"- ext3 /dev/x\\011 rw,e=c\n"
    )
    assert entry.point == b"/mnt/a b\\c\xff"
    assert (entry.type, entry.source, entry.root) == (b"ext3", b"/dev/x\t", b"/mnt1")
    assert entry.super_options == {b"rw", b"e=c"}


@pytest.mark.parametrize("bad", [b"1 2 3", b"36 35 98:0 / /mnt rw", b"1 2 3 4 5 6 - ext4"])
def test_garbage_is_refused(bad):
    with pytest.raises(ValueError, match="mountinfo"):
        parse(bad)


def test_data_is_kept_and_the_kernels_own_is_not():
    entries = mounts(
        line("/", "ext4", "/dev/sda1", "8:1"),
        line("/proc", "proc"),
        line("/sys/fs/cgroup", "cgroup2", device="0:7"),
        line("/dev", "devtmpfs", device="0:8"),
        line("/snap/core/1", "squashfs", "/dev/loop1", "7:1"),
        line("/run", "tmpfs", device="0:9"),
        line("/run/user/0", "tmpfs", device="0:10"),
        line("/var/lib/docker/overlay2/x/merged", "overlay", device="0:11"),
        line("/home", "nfs4", "server:/home", "0:12"),
        line("/pool", "zfs", "pool", "0:13"),
        line("/var/lib/lxcfs", "fuse.lxcfs", device="0:14"),
        line("/auto", "autofs", device="0:15"),
    )
    assert points(storing(entries)) == [b"/", b"/run", b"/home", b"/pool"]


def test_an_overlay_counts_where_it_is_the_root():
    assert points(storing(mounts(line("/", "overlay")))) == [b"/"]


def test_a_file_system_is_listed_once_by_its_own_mount():
    entries = mounts(
        line("/var/log", "ext4", "/dev/sda1", "8:1", root="/data/log"),
        line("/data", "ext4", "/dev/sda1", "8:1"),
        line("/again", "ext4", "/dev/sda1", "8:1"),
    )
    assert points(storing(entries)) == [b"/data"]


def test_of_two_mounts_on_one_point_the_later_is_seen():
    entries = mounts(
        line("/mnt", "ext4", "/dev/sda1", "8:1"), line("/mnt", "xfs", "/dev/sdb1", "8:17")
    )
    assert [e.type for e in storing(entries)] == [b"xfs"]


def test_remote_mounts_and_those_below_them_are_risky():
    entries = mounts(
        line("/", "ext4", "/dev/sda1", "8:1"),
        line("/net", "nfs", "server:/x", "0:20"),
        line("/net/local", "ext4", "/dev/sdb1", "8:17"),
        line("/network", "ext4", "/dev/sdc1", "8:33"),
        line("/ssh", "fuse.sshfs", "h:", "0:21"),
        line("/win", "fuseblk", "/dev/sdd1", "8:49"),
    )
    assert risky(entries, storing(entries)) == {b"/net", b"/net/local", b"/ssh", b"/win"}


@pytest.mark.parametrize(
    ("options", "super_options", "read_only", "stopped"),
    [
        ("rw,relatime", "rw", False, False),
        ("ro", "ro", True, False),
        ("ro", "rw", True, False),
        ("rw", "ro,errors=remount-ro", True, True),
        ("rw", "rw,emergency_ro", True, True),
    ],
)
def test_the_kernels_own_stop_differs_from_a_read_only_mount(
    options, super_options, read_only, stopped
):
    (entry,) = mounts(line("/", "ext4", options=options, super_options=super_options))
    assert (entry.read_only, entry.stopped) == (read_only, stopped)
