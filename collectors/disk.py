"""Disks: what each does per second, how long it takes and how long its queue is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from collectors.base import Context, collector
from collectors.disk_device import NO_ERRORS, Device, ErrorTotals, describe, errors, is_whole
from collectors.model import UNKNOWN, Cause, Distribution, Unavailable
from collectors.rates import Track, delta, distribution, ratio
from collectors.text import label

MOST_DISKS = 256
_NONE = "/proc/diskstats names no disk in use: this host has none"
_SPARE = (b"loop", b"ram")
_SECTOR = 512
_MILLISECONDS = 1e3
# Numbers after the name: since 2.6 eleven, with discards (4.18) fifteen, with
# flushes (5.5) seventeen; a later kernel may add more.
_OLDEST, _DISCARDS, _FLUSHES = 11, 15, 17
_READ, _WRITE, _DISCARD, _FLUSH = 0, 4, 11, 15
_IN_FLIGHT, _BUSY, _WEIGHTED = 8, 9, 10


class Key(NamedTuple):
    """What tells a disk from another that takes its name."""

    number: bytes
    name: bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One kind of request to a disk.

    Attributes:
        per_second: Completed requests [1/s].
        bytes_per_second: Bytes moved [bytes/s]; None for flushes, which move none.
        merged_per_second: Requests merged into others before they were sent [1/s].
        latency: Mean time from queueing to completion [s]; None when there was none.

    """

    per_second: float | None = None
    bytes_per_second: float | None = None
    merged_per_second: float | None = None
    latency: float | None = None


NO_OPERATION = Operation()


@dataclass(frozen=True, slots=True)
class Disk:
    """
    One whole block device.

    Attributes:
        name: The kernel's name.
        device: What it is and how it is set.
        read: Reads.
        write: Writes.
        discard: Discards (trims); all unknown before kernel 4.18.
        flush: Cache flushes; all unknown before kernel 5.5.
        in_flight: Requests the device had at each instant.
        queue_length: Mean number of outstanding requests, by Little's law.
        utilization: Share of time with at least one request outstanding [ratio].
        stalled_seconds: Longest time with requests outstanding and none completed [s].
        errors: Error kind ("command", "timeout") to its count since the device appeared.
        errors_increase: The same within the window.

    """

    name: str
    device: Device
    read: Operation = NO_OPERATION
    write: Operation = NO_OPERATION
    discard: Operation = NO_OPERATION
    flush: Operation = NO_OPERATION
    in_flight: Distribution = UNKNOWN
    queue_length: float | None = None
    utilization: Distribution = UNKNOWN
    stalled_seconds: float | None = None
    errors: Mapping[str, int | None] = field(default_factory=dict)
    errors_increase: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DiskSample:
    """
    All disks of the host.

    Attributes:
        window_seconds: Observed time [s].
        disks: In the kernel's order, 256 at most.
        left_out: Disks beyond that number.
        reads_per_second: Of all disks that are no stack on others and not in memory [1/s].
        writes_per_second: The same for writes [1/s].
        read_bytes_per_second: The same in bytes read [bytes/s].
        write_bytes_per_second: The same in bytes written [bytes/s].

    """

    window_seconds: float
    disks: tuple[Disk, ...]
    left_out: int = 0
    reads_per_second: float | None = None
    writes_per_second: float | None = None
    read_bytes_per_second: float | None = None
    write_bytes_per_second: float | None = None


def parse(raw: bytes, wanted: frozenset[bytes] | None = None) -> dict[Key, tuple[int, ...]]:
    """
    Parse the statistics of block devices.

    Args:
        raw: Content of `/proc/diskstats`.
        wanted: Names to keep; None keeps all.

    Returns:
        dict device -> its numbers as the kernel orders them.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        Documentation/admin-guide/iostats.rst.

    """
    table: dict[Key, tuple[int, ...]] = {}
    for line in raw.splitlines():
        fields = line.split()
        if not fields or (wanted is not None and len(fields) > 2 and fields[2] not in wanted):  # noqa: PLR2004
            continue
        # isdigit() on bytes accepts ASCII digits alone.
        if len(fields) < 3 + _OLDEST or not b"".join(fields[3:]).isdigit():
            raise ValueError(f"not a line of diskstats: {line[:80]!r}")
        table[Key(fields[0] + b":" + fields[1], fields[2])] = tuple(map(int, fields[3:]))
    return table


@collector(category="disk", essential=True)
def collect(ctx: Context) -> DiskSample:
    """
    Follow the counters of all whole disks through the window.

    Args:
        ctx: Paths and window.

    Returns:
        The disks, with rates over the window.

    Raises:
        Unavailable: When there is no disk, or its counters cannot be read.

    Source:
        /proc/diskstats, Documentation/admin-guide/iostats.rst; /sys/block/*/queue,
        Documentation/ABI/stable/sysfs-block.

    """
    wanted = _wanted(ctx, parse(ctx.read(ctx.paths.proc / "diskstats")))
    before = _errors(ctx, wanted)
    times: list[float] = []
    rows: list[dict[Key, tuple[int, ...]]] = []
    for at in ctx.ticks():
        rows.append(parse(ctx.read(ctx.paths.proc / "diskstats"), wanted))
        times.append(at)
    after = _errors(ctx, wanted)
    keys = [k for k in rows[-1] if _in_use(k, rows)]
    disks = tuple(
        _disk(k, describe(ctx, k.name), times, [r.get(k) for r in rows], before, after)
        for k in keys[:MOST_DISKS]
    )
    present = tuple(d for d in disks if d.device.size_bytes != 0)
    if not present:
        raise Unavailable(_NONE, Cause.ABSENT)
    return _sample(times[-1] - times[0], present, len(keys) - len(keys[:MOST_DISKS]))


def _wanted(ctx: Context, table: Mapping[Key, tuple[int, ...]]) -> frozenset[bytes]:
    """Choose the whole devices."""
    names = {k.name for k in table}
    # Loop and RAM devices stand ready by the dozen; one that never did anything is no disk.
    used = (k.name for k, row in table.items() if any(row) or not k.name.startswith(_SPARE))
    wanted = frozenset(n for n in used if is_whole(ctx, n, names))
    if not wanted:
        raise Unavailable(_NONE, Cause.ABSENT)
    return wanted


def _in_use(key: Key, rows: list[dict[Key, tuple[int, ...]]]) -> bool:
    """Tell whether a device is worth showing: loop and RAM devices only when they did something."""
    if not key.name.startswith(_SPARE):
        return True
    return key in rows[0] and rows[0][key] != rows[-1][key]


def _errors(ctx: Context, names: Iterable[bytes]) -> dict[bytes, ErrorTotals]:
    """Read every device's error counters and sequence number."""
    return {n: errors(ctx, n) for n in names}


def _disk(
    key: Key,
    device: Device,
    times: list[float],
    rows: list[tuple[int, ...] | None],
    before: Mapping[bytes, ErrorTotals],
    after: Mapping[bytes, ErrorTotals],
) -> Disk:
    """Turn a device's counters into rates."""
    old, new = before.get(key.name, NO_ERRORS), after.get(key.name, NO_ERRORS)
    name, totals = label(key.name), new.counts()
    known = [r for r in rows if r is not None]
    # A disk that came within the window, or took the name of another, has no past.
    if len(known) != len(rows) or len(known) < 2 or old.sequence != new.sequence:  # noqa: PLR2004
        return Disk(name, device, errors=totals, errors_increase=dict.fromkeys(totals))
    seconds, earlier = times[-1] - times[0], old.counts()
    first, last = known[0], known[-1]
    change = _changes(known)
    weighted = ratio(change[_WEIGHTED], seconds)
    return Disk(
        name=name,
        device=device,
        read=_operation(change, _READ, seconds),
        write=_operation(change, _WRITE, seconds),
        discard=_operation(change, _DISCARD, seconds) if len(last) >= _DISCARDS else NO_OPERATION,
        flush=_flush(change, seconds) if min(len(first), len(last)) >= _FLUSHES else NO_OPERATION,
        in_flight=distribution([float(r[_IN_FLIGHT]) for r in known]),
        queue_length=None if weighted is None else weighted / _MILLISECONDS,
        utilization=_utilization(times, known),
        stalled_seconds=_stalled(times, known),
        errors=totals,
        errors_increase={k: delta(earlier[k], totals[k]) for k in totals},
    )


def _changes(rows: list[tuple[int, ...]]) -> list[int | None]:
    """Give each counter's increase over all readings; None when it went back between any two."""
    width = min(len(r) for r in rows)
    return [
        None if any(b[i] < a[i] for a, b in pairwise(rows)) else rows[-1][i] - rows[0][i]
        for i in range(width)
    ]


def _operation(change: list[int | None], at: int, seconds: float) -> Operation:
    """Read one operation's four numbers: requests, merges, sectors, milliseconds."""
    done, merged, sectors, spent = change[at : at + 4]
    moved = ratio(sectors, seconds)
    return Operation(
        per_second=ratio(done, seconds),
        bytes_per_second=None if moved is None else moved * _SECTOR,
        merged_per_second=ratio(merged, seconds),
        latency=_latency(spent, done),
    )


def _flush(change: list[int | None], seconds: float) -> Operation:
    """Read the flushes, which have only requests and milliseconds."""
    done, spent = change[_FLUSH : _FLUSH + 2]
    return Operation(per_second=ratio(done, seconds), latency=_latency(spent, done))


def _latency(spent: int | None, done: int | None) -> float | None:
    """Give the mean time of the operation's own requests [s]."""
    mean = ratio(spent, done)
    return None if mean is None else mean / _MILLISECONDS


def _utilization(times: list[float], rows: list[tuple[int, ...]]) -> Distribution:
    """Give the busy share of each interval and of the window."""
    track: Track[int] = Track()
    for at, row in zip(times, rows, strict=True):
        track.add(at, {_BUSY: row[_BUSY]})
    busy = track.rate(_BUSY)
    if busy.mean is None:
        return UNKNOWN
    # The kernel counts in whole ticks, so a full interval can come out a little above 1.
    shares = tuple(min(s / _MILLISECONDS, 1.0) for s in busy.samples)
    return distribution(shares, mean=min(busy.mean / _MILLISECONDS, 1.0))


def _stalled(times: list[float], rows: list[tuple[int, ...]]) -> float:
    """Give the longest time in which requests were outstanding and none was completed [s]."""
    longest = current = 0.0
    readings = list(zip(times, rows, strict=True))
    for (start, old), (end, new) in pairwise(readings):
        stuck = old[_IN_FLIGHT] > 0 and new[_IN_FLIGHT] > 0 and _completed(old) == _completed(new)
        current = current + end - start if stuck else 0.0
        longest = max(longest, current)
    return longest


def _completed(row: tuple[int, ...]) -> tuple[int, ...]:
    """Give the completed requests of each operation."""
    return tuple(row[i] for i in (_READ, _WRITE, _DISCARD, _FLUSH) if i < len(row))


def _sample(seconds: float, disks: tuple[Disk, ...], left_out: int) -> DiskSample:
    """Add the sums over the devices that count."""
    base = [d for d in disks if d.device.in_sums]
    return DiskSample(
        window_seconds=seconds,
        disks=disks,
        left_out=left_out,
        reads_per_second=_sum(d.read.per_second for d in base),
        writes_per_second=_sum(d.write.per_second for d in base),
        read_bytes_per_second=_sum(d.read.bytes_per_second for d in base),
        write_bytes_per_second=_sum(d.write.bytes_per_second for d in base),
    )


def _sum(values: Iterable[float | None]) -> float | None:
    """Add the known values; None when there is none."""
    known = [v for v in values if v is not None]
    return sum(known) if known else None
