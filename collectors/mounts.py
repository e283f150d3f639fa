"""Mounts: which there are, which hold data, and which may never answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Types whose answer comes from a network or from a process: a question to them
# may wait for ever. The cluster file systems wait for a lock of another host.
_REMOTE = frozenset(
    {
        b"nfs", b"nfs4", b"cifs", b"smb3", b"smbfs", b"ceph", b"glusterfs", b"9p", b"afs",
        b"lustre", b"virtiofs", b"beegfs", b"orangefs", b"pvfs2", b"coda", b"ncpfs", b"gpfs",
        b"gfs2", b"ocfs2", b"fuse", b"fuseblk",
    }
)  # fmt: skip
# Types on no block device that hold data nevertheless.
_STORING = frozenset({b"btrfs", b"zfs", b"bcachefs", b"ubifs", b"jffs2"})
# Images are full from the day they were made, and stay it.
_IMAGES = frozenset({b"squashfs", b"iso9660", b"erofs", b"cramfs", b"romfs", b"udf"})
# FUSE file systems that show something else than storage.
_VIEWS = frozenset(
    {
        b"fuse.lxcfs", b"fuse.gvfsd-fuse", b"fuse.portal", b"fuse.snapfuse", b"fuse.squashfuse",
        b"fuse.vmware-vmblk",
    }
)  # fmt: skip
# Programs fail when one of these is full. All other tmpfs are many, small and
# written by the one that made them (systemd, container runtimes).
_MEMORY = frozenset({b"/", b"/dev/shm", b"/run", b"/tmp", b"/var/tmp"})
_DAMAGED = frozenset({b"emergency_ro", b"shutdown"})
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")
_LEAST_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One line of mountinfo.

    Attributes:
        device: Number of the device, "major:minor".
        root: The directory of the file system that is mounted.
        point: Where it is mounted.
        type: Type of the file system.
        source: What is mounted, as given to mount.
        options: Of this mount.
        super_options: Of the file system itself.

    """

    device: bytes
    root: bytes
    point: bytes
    type: bytes
    source: bytes
    options: frozenset[bytes]
    super_options: frozenset[bytes]

    @property
    def remote(self) -> bool:
        """Whether an answer may never come."""
        return self.type in _REMOTE or self.type.startswith(b"fuse.")

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written through this mount now."""
        return b"ro" in self.options or self.stopped or b"ro" in self.super_options

    @property
    def stopped(self) -> bool:
        """
        Whether the kernel itself stopped writing, usually after an error.

        A person's `mount -o ro` sets the option of the mount as well; the
        kernel, on an error, only the file system's, or a word of its own.
        """
        if b"rw" not in self.options:
            return False
        return b"ro" in self.super_options or bool(_DAMAGED & self.super_options)


def parse(raw: bytes) -> list[Entry]:
    """
    Parse a table of mounts.

    Args:
        raw: Content of `/proc/PID/mountinfo`.

    Returns:
        The mounts, in the kernel's order; paths are bytes without escapes.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        proc_pid_mountinfo(5), Documentation/filesystems/proc.rst section 3.5.

    """
    return [_entry(line) for line in raw.splitlines() if line.strip()]


def storing(entries: Iterable[Entry]) -> list[Entry]:
    """
    Choose the mounts that hold data, each file system once.

    Kept are file systems on a block device, those of pools (btrfs, zfs), remote
    and FUSE ones, an overlay or tmpfs that is the root, and tmpfs where programs
    expect room: /dev/shm, /run, /tmp, /var/tmp. Left out are the kernel's own
    (proc, sysfs, cgroup, devtmpfs), read-only images, overlays of containers,
    whose room is that of a file system listed anyway, and private tmpfs.

    Args:
        entries: All mounts.

    Returns:
        One entry per device number: that of the whole file system before bind
        mounts of a directory, and of several the one mounted first.

    """
    visible = {e.point: e for e in entries}
    chosen: dict[bytes, Entry] = {}
    for entry in visible.values():
        if not _holds_data(entry):
            continue
        known = chosen.get(entry.device)
        if known is None or (known.root != b"/" and entry.root == b"/"):
            chosen[entry.device] = entry
    return list(chosen.values())


def risky(entries: Iterable[Entry], chosen: Iterable[Entry]) -> set[bytes]:
    """
    Tell which mounts may never answer.

    Args:
        entries: All mounts.
        chosen: The mounts to judge.

    Returns:
        Mount points of remote file systems, and of any that lies below one: the
        way to it leads through.

    """
    remote = tuple(e.point.rstrip(b"/") + b"/" for e in entries if e.remote)
    return {e.point for e in chosen if e.remote or e.point.startswith(remote)}


def _entry(line: bytes) -> Entry:
    """Read one line; the optional fields before the dash vary in number."""
    left, dash, right = line.partition(b" - ")
    fields, tail = left.split(b" "), right.split(b" ")
    if not dash or len(fields) < _LEAST_FIELDS or len(tail) < 2:  # noqa: PLR2004
        raise ValueError(f"not a line of mountinfo: {line[:80]!r}")
    return Entry(
        device=fields[2],
        root=_unescape(fields[3]),
        point=_unescape(fields[4]),
        type=tail[0],
        source=_unescape(tail[1]),
        options=frozenset(fields[5].split(b",")),
        super_options=frozenset(tail[2].split(b",")) if len(tail) > 2 else frozenset(),  # noqa: PLR2004
    )


def _unescape(raw: bytes) -> bytes:
    r"""Undo the kernel's `\040` for blanks, tabs, newlines and backslashes."""
    return _ESCAPE.sub(lambda m: bytes((int(m[1], 8),)), raw)


def _holds_data(entry: Entry) -> bool:
    """Tell whether a mount belongs in the list."""
    if entry.type in _IMAGES or entry.type in _VIEWS:
        return False
    if entry.remote or entry.type in _STORING:
        return True
    if entry.type in (b"tmpfs", b"ramfs"):
        return entry.type == b"tmpfs" and entry.point in _MEMORY
    if entry.type == b"overlay":
        return entry.point == b"/"
    return not entry.device.startswith(b"0:")
