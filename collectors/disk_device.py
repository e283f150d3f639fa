"""What a block device is: its kind, its settings, its error counters."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collectors.base import Context
from collectors.rates import ratio
from collectors.text import label, natural_or_none

_SECTOR = 512
_KINDS = ("virtio", "scsi", "nvme", "mmc", "xen")
_NAMES = ("dm-", "md", "loop", "ram", "zram", "nbd", "rbd", "bcache", "drbd", "zd", "sr", "fd")
# Devices whose I/O another disk or none carries: their own is not added to sums.
_STACKED = frozenset({"dm", "md", "loop", "bcache", "drbd", "zd", "ram", "zram"})
_PARTITION = re.compile(rb"(?:(?:sd|hd|vd|xvd)[a-z]+\d+|(?:nvme\d+n|mmcblk|nbd|loop|md)\d+p\d+)")
_PATH = re.compile(rb"(nvme\d+)c\d+(n\d+)")


@dataclass(frozen=True, slots=True)
class Device:
    """
    A block device as sysfs describes it.

    Attributes:
        kind: Driver family: nvme, virtio, scsi, mmc, xen, dm, md, loop, zram, ...; "other".
        in_sums: Whether its I/O counts in sums: not when it is stacked on other
            devices, which count it already, nor when it lives in memory.
        members: Devices it is stacked on.
        alias: The name people gave it (device mapper); None without one.
        model: Vendor and model; None when it tells none.
        size_bytes: Its size [bytes].
        read_only: Whether the device refuses writes.
        rotational: As the device tells. Virtual ones tell the default, True.
        scheduler: The I/O scheduler in force; None when the device has none.
        schedulers: The ones to choose from.
        nr_requests: Requests one hardware queue takes before callers sleep.
        queues: Hardware queues.
        read_ahead_bytes: Most that is read ahead [bytes].
        write_cache: "write back" or "write through", as told.
        state: The driver's word on its health (running, live, offline, dead); None without one.
        array: How a RAID array is; None for anything else.

    """

    kind: str
    in_sums: bool
    members: tuple[str, ...] = ()
    alias: str | None = None
    model: str | None = None
    size_bytes: int | None = None
    read_only: bool | None = None
    rotational: bool | None = None
    scheduler: str | None = None
    schedulers: tuple[str, ...] = ()
    nr_requests: int | None = None
    queues: int | None = None
    read_ahead_bytes: int | None = None
    write_cache: str | None = None
    state: str | None = None
    array: Array | None = None


@dataclass(frozen=True, slots=True)
class Array:
    """
    A software RAID array.

    Attributes:
        level: Such as "raid1".
        disks: Members it should have.
        degraded: Members it lacks; None for levels without redundancy.
        action: What it does about it: idle, recover, resync, check, ...
        progress: How far it is with that [ratio]; None when it does nothing.
        mismatches: Sectors whose copies differed in the last check; None when not told.
        members: Member to how it is: "in_sync", "faulty", "spare", several by commas.
        members_errors: Member to its read errors that were put right so far.

    """

    level: str | None
    disks: int | None
    degraded: int | None
    action: str | None
    progress: float | None = None
    mismatches: int | None = None
    members: Mapping[str, str] = field(default_factory=dict)
    members_errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrorTotals:
    """
    A device's error counters, and the number that no other device since boot had.

    Attributes:
        sequence: The kernel's number of this appearance of the device (since 5.15).
        command: Commands that failed.
        timeout: Commands that got no answer in time.

    """

    sequence: int | None
    command: int | None
    timeout: int | None

    def counts(self) -> dict[str, int | None]:
        """
        Return the counters by name.

        Returns:
            dict error kind -> count; None for one that the kernel does not keep.

        """
        return {"command": self.command, "timeout": self.timeout}


NO_ERRORS = ErrorTotals(None, None, None)


def is_whole(ctx: Context, name: bytes, names: Collection[bytes]) -> bool:
    """
    Tell whether a name stands for a device of its own.

    Args:
        ctx: Paths.
        name: A name from diskstats.
        names: All names there.

    Returns:
        False for a partition and for one path of a multipath NVMe disk.

    Source:
        /sys/class/block/*/partition, Documentation/ABI/testing/sysfs-block; by
        the name where there is no sysfs.

    """
    here = ctx.paths.sys / "class/block" / os.fsdecode(name.replace(b"/", b"!"))
    if here.exists():
        return not (here / "partition").exists() and not _is_path(name, names)
    return _PARTITION.fullmatch(name) is None and not _is_path(name, names)


def describe(ctx: Context, name: bytes) -> Device:
    """
    Read what a device is.

    Args:
        ctx: Paths.
        name: Its name in diskstats.

    Returns:
        The description; whatever sysfs does not tell is None.

    Source:
        /sys/block/*/{size,ro,slaves,mq,queue,device,dm,md},
        Documentation/ABI/stable/sysfs-block.

    """
    here = _directory(ctx, name)
    kind = _kind(here, name)
    scheduler, schedulers = _schedulers(_word(ctx, here / "queue/scheduler"))
    size, ahead = _number(ctx, here / "size"), _number(ctx, here / "queue/read_ahead_kb")
    return Device(
        kind=kind,
        in_sums=kind not in _STACKED,
        members=tuple(label(n) for n in _list(here / "slaves")),
        alias=_word(ctx, here / "dm/name") if kind == "dm" else None,
        model=_model(ctx, here / "device"),
        size_bytes=None if size is None else size * _SECTOR,
        read_only=_flag(ctx, here / "ro"),
        rotational=_flag(ctx, here / "queue/rotational"),
        scheduler=scheduler,
        schedulers=schedulers,
        nr_requests=_number(ctx, here / "queue/nr_requests"),
        queues=len(_list(here / "mq")) or None,
        read_ahead_bytes=None if ahead is None else ahead << 10,
        write_cache=_word(ctx, here / "queue/write_cache"),
        state=_word(ctx, here / "device/state") if kind in ("scsi", "nvme") else None,
        array=_array(ctx, here / "md") if kind == "md" else None,
    )


def errors(ctx: Context, name: bytes) -> ErrorTotals:
    """
    Read a device's error counters.

    Args:
        ctx: Paths.
        name: Its name in diskstats.

    Returns:
        The counters; None for those its driver does not keep.

    Source:
        /sys/block/*/device/{ioerr_cnt,iotmo_cnt} (SCSI, hexadecimal),
        /sys/block/zram*/io_stat (failed reads and writes), /sys/block/*/diskseq.

    """
    here = _directory(ctx, name)
    sequence = _number(ctx, here / "diskseq")
    if name.startswith(b"zram"):
        words = (ctx.try_read(here / "io_stat") or b"").split()[:2]
        known = [n for n in map(natural_or_none, words) if n is not None]
        return ErrorTotals(sequence, sum(known) if len(known) == 2 else None, None)  # noqa: PLR2004
    if not name.startswith(b"sd"):
        return ErrorTotals(sequence, None, None)
    command, timeout = (
        _hexadecimal(ctx.try_read(here / "device" / f)) for f in ("ioerr_cnt", "iotmo_cnt")
    )
    return ErrorTotals(sequence, command, timeout)


def _directory(ctx: Context, name: bytes) -> Path:
    """Give a device's place in sysfs, where a slash in its name is written as "!"."""
    return ctx.paths.sys / "block" / os.fsdecode(name.replace(b"/", b"!"))


def _is_path(name: bytes, names: Collection[bytes]) -> bool:
    """Tell whether a device is one of several paths to an NVMe disk that is listed itself."""
    match = _PATH.fullmatch(name)
    return match is not None and match[1] + match[2] in names


def _kind(here: Path, name: bytes) -> str:
    """Name the family of drivers: by the bus, else by the device's name."""
    try:
        bus = (here / "device/subsystem").readlink().name
    except OSError:
        bus = ""
    for kind in _KINDS:
        if bus == kind or (bus and bus.startswith("nvme") and kind == "nvme"):
            return kind
    text = os.fsdecode(name)
    return next((n.rstrip("-") for n in _NAMES if text.startswith(n)), "other")


def _schedulers(text: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Split "none [mq-deadline] bfq" into the one in force and all."""
    words = (text or "").split()
    chosen = next((w[1:-1] for w in words if w.startswith("[") and w.endswith("]")), None)
    # A driver with a single choice shows it without brackets.
    if chosen is None and len(words) == 1:
        chosen = words[0]
    return chosen, tuple(w.strip("[]") for w in words)


def _model(ctx: Context, here: Path) -> str | None:
    """Give vendor and model; a vendor that is only a number says nothing."""
    words = [_word(ctx, here / f) for f in ("vendor", "model")]
    text = " ".join(w for w in words if w and not w.startswith("0x"))
    return text or None


def _array(ctx: Context, here: Path) -> Array:
    """Read how a RAID array is."""
    parts = [n for n in _list(here) if n.startswith("dev-")]
    states = {n: _word(ctx, here / n / "state") for n in parts}
    errors = {n: _number(ctx, here / n / "errors") for n in parts}
    return Array(
        level=_word(ctx, here / "level"),
        disks=_number(ctx, here / "raid_disks"),
        degraded=_number(ctx, here / "degraded"),
        action=_word(ctx, here / "sync_action"),
        progress=parse_progress(ctx.try_read(here / "sync_completed", 128) or b""),
        mismatches=_number(ctx, here / "mismatch_cnt"),
        members={label(n[4:]): s for n, s in states.items() if s is not None},
        members_errors={label(n[4:]): e for n, e in errors.items() if e is not None},
    )


def parse_progress(raw: bytes) -> float | None:
    """
    Read how far an array is with its resynchronization.

    Args:
        raw: Content of sync_completed.

    Returns:
        The share that is done [ratio]; None when nothing is under way.

    Source:
        "done / all" sectors or "none", Documentation/admin-guide/md.rst.

    """
    done, slash, whole = raw.partition(b"/")
    return ratio(natural_or_none(done), natural_or_none(whole)) if slash else None


def _list(directory: Path) -> list[str]:
    """List a directory that may not exist."""
    try:
        return sorted(entry.name for entry in directory.iterdir())
    except OSError:
        return []


def _word(ctx: Context, path: Path) -> str | None:
    """Read a line of text."""
    raw = ctx.try_read(path, 4096)
    return label(b" ".join(raw.split())) if raw and raw.strip() else None


def _number(ctx: Context, path: Path) -> int | None:
    """Read a natural number; "256 (old value)" counts by its first word."""
    words = (ctx.try_read(path, 4096) or b"").split()
    return natural_or_none(words[0]) if words else None


def _flag(ctx: Context, path: Path) -> bool | None:
    """Read 0 or 1."""
    number = _number(ctx, path)
    return None if number is None else number != 0


def _hexadecimal(raw: bytes | None) -> int | None:
    """Read "0x1f"."""
    word = (raw or b"").strip()
    if re.fullmatch(rb"0x[0-9a-f]{1,16}", word) is None:
        return None
    return int(word, 16)
