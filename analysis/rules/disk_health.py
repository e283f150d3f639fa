"""Rules on the disks' health: stuck, failing, or without redundancy."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

from analysis.disks import name_disk
from analysis.model import Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.text import duration
from collectors.disk import Disk, DiskSample

_GONE = frozenset({"offline", "transport-offline", "dead", "deleting", "deleted"})
_WAITING = frozenset({"blocked", "resetting", "connecting", "quiesce"})
# Members an array can lose; of raid10 it depends on which.
_SPARE_MEMBERS = {"raid4": 1, "raid5": 1, "raid6": 2, "raid10": 1}


@rule(
    resource="disk",
    cause="failing_disk",
    kind=Kind.ERRORS,
    unit="s",
    warning=4,
    critical=9,
    source="a healthy disk completes something within a second; the kernel itself gives up on a "
    "command only after 30 s (SCSI and NVMe time-outs)",
    gate="requests outstanding throughout, and none completed",
    explanation="A disk has requests and completes none: it, its cable or its host is stuck.",
    next_steps=("dmesg | tail -50", "cat /sys/block/*/inflight"),
)
def disk_stalled(facts: Facts) -> Signal | None:
    """Watch the longest time in which a disk completed nothing it was asked."""
    return _worst(
        facts,
        lambda d: d.stalled_seconds,
        "s",
        lambda d, v: f"{d.name} completed nothing for {duration(v)} with requests outstanding",
        "/proc/diskstats fields 1, 5, 9",
    )


@rule(
    resource="disk",
    cause="failing_disk",
    kind=Kind.ERRORS,
    unit="errors",
    warning=1,
    critical=50,
    scale=Scale.LOG,
    source="SCSI ioerr_cnt and zram io_stat: any failed command counts; a monitoring tool's "
    "refused commands do too, so it must repeat in a second sweep",
    explanation="Commands to a disk fail.",
    next_steps=("dmesg | grep -iE 'I/O error|medium error'", "smartctl -a on the disk."),
)
def disk_errors(facts: Facts) -> Signal | None:
    """Watch commands that failed within the window."""
    return _worst(
        facts,
        lambda d: d.errors_increase.get("command"),
        "errors",
        lambda d, v: f"{v:.0f} commands to {d.name} failed",
        "/sys/block/*/device/ioerr_cnt, /sys/block/zram*/io_stat",
    )


@rule(
    resource="disk",
    cause="failing_disk",
    kind=Kind.ERRORS,
    unit="time-outs",
    warning=1,
    critical=5,
    scale=Scale.LOG,
    source="SCSI iotmo_cnt: a command that got no answer for 30 s is never ordinary",
    explanation="A disk did not answer commands until the kernel gave up on them.",
    next_steps=("dmesg | tail -50", "Check cable, controller and smartctl -a."),
    at_once=True,
)
def disk_timeouts(facts: Facts) -> Signal | None:
    """Watch commands that timed out within the window."""
    return _worst(
        facts,
        lambda d: d.errors_increase.get("timeout"),
        "time-outs",
        lambda d, v: f"{v:.0f} commands to {d.name} got no answer in time",
        "/sys/block/*/device/iotmo_cnt",
    )


@rule(
    resource="disk",
    cause="failing_disk",
    kind=Kind.ERRORS,
    unit="state",
    warning=1,
    critical=2,
    source="drivers/scsi/scsi_sysfs.c and drivers/nvme/host/sysfs.c: 2 is gone (offline, dead), "
    "1 is being recovered (blocked, resetting)",
    explanation="The driver gave a disk up, or is trying to get it back.",
    next_steps=("dmesg | tail -50", "cat /sys/block/*/device/state"),
)
def disk_state(facts: Facts) -> Signal | None:
    """Watch what the drivers say of their disks."""
    return _worst(
        facts,
        lambda d: _severity(d.device.state),
        "state",
        lambda d, _: f"The driver says that {d.name} is {d.device.state}",
        "/sys/block/*/device/state",
    )


@rule(
    resource="disk",
    cause="degraded_array",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.05,
    critical=1,
    source="node-mixin NodeRAIDDegraded; md(4): 1 is when the next failure loses data",
    explanation="A RAID array lacks members: the redundancy it was built for is reduced or gone.",
    next_steps=("cat /proc/mdstat", "mdadm --detail on the array; replace the failed member."),
)
def md_degraded(facts: Facts) -> Signal | None:
    """Watch how much of their redundancy the RAID arrays have lost."""
    return _worst(
        facts,
        _lost_redundancy,
        "ratio",
        _array_message,
        "/sys/block/md*/md/degraded",
    )


def _worst(
    facts: Facts,
    level: Callable[[Disk], float | None],
    unit: str,
    message: Callable[[Disk, float], str],
    source: str,
) -> Signal | None:
    """Look at the disk of the highest level."""
    sample = facts.sample(DiskSample)
    levels = [(d, level(d)) for d in (sample.disks if sample else ())]
    known = [(d, float(v)) for d, v in levels if v is not None]
    if not known:
        return None
    disk, value = max(known, key=itemgetter(1))
    return Signal(
        value=value,
        message=message(disk, value),
        subject=disk.name if value else None,
        evidence=(Evidence(disk.name, value, unit, source),),
        culprits=(name_disk(disk, value, unit),) if value else (),
    )


def _severity(state: str | None) -> float | None:
    """Rate a driver's word on its disk."""
    if state is None:
        return None
    return 2.0 if state in _GONE else 1.0 if state in _WAITING else 0.0


def _lost_redundancy(disk: Disk) -> float | None:
    """Give missing members by those the array can lose, at most 1; None for no redundancy."""
    array = disk.device.array
    if array is None or array.degraded is None:
        return None
    spare = _SPARE_MEMBERS.get(array.level or "", (array.disks or 2) - 1)
    return min(array.degraded / max(spare, 1), 1.0)


def _array_message(disk: Disk, _: float) -> str:
    """Tell what an array lacks."""
    array = disk.device.array
    if array is None or not array.degraded:
        return "No array lacks a member"
    doing = f"; it does: {array.action}" if array.action not in (None, "idle") else ""
    return f"{disk.name} ({array.level}) lacks {array.degraded} of {array.disks} members{doing}"
