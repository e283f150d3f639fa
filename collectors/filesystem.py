"""File systems: room, inodes, read-only state, errors, and mounts that do not answer."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.mounts import Entry, parse, risky, storing
from collectors.rates import delta, ratio
from collectors.statvfs import Answers, Asking, Room, Stuck, room
from collectors.text import key_values, label, natural_or_none

MOST_MOUNTS = 256
_POINT_LENGTH = 200
_BTRFS_ERRORS = ("write_errs", "read_errs", "flush_errs", "corruption_errs", "generation_errs")


@dataclass(frozen=True, slots=True)
class Filesystem:
    """
    One file system that holds data.

    Attributes:
        mount: Where it is mounted.
        source: What is mounted: a device, an export, a pool.
        type: Its type.
        remote: Whether a network or another process answers for it.
        read_only: Whether nothing can be written now.
        stopped: Whether the kernel itself stopped writing, as after an error.
        size_bytes: Its size [bytes].
        available_bytes: Free to ordinary users [bytes].
        used: Used share of what ordinary users may use, as df shows it [ratio].
        inodes: Inodes it can hold; None where it makes them as needed.
        inodes_available: Inodes ordinary users may still make.
        inodes_used: Used share of the inodes [ratio].
        errors: Errors it found in itself, as counted since it was made or checked
            (ext4) or since its counters were reset (btrfs); None for other types.
        errors_increase: The same within the window.
        failure: Why it does not tell its room, as an error name such as "ESTALE".

    """

    mount: str
    source: str
    type: str
    remote: bool
    read_only: bool
    stopped: bool
    size_bytes: int | None = None
    available_bytes: int | None = None
    used: float | None = None
    inodes: int | None = None
    inodes_available: int | None = None
    inodes_used: float | None = None
    errors: int | None = None
    errors_increase: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class HungMount:
    """
    A mount that does not answer.

    Attributes:
        mount: Where it is mounted.
        source: What is mounted.
        type: Its type.
        seconds: How long it is known to hang [s].
        where: The kernel function the question waits in; None when unknown.
        unkillable: Whether the process that asked cannot even be killed.

    """

    mount: str
    source: str
    type: str
    seconds: float
    where: str | None
    unkillable: bool


@dataclass(frozen=True, slots=True)
class FilesystemSample:
    """
    All file systems that hold data, each once.

    Attributes:
        window_seconds: Observed time [s].
        filesystems: In the order of mounting, 256 at most; hung ones are not among them.
        hung: Mounts that do not answer.
        left_out: File systems beyond that number.

    """

    window_seconds: float
    filesystems: tuple[Filesystem, ...]
    hung: tuple[HungMount, ...] = ()
    left_out: int = 0


@collector(category="filesystem", essential=True)
def collect(ctx: Context) -> FilesystemSample:
    """
    Ask every file system that holds data for its room, without ever waiting for one.

    Remote and FUSE mounts are asked by a child at the window's start, all others
    in place at its end.

    Args:
        ctx: Paths and window.

    Returns:
        The file systems.

    Raises:
        Unavailable: When the mounts cannot be read.

    Source:
        /proc/1/mountinfo; statvfs(3); /sys/fs/ext4/*/errors_count,
        Documentation/ABI/testing/sysfs-fs-ext4; /sys/fs/btrfs/*/devinfo/*/error_stats.

    """
    ends = ctx.ends()
    start = next(ends)
    entries, chosen = _mounts(ctx)
    asking = Asking(ctx, sorted(risky(entries, chosen[:MOST_MOUNTS])), start)
    errors = {e.device: _errors(ctx, e) for e in chosen}
    end = next(ends, start)
    answers = asking.answers()
    # Of what was unmounted meanwhile, statvfs would tell the directory's file system.
    entries, chosen = _mounts(ctx)
    remote, stuck = risky(entries, chosen), answers.stuck
    if answers.unasked:
        _note_unasked(ctx, answers)
    return FilesystemSample(
        window_seconds=end - start,
        filesystems=tuple(
            _filesystem(ctx, e, answers if e.point in remote else None, errors.get(e.device))
            for e in chosen[:MOST_MOUNTS]
            if e.point not in stuck
        ),
        hung=tuple(_hung(e, stuck[e.point], end) for e in chosen if e.point in stuck),
        left_out=len(chosen[MOST_MOUNTS:]),
    )


def _mounts(ctx: Context) -> tuple[list[Entry], list[Entry]]:
    """Read all mounts of the host, or of this process where those are not to be seen."""
    raw = ctx.try_read(ctx.paths.proc / "1/mountinfo")
    if not raw:
        raw = ctx.read(ctx.paths.proc / "self/mountinfo")
    entries = parse(raw)
    chosen = storing(entries)
    if not chosen:
        raise Unavailable("no file system that holds data is mounted", Cause.ABSENT)
    return entries, chosen


def _filesystem(
    ctx: Context, entry: Entry, answers: Answers | None, before: int | None
) -> Filesystem:
    """Describe one file system."""
    if answers is None:
        found, failure = _ask(ctx, entry.point)
    else:
        found, failure = answers.rooms.get(entry.point), answers.errors.get(entry.point)
    total = _errors(ctx, entry)
    inodes = found.inodes if found and found.inodes else None
    left = found.inodes_available if found and inodes else None
    return Filesystem(
        mount=label(entry.point, _POINT_LENGTH),
        source=label(entry.source),
        type=label(entry.type),
        remote=entry.remote,
        read_only=entry.read_only,
        stopped=entry.stopped,
        size_bytes=found.size_bytes if found else None,
        available_bytes=found.available_bytes if found else None,
        used=_used(found),
        inodes=inodes,
        inodes_available=left,
        inodes_used=None if inodes is None or left is None else max(1 - left / inodes, 0.0),
        errors=total,
        errors_increase=delta(before, total),
        failure=errno.errorcode.get(failure, str(failure)) if failure else None,
    )


def _ask(ctx: Context, point: bytes) -> tuple[Room | None, int | None]:
    """Ask a local file system, which answers out of memory."""
    try:
        s = os.statvfs(os.fsencode(ctx.paths.root).rstrip(b"/") + point)
    except OSError as error:
        return None, error.errno
    return room((s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_favail)), None


def _used(found: Room | None) -> float | None:
    """Give the used share as df does: what is kept for root counts neither way."""
    if found is None:
        return None
    used = found.size_bytes - found.free_bytes
    return ratio(used, used + found.available_bytes)


def _errors(ctx: Context, entry: Entry) -> int | None:
    """Read how many errors a file system found in itself."""
    if entry.type in (b"ext2", b"ext3", b"ext4"):
        name = _block_name(ctx, entry)
        raw = ctx.try_read(ctx.paths.sys / "fs/ext4" / name / "errors_count", 64) if name else None
        return natural_or_none(raw)
    return _btrfs_errors(ctx, entry) if entry.type == b"btrfs" else None


def _block_name(ctx: Context, entry: Entry) -> str | None:
    """Give the kernel's name of the device a file system is on."""
    try:
        link = (ctx.paths.sys / "dev/block" / os.fsdecode(entry.device)).readlink()
    except OSError:
        name = os.fsdecode(entry.source.rpartition(b"/")[2])
        return None if name in ("", ".", "..") or "\0" in name else name
    return link.name


def _btrfs_errors(ctx: Context, entry: Entry) -> int | None:
    """Add the error counters of all devices of a btrfs pool."""
    # /dev/mapper has links, /sys/fs/btrfs the kernel's names.
    name = Path(os.fsdecode(entry.source)).resolve().name if b"\0" not in entry.source else ""
    pools = ctx.paths.sys / "fs/btrfs"
    pool = next((d.parent.parent for d in pools.glob("*/devices/*") if d.name == name), None)
    if pool is None:
        return None
    counts: list[Mapping[str, int]] = [
        key_values(ctx.try_read(f, 4096) or b"") for f in pool.glob("devinfo/*/error_stats")
    ]
    return sum(c.get(k, 0) for c in counts for k in _BTRFS_ERRORS) if any(counts) else None


def _note_unasked(ctx: Context, answers: Answers) -> None:
    """Say that nothing is known of some mounts."""
    names = ", ".join(label(p) for p in answers.unasked[:3])
    more = f" and {len(answers.unasked) - 3} more" if len(answers.unasked) > 3 else ""  # noqa: PLR2004
    text = f"the child that asks remote mounts gave no word on {names}{more}"
    ctx.note("statvfs", Cause.TIMEOUT, text)


def _hung(entry: Entry, stuck: Stuck, now: float) -> HungMount:
    """Describe a mount that does not answer."""
    return HungMount(
        mount=label(entry.point, _POINT_LENGTH),
        source=label(entry.source),
        type=label(entry.type),
        seconds=max(now - stuck.since, 0.0),
        where=None if stuck.where is None else label(stuck.where),
        unkillable=bool(stuck.pid),
    )
