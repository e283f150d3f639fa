"""Causes that lie in disks and file systems."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from analysis.causes.memory import STORAGE
from analysis.clues import SWAPPING, Question
from analysis.disks import disks, kind_of
from analysis.model import Facts
from analysis.pattern import Clue, Pattern
from collectors.disk import Disk
from collectors.process_sample import ProcessSample

_FULL, _FREE, _IDLE = 0.9, 0.7, 0.1
_FLUSHES = 20.0  # [1/s]: a turning disk has time for hardly more
_SMALL = 16 * 1024.0  # [bytes]
_SEEKS = 50.0  # [1/s]: a turning disk does 80 to 200
_SHIPPERS = ("fluent-bit", "fluentd", "filebeat", "promtail", "vector", "alloy", "rsyslogd",
             "systemd-journal", "logstash", "td-agent")  # fmt: skip
_SLOW = ("io_pressure", "io_stall", "cpu_iowait", "disk_queue", "disk_latency", "block_io_latency")
_BROKEN = (
    "disk_errors", "disk_state", "disk_timeouts", "lost_writes", "storage_log_errors",
    "disk_stalled", "block_errors", "fsync_errors",
)  # fmt: skip
_DIRTY = Clue("writers are held back until pages are written", ("dirty_throttling",))
# What speaks for another cause of slow storage than the disk's own load.
_OTHERS = (
    SWAPPING,
    _DIRTY,
    Clue("a disk reports errors", _BROKEN),
    Clue("page faults wait for storage", ("major_faults",)),
)


def _any(answers: Iterable[bool | None]) -> bool | None:
    """Join answers: one yes is a yes; unknown when no disk can say, or one that cannot might."""
    told = list(answers)
    if any(told):
        return True
    return None if None in told or not told else False


def _some_disk(test: Callable[[Disk], bool | None]) -> Question:
    """Ask of every disk."""
    return lambda facts: _any(map(test, disks(facts)))


def _busier_than(share: float) -> Question:
    """Ask whether a disk had something to do in more than that share of the time."""
    return _some_disk(lambda d: None if (u := d.utilization.mean) is None else u >= share)


def _calm(share: float) -> Question:
    """Ask whether every disk is below that share."""
    busy = _busier_than(share)
    return lambda facts: None if (answer := busy(facts)) is None else not answer


def _flushes(disk: Disk) -> bool | None:
    """Tell whether a disk empties its write cache all the time."""
    return None if disk.flush.per_second is None else disk.flush.per_second >= _FLUSHES


def _turning(test: Callable[[Disk], bool | None]) -> Question:
    """Ask of every disk that is known to turn."""
    return lambda facts: _any(test(d) for d in disks(facts) if kind_of(d, facts) == "rotating")


def _seeks(disk: Disk) -> bool | None:
    """Tell whether small reads make a disk seek."""
    reads, moved = disk.read.per_second, disk.read.bytes_per_second
    if reads is None or moved is None:
        return None
    return reads >= _SEEKS and moved / reads <= _SMALL


def _wrong_scheduler(facts: Facts) -> bool | None:
    """Tell whether a fast disk has a scheduler that was made for turning ones."""
    fast = [d.device.scheduler for d in disks(facts) if kind_of(d, facts) in ("nvme", "flash")]
    return _any(None if name is None else name == "bfq" for name in fast)


def _log_shippers(facts: Facts) -> bool | None:
    """Tell whether a program that carries logs away is among those that move most bytes."""
    sample = facts.sample(ProcessSample)
    return None if sample is None else any(p.comm in _SHIPPERS for p in sample.top_io)


_FLUSHING = Clue("disks empty their write caches all the time", fact=_some_disk(_flushes))

PATTERNS = (
    Pattern(
        "disk_saturated",
        "disk",
        "a disk has more to do than it can",
        seen=Clue("tasks wait for storage", (*_SLOW, "disk_utilization")),
        must=(Clue("a disk is busy all the time", fact=_busier_than(_FULL)),),
        speaks_for=(
            Clue("its requests queue", ("disk_queue", "disk_latency")),
            Clue("tasks lose time on it", ("io_pressure", "io_stall")),
        ),
        speaks_against=(*_OTHERS, _FLUSHING),
        explains=STORAGE,
    ),
    Pattern(
        "slow_disk",
        "disk",
        "storage answers slowly although no disk is busy: a limit, a network or a fault before it",
        seen=Clue("tasks wait for storage", _SLOW),
        must=(Clue("no disk is busy", fact=_calm(_FREE)),),
        speaks_for=(Clue("tasks lose time on it", ("io_pressure", "io_stall")),),
        speaks_against=(*_OTHERS, _FLUSHING),
        explains=STORAGE,
    ),
    Pattern(
        "container_io_limit",
        "container",
        "a group of processes is held back by its own I/O limit or by storage of its own",
        seen=Clue("a group waits while the disks idle", ("container_io_stall",)),
        must=(Clue("no disk is busy", fact=_calm(_FREE)),),
        speaks_against=(*_OTHERS, _FLUSHING),
        explains=("io_pressure", "io_stall", "cpu_iowait"),
    ),
    Pattern(
        "fsync_storm",
        "disk",
        "programs wait until single writes are safe on the disk, over and over",
        seen=Clue("tasks wait for storage", (*_SLOW, "fsync_latency", "disk_utilization")),
        must=(_FLUSHING,),
        speaks_for=(
            Clue("fsync takes long", ("fsync_latency",)),
            Clue("the disk turns", fact=_turning(lambda _: True)),
        ),
        speaks_against=(SWAPPING, _DIRTY),
        explains=(*STORAGE, "fsync_latency"),
    ),
    Pattern(
        "writeback_storm",
        "disk",
        "more is written than the disks take, so writers are held back",
        seen=_DIRTY,
        speaks_for=(Clue("tasks wait for storage", _SLOW),),
        speaks_against=(SWAPPING,),
        explains=STORAGE,
    ),
    Pattern(
        "random_reads",
        "disk",
        "small reads all over a turning disk keep it seeking",
        seen=Clue("tasks wait for storage", _SLOW),
        must=(Clue("a turning disk serves many small reads", fact=_turning(_seeks)),),
        speaks_against=(SWAPPING,),
        explains=STORAGE,
    ),
    Pattern(
        "wrong_scheduler",
        "disk",
        "a fast disk is slowed by a scheduler made for turning ones",
        seen=Clue("requests take long", ("disk_latency", "disk_queue", "block_io_latency")),
        must=(Clue("a fast disk uses bfq", fact=_wrong_scheduler),),
        explains=("io_pressure", "io_stall", "cpu_iowait"),
    ),
    Pattern(
        "logs_fight_for_disk",
        "disk",
        "who writes logs and who carries them away are in each other's way on one disk",
        seen=Clue("tasks wait for storage", _SLOW),
        must=(Clue("a log shipper is among those that move most", fact=_log_shippers),),
        speaks_for=(_DIRTY,),
        speaks_against=(SWAPPING,),
        explains=STORAGE,
    ),
    Pattern(
        "failing_disk",
        "disk",
        "a disk is failing",
        seen=Clue("a disk reports errors", _BROKEN),
        explains=(
            *STORAGE,
            "filesystem_errors",
            "filesystem_log_errors",
            "filesystem_readonly",
            "md_degraded",
        ),
    ),
    Pattern(
        "degraded_array",
        "disk",
        "an array has lost disks, and the next failure loses data",
        seen=Clue("disks are missing in an array", ("md_degraded",)),
        explains=("io_pressure", "disk_latency"),
    ),
    Pattern(
        "filesystem_full",
        "filesystem",
        "a file system is nearly full",
        seen=Clue("hardly any room is left", ("filesystem_space", "filesystem_fill_time")),
    ),
    Pattern(
        "inodes_full",
        "filesystem",
        "a file system can hardly take another file, whatever its room",
        seen=Clue("hardly any inodes are left", ("filesystem_inodes",)),
    ),
    Pattern(
        "filesystem_damaged",
        "filesystem",
        "a file system is damaged",
        seen=Clue(
            "errors or a flip to read-only",
            ("filesystem_errors", "filesystem_log_errors", "filesystem_readonly"),
        ),
    ),
    Pattern(
        "filesystem_hung",
        "filesystem",
        "a mounted file system does not answer: its server, process or device is gone",
        seen=Clue("a mount does not answer", ("filesystem_hung", "filesystem_broken")),
        explains=("blocked_tasks", "hung_tasks", "io_pressure", "io_stall", "cpu_iowait"),
    ),
    Pattern(
        "frozen_storage",
        "kernel",
        "tasks hang in the kernel although no disk is at work",
        seen=Clue("tasks do not run at all", ("blocked_tasks", "hung_tasks")),
        must=(Clue("no disk is at work", fact=_calm(_IDLE)),),
        speaks_against=(Clue("a mount does not answer", ("filesystem_hung", "filesystem_broken")),),
        explains=("io_pressure", "io_stall", "cpu_iowait"),
    ),
)
