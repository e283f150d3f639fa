"""Use of the disks."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.model import Facts
from analysis.registry import use
from analysis.use_model import DeviceUse, ErrorCount, ResourceUse
from collectors.disk import Disk, DiskSample
from collectors.model import UNKNOWN, Distribution
from collectors.pressure import PressureSample

MOST_DEVICES = 64
ERROR_KINDS = ("command", "timeout")


@use("disk")
def disk(facts: Facts) -> ResourceUse | None:
    """
    Tell how busy the disks were, how long their queues were and what failed.

    Args:
        facts: What is known of the host.

    Returns:
        Utilization of the busiest disk, the sum of the queues, the share of
        time in which tasks waited for I/O, and errors; None when /proc/diskstats
        is unknown.

    Source:
        /proc/diskstats, /proc/pressure/io; the USE method, Brendan Gregg.

    """
    sample = facts.sample(DiskSample)
    if sample is None:
        return None
    base = [d for d in sample.disks if d.device.in_sums]
    queues = [d.queue_length for d in base if d.queue_length is not None]
    return ResourceUse(
        utilization=_busiest(base),
        saturation={"slots": max((s for d in base if (s := slots(d)) is not None), default=None)},
        queue_length=sum(queues) if queues else None,
        pressure=_pressure(facts),
        errors={k: _sum(_errors(d, k) for d in base) for k in ERROR_KINDS},
        devices={d.name: _device(d) for d in _bounded(sample.disks)},
    )


def slots(disk: Disk) -> float | None:
    """
    Tell how full a disk's request queues were on average.

    Args:
        disk: The disk.

    Returns:
        Outstanding requests by those it takes before callers sleep [ratio].

    Source:
        /sys/block/*/queue/nr_requests (for each hardware queue), Documentation/block/blk-mq.rst.

    """
    if disk.queue_length is None or not disk.device.nr_requests:
        return None
    return disk.queue_length / (disk.device.nr_requests * (disk.device.queues or 1))


def _device(disk: Disk) -> DeviceUse:
    """Tell one disk's use."""
    return DeviceUse(
        utilization=disk.utilization,
        saturation={"slots": slots(disk)},
        queue_length=disk.queue_length,
        errors={k: _errors(disk, k) for k in ERROR_KINDS},
    )


def _busiest(disks: list[Disk]) -> Distribution:
    """Give the utilization of the busiest disk: the one that limits."""
    known = [d.utilization for d in disks if d.utilization.mean is not None]
    return max(known, key=lambda u: u.mean or 0.0, default=UNKNOWN)


def _bounded(disks: tuple[Disk, ...]) -> list[Disk]:
    """Keep the busiest disks, in the kernel's order."""
    ranked = sorted(disks, key=lambda d: -(d.utilization.mean or 0.0))[:MOST_DEVICES]
    names = {d.name for d in ranked}
    return [d for d in disks if d.name in names]


def _errors(disk: Disk, kind: str) -> ErrorCount:
    """Count a disk's errors of one kind."""
    return ErrorCount(disk.errors.get(kind), disk.errors_increase.get(kind))


def _sum(counts: Iterable[ErrorCount]) -> ErrorCount:
    """Add the known counts."""
    counts = tuple(counts)
    totals = [c.total for c in counts if c.total is not None]
    increases = [c.increase for c in counts if c.increase is not None]
    return ErrorCount(sum(totals) if totals else None, sum(increases) if increases else None)


def _pressure(facts: Facts) -> dict[str, float | None]:
    """Give the share of time in which tasks waited for I/O."""
    sample = facts.sample(PressureSample)
    if sample is None or sample.io is None:
        return {"some": None, "full": None}
    return {"some": sample.io.some.mean, "full": sample.io.full.mean}
