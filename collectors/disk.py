"""Block devices: operations, bytes, latency, queue and busy time of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collectors.base import Context, collector
from collectors.memory import parse_choice
from collectors.model import UNKNOWN, Cause, Distribution, Unavailable
from collectors.rates import Track, ratio
from collectors.text import label, natural, natural_or_none

SECTOR = 512
_MILLISECONDS = 1000.0
_FIELDS = 11  # of all kernels since 2.6; discards came with 4.18, flushes with 5.5
# name -> (operations, merges, sectors, milliseconds) as places in a row; None: not counted
_OPERATIONS: Mapping[str, tuple[int, int | None, int | None, int]] = {
    "read": (0, 1, 2, 3),
    "write": (4, 5, 6, 7),
    "discard": (11, 12, 13, 14),
    "flush": (15, None, None, 16),
}
_IN_FLIGHT, _BUSY, _WEIGHTED = 8, 9, 10


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One kind of operation on a device.

    Attributes:
        per_second: Completed [1/s].
        bytes_per_second: Moved [bytes/s]; None for flushes.
        merges_per_second: Merged into another request [1/s]; None for flushes.
        latency_seconds: Mean from submission to completion [s]; None without any operation.

    """

    per_second: float | None
    bytes_per_second: float | None = None
    merges_per_second: float | None = None
    latency_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """
    One block device.

    Attributes:
        name: As the kernel calls it.
        kind: virtio, nvme, scsi, mmc, zram, md, dm, loop or other, from name and driver.
        stacked: Whether it stands on other block devices, whose work it counts again.
        rotational: As the device tells, which for virtual disks means nothing; None unknown.
        scheduler: The I/O scheduler in force.
        queue_depth: Requests the queue can hold.
        read_ahead_bytes: What is read beyond what was asked for [bytes].
        write_cache: "write back" or "write through".
        size_bytes: Its size [bytes].
        model: As the device tells.
        operations: read, write, discard and flush; what the kernel does not count is left out.
        utilization: Share of time with at least one request in flight [ratio].
        queue_length: Mean requests in flight.
        in_flight: Requests in flight at the last reading.
        io_errors: Errors since it appeared, where its driver counts them (SCSI, zram).
        io_errors_increase: The same in the window.
        degraded: Missing members of an md array; None for others.

    """

    name: str
    kind: str
    stacked: bool
    rotational: bool | None
    scheduler: str | None
    queue_depth: int | None
    read_ahead_bytes: int | None
    write_cache: str | None
    size_bytes: int | None
    model: str | None
    operations: Mapping[str, Operation]
    utilization: Distribution = UNKNOWN
    queue_length: float | None = None
    in_flight: int | None = None
    io_errors: int | None = None
    io_errors_increase: int | None = None
    degraded: int | None = None


@dataclass(frozen=True, slots=True)
class DiskSample:
    """
    All block devices.

    Attributes:
        window_seconds: Observed time [s].
        devices: Name to device; partitions and never-used loop and RAM disks left out.

    """

    window_seconds: float
    devices: Mapping[str, Device] = field(default_factory=dict)


Key = tuple[str, str]


def parse(raw: bytes) -> dict[Key, tuple[int, ...]]:
    """
    Parse the table of block devices.

    Args:
        raw: Content of /proc/diskstats.

    Returns:
        dict ("major:minor", name) -> its counters, eleven or more.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        /proc/diskstats, Documentation/admin-guide/iostats.rst.

    """
    table: dict[Key, tuple[int, ...]] = {}
    for line in raw.split(b"\n"):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < _FIELDS + 3:
            raise ValueError(f"not a block device: {line[:40]!r}")
        number = f"{natural(fields[0])}:{natural(fields[1])}"
        table[number, label(fields[2])] = tuple(map(natural, fields[3:]))
    return table


@collector(category="disk", essential=True)
def collect(ctx: Context) -> DiskSample:
    """
    Follow the counters of all whole devices through the window.

    Args:
        ctx: Paths and window; memory keeps what sysfs says of a device for good.

    Returns:
        The devices. One that was replaced by another of its name is unknown
        for the window: the device number and the kernel's disk sequence number
        tell them apart.

    Raises:
        Unavailable: When the kernel has no block layer or the table is unreadable.

    Source:
        /proc/diskstats at every sample; /sys/block/NAME once.

    """
    rows: list[tuple[float, dict[Key, tuple[int, ...]]]] = []
    before: dict[Key, _Told] = {}
    for at in ctx.ticks():
        table = parse(ctx.read(ctx.paths.proc / "diskstats"))
        if not rows:
            before = {k: _told(ctx, k) for k in table if _matters(ctx, k, table[k])}
        rows.append((at, table))
    last = rows[-1][1]
    wanted = [k for k in last if k in before or _matters(ctx, k, last[k])]
    if not wanted:
        raise Unavailable("no block device", Cause.ABSENT)
    after = {k: _told(ctx, k) for k in wanted}
    devices = {k[1]: _device(ctx, k, rows, before.get(k), after[k]) for k in wanted}
    return DiskSample(rows[-1][0] - rows[0][0], devices)


def _matters(ctx: Context, key: Key, counters: tuple[int, ...]) -> bool:
    """Leave out partitions, and loop and memory disks that never did anything."""
    name = key[1]
    if name.startswith(("loop", "ram", "zram", "fd")) and not any(counters):
        return False
    parts = ctx.memory.setdefault("partitions", {})
    if key not in parts:
        parts[key] = (_sysfs(ctx, name, "class/block") / "partition").exists()
    return not parts[key]


def _sysfs(ctx: Context, name: str, where: str = "block") -> Path:
    """Give a device's folder; the kernel writes a slash in a name as an exclamation mark."""
    return ctx.paths.sys / where / name.replace("/", "!")


@dataclass(frozen=True, slots=True)
class _Told:
    """What sysfs tells of a device that may change: who it is, and its errors."""

    sequence: bytes | None
    errors: int | None


def _told(ctx: Context, key: Key) -> _Told:
    """Read what may change."""
    folder = _sysfs(ctx, key[1])
    sequence = ctx.try_read(folder / "diskseq", limit=64)
    if key[1].startswith("zram"):
        fields = (ctx.try_read(folder / "io_stat", limit=256) or b"").split()
        known = [natural_or_none(f) for f in fields[:2]]
        return _Told(sequence, None if not known or None in known else sum(k or 0 for k in known))
    if not key[1].startswith("sd"):
        return _Told(sequence, None)
    raw = (ctx.try_read(folder / "device/ioerr_cnt", limit=64) or b"").strip()
    digits = raw[2:] if raw.startswith(b"0x") else b""
    try:
        return _Told(sequence, int(digits, 16) if digits.isalnum() else None)
    except ValueError:
        return _Told(sequence, None)


def _device(
    ctx: Context,
    key: Key,
    rows: list[tuple[float, dict[Key, tuple[int, ...]]]],
    before: _Told | None,
    after: _Told,
) -> Device:
    """Describe a device over the window."""
    track: Track[int] = Track()
    for at, table in rows:
        if key in table:
            track.add(at, dict(enumerate(table[key])))
    if before is None or before.sequence != after.sequence or len(track.rows) < len(rows):
        # Another device than at the window's beginning: its counters say nothing of it.
        track.rows, track.times = track.rows[-1:], track.times[-1:]
    width = len(rows[-1][1][key])
    kinds = {n: p for n, p in _OPERATIONS.items() if p[3] < width}
    weighted = track.rate(_WEIGHTED).mean
    errors = (before.errors if before else None, after.errors)
    return Device(
        name=key[1],
        operations={n: _operation(track, places) for n, places in kinds.items()},
        utilization=_busy(track.rate(_BUSY)),
        queue_length=None if weighted is None else weighted / _MILLISECONDS,
        in_flight=track.last(_IN_FLIGHT),
        io_errors=after.errors,
        io_errors_increase=_increase(*errors),
        degraded=natural_or_none(ctx.try_read(_sysfs(ctx, key[1]) / "md/degraded"))
        if key[1].startswith("md")
        else None,
        **_fixed(ctx, key),
    )


def _increase(old: int | None, new: int | None) -> int | None:
    """Give the increase of an error counter."""
    return None if old is None or new is None or new < old else new - old


def _operation(track: Track[int], places: tuple[int, int | None, int | None, int]) -> Operation:
    """Describe one kind of operation; its latency is its own, not the queue's."""
    count, merges, sectors, spent = places
    done, milliseconds = track.increase(count), track.increase(spent)
    moved = None if sectors is None else track.rate(sectors).mean
    latency = ratio(milliseconds, done)
    return Operation(
        per_second=track.rate(count).mean,
        bytes_per_second=None if moved is None else moved * SECTOR,
        merges_per_second=None if merges is None else track.rate(merges).mean,
        latency_seconds=None if latency is None else latency / _MILLISECONDS,
    )


def _busy(spent: Distribution) -> Distribution:
    """Turn busy milliseconds per second into a share; the kernel rounds to whole ticks."""
    if spent.mean is None or spent.peak is None:
        return UNKNOWN
    samples = tuple(min(s / _MILLISECONDS, 1.0) for s in spent.samples)
    return Distribution(min(spent.mean / _MILLISECONDS, 1.0), max(samples), samples)


def _fixed(ctx: Context, key: Key) -> dict[str, Any]:
    """Read what sysfs says of a device, once for the same device."""
    known: dict[Key, dict[str, Any]] = ctx.memory.setdefault("fixed", {})
    if key not in known:
        known[key] = _describe(ctx, key[1])
    return known[key]


def _describe(ctx: Context, name: str) -> dict[str, Any]:
    """Read a device's nature and settings."""
    folder = _sysfs(ctx, name)
    rotational = natural_or_none(ctx.try_read(folder / "queue/rotational"))
    ahead = natural_or_none(ctx.try_read(folder / "queue/read_ahead_kb"))
    size = natural_or_none(ctx.try_read(folder / "size"))
    scheduler = ctx.try_read(folder / "queue/scheduler")
    cache = ctx.try_read(folder / "queue/write_cache")
    model = ctx.try_read(folder / "device/model")
    members = folder / "slaves"
    return {
        "kind": kind(name),
        "stacked": members.is_dir() and any(members.iterdir()),
        "rotational": None if rotational is None else bool(rotational),
        "scheduler": None if scheduler is None else parse_choice(scheduler) or "none",
        "queue_depth": natural_or_none(ctx.try_read(folder / "queue/nr_requests")),
        "read_ahead_bytes": None if ahead is None else ahead * 1024,
        "write_cache": None if cache is None else label(cache.strip()),
        "size_bytes": None if size is None else size * SECTOR,
        "model": None if model is None else label(model.strip()),
    }


_KINDS = {
    "vd": "virtio", "xvd": "virtio", "nvme": "nvme", "sd": "scsi", "sr": "scsi", "mmcblk": "mmc",
    "zram": "zram", "md": "md", "dm-": "dm", "loop": "loop", "nbd": "network", "rbd": "network",
    "drbd": "network", "pmem": "pmem", "ram": "ram", "hd": "ata",
}  # fmt: skip


def kind(name: str) -> str:
    """
    Tell what drives a device.

    Args:
        name: As the kernel calls it.

    Returns:
        The driver's family; "other" when the name says nothing.

    Source:
        Documentation/admin-guide/devices.txt.

    """
    return next((k for prefix, k in _KINDS.items() if name.startswith(prefix)), "other")
