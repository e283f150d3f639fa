"""File systems: space, inodes, read-only ones, and those that do not answer."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.statvfs import Guard, Space
from collectors.text import label, natural_or_none

# Asking these may wait for another machine or for a program, for ever.
_RISKY = frozenset(
    (
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "9p", "afs", "lustre",
        "beegfs", "gpfs", "ncpfs", "coda", "orangefs", "davfs", "virtiofs",
    )
)  # fmt: skip
# What holds files on storage; everything else is the kernel talking about itself.
_STORAGE = frozenset(
    (
        "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "reiserfs",
        "vfat", "exfat", "ntfs", "ntfs3", "ntfs-3g", "hfsplus", "ubifs", "jffs2", "nilfs2",
        "ocfs2", "gfs2", "erofs", "squashfs", "iso9660", "udf", "overlay",
    )
)  # fmt: skip
# Made to be full and read-only.
_IMAGES = frozenset(("squashfs", "iso9660", "udf", "erofs"))
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """
    One mounted file system.

    Attributes:
        device_number: "major:minor", which tells the same file system at two places.
        point: Where it is mounted, as bytes.
        kind: Its type.
        source: The device or server.
        read_only: Whether this mount is read-only.
        super_read_only: Whether the file system itself is read-only, as after an error.

    """

    device_number: str
    point: bytes
    kind: str
    source: str
    read_only: bool
    super_read_only: bool

    @property
    def risky(self) -> bool:
        """Whether asking it may wait for something outside this host's kernel."""
        return self.kind in _RISKY or self.kind.startswith("fuse.") or self.kind == "fuse"


@dataclass(frozen=True, slots=True)
class Filesystem:
    """
    One file system.

    Attributes:
        mount: Where it is mounted, made safe to show.
        device: The device or server.
        kind: Its type.
        read_only: Whether nothing can be written to it.
        read_only_after_error: Read-only though its mount allows writing.
        size_bytes: Its size [bytes]; None when unknown.
        free_bytes: Free, the part reserved for root included [bytes].
        available_bytes: Free for ordinary users [bytes].
        inodes: Files it can hold; None where it has no such limit.
        inodes_free: Of them unused.
        errors: Errors the file system has noted since it was made; None where it counts none.

    """

    mount: str
    device: str
    kind: str
    read_only: bool
    read_only_after_error: bool
    size_bytes: int | None = None
    free_bytes: int | None = None
    available_bytes: int | None = None
    inodes: int | None = None
    inodes_free: int | None = None
    errors: int | None = None


@dataclass(frozen=True, slots=True)
class Hung:
    """
    A file system that did not answer.

    Attributes:
        mount: Where it is mounted.
        kind: Its type.
        device: The server or program behind it.
        seconds: For how long it has not answered [s].

    """

    mount: str
    kind: str
    device: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FilesystemSample:
    """
    All file systems that hold files.

    Attributes:
        filesystems: Those that answered, each once.
        hung: Those that did not.

    """

    filesystems: tuple[Filesystem, ...] = ()
    hung: tuple[Hung, ...] = ()


def parse(raw: bytes) -> list[Mount]:
    """
    Parse the list of mounts.

    Args:
        raw: Content of /proc/PID/mountinfo.

    Returns:
        The mounts in order.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        /proc/PID/mountinfo, Documentation/filesystems/proc.rst section 3.5.

    """
    mounts = []
    for line in raw.split(b"\n"):
        if not line:
            continue
        fields = line.split(b" ")
        try:
            dash = fields.index(b"-", 6)
            kind, source, options = fields[dash + 1 : dash + 4]
        except ValueError as error:
            raise ValueError(f"not a mount: {line[:60]!r}") from error
        mounts.append(
            Mount(
                device_number=label(fields[2]),
                point=_plain(fields[4]),
                kind=label(kind),
                source=label(_plain(source), 128),
                read_only=b"ro" in fields[5].split(b","),
                super_read_only=b"ro" in options.split(b","),
            )
        )
    return mounts


def _plain(raw: bytes) -> bytes:
    r"""Undo the kernel's \040 for blanks and the like."""
    return _OCTAL.sub(lambda m: bytes([int(m[1], 8) & 0xFF]), raw)


@collector(category="filesystem", essential=True)
def collect(ctx: Context) -> FilesystemSample:
    """
    Ask each file system that holds files, once, at the window's end.

    Those that may wait for another machine or program are asked by a child
    process, so that a hung one costs one child and never this program.

    Args:
        ctx: Paths and window; memory keeps the child that hangs.

    Returns:
        The file systems.

    Raises:
        Unavailable: When the list of mounts cannot be read.

    Source:
        /proc/1/mountinfo (else self), statvfs(2), /sys/fs/ext4/DEVICE/errors_count.

    """
    for _ in ctx.ends():
        pass
    mounts = _wanted(parse(_table(ctx)))
    risky = [m.point for m in mounts if m.risky]
    guard = ctx.memory.setdefault("guard", Guard())
    answers = guard.ask(risky) if risky or guard.busy else {}
    filesystems, hung = [], []
    for mount in mounts:
        space = answers.get(mount.point) if mount.risky else _ask(ctx, mount.point)
        if mount.risky and space is None:
            waited = guard.waiting(mount.point)
            if waited is not None:
                hung.append(
                    Hung(label(mount.point, 128), mount.kind, mount.source, round(waited, 1))
                )
                continue
        filesystems.append(_filesystem(ctx, mount, space))
    return FilesystemSample(tuple(filesystems), tuple(hung))


def _table(ctx: Context) -> bytes:
    """Read the mounts as the host's init sees them, or else as this program does."""
    try:
        return ctx.read(ctx.paths.proc / "1/mountinfo")
    except Unavailable:
        return ctx.read(ctx.paths.proc / "self/mountinfo")


def _wanted(mounts: list[Mount]) -> list[Mount]:
    """
    Choose the file systems that hold files, each once.

    Of several mounts of one file system the first is taken, and one that is
    writable before one that is not: a read-only bind mount is no read-only disk.
    Mounts over which another one lies are hidden; the last one counts.
    """
    visible = {m.point: m for m in mounts}
    kept: dict[str, Mount] = {}
    for mount in visible.values():
        if not (mount.kind in _STORAGE or mount.risky) or mount.kind in _IMAGES:
            continue
        if mount.kind == "overlay" and mount.point != b"/":
            continue  # a container's view of a file system that is listed itself
        old = kept.get(mount.device_number)
        if old is None or (old.read_only and not mount.read_only):
            kept[mount.device_number] = mount
    return list(kept.values())


def _ask(ctx: Context, point: bytes) -> Space | None:
    """Ask a local file system."""
    root = os.fsencode(ctx.paths.root).rstrip(b"/")
    try:
        return Space.of(os.statvfs(root + point))
    except OSError as error:
        name = label(point, 128)
        cause = Cause.PERMISSION if isinstance(error, PermissionError) else Cause.UNREADABLE
        ctx.note(name, cause, f"{name}: {(error.strerror or 'unreadable').lower()}")
        return None


def _filesystem(ctx: Context, mount: Mount, space: Space | None) -> Filesystem:
    """Describe a file system."""
    found = space or Space()
    return Filesystem(
        mount=label(mount.point, 128),
        device=mount.source,
        kind=mount.kind,
        read_only=mount.read_only or mount.super_read_only,
        read_only_after_error=mount.super_read_only and not mount.read_only,
        size_bytes=found.size,
        free_bytes=found.free,
        available_bytes=found.available,
        inodes=found.inodes,
        inodes_free=found.inodes_free,
        errors=_errors(ctx, mount),
    )


def _errors(ctx: Context, mount: Mount) -> int | None:
    """Read how many errors an ext4 file system has noted."""
    if not mount.kind.startswith("ext"):
        return None
    number = ctx.paths.sys / "dev/block" / mount.device_number
    name = number.readlink().name if number.is_symlink() else Path(mount.source).name
    return natural_or_none(ctx.try_read(ctx.paths.sys / "fs/ext4" / name / "errors_count"))
