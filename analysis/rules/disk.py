"""Rules on the disks' load: busy, queueing, slow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

from analysis.advice import investigate
from analysis.culprits import by_io, leaders, names, pids
from analysis.disks import BLOCKED_GATE, disks, kind_of, name_disk
from analysis.model import Culprit, Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.text import duration, percent
from analysis.use.disk import slots
from collectors.cpu import CpuSample
from collectors.disk import Disk, Operation
from collectors.model import Distribution
from collectors.pressure import PressureSample

# From here a device that works on many requests at once is busy as a whole, not
# only never idle; one head is busy with two.
_PARALLEL_QUEUE, _SINGLE_QUEUE = 8.0, 2.0
# Larger requests are streams, for which throughput counts and not latency.
_STREAM = 256 << 10
_LEAST_RATE, _LEAST_FLUSHES = 10.0, 1.0
# Mean latency that is ordinary at most, by what the device says it is [s]:
# random access of a turning disk takes 5 to 15 ms, of flash 0.1 ms, and what
# hangs on a network or a hypervisor is promised within single milliseconds.
ORDINARY = {"rotating": 0.050, "nvme": 0.005, "flash": 0.010, "virtual": 0.020}
# A flush empties the device's cache, which takes many writes' time.
_FLUSH_FACTOR = 5.0
_PLURAL = {"read": "Reads", "write": "Writes", "flush": "Flushes"}


def _find_reader(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """Advise to look at who uses the disks."""
    guilty = leaders(by_io(facts))
    if guilty:
        yield investigate(
            "disk:consumers",
            resource="disk",
            rule="disk_latency",
            title=f"Ask whether {names(guilty)} should run now, and on this disk",
            why="They move most bytes while others wait for the disk; limiting or rescheduling "
            "them gives the disk back at once.",
            commands=(f"ps -o pid,ppid,user,lstart,stat,comm -p {pids(guilty)}", "iostat -dxy 1 5"),
            evidence=signal.evidence,
        )


def _advise_latency(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """Advise on the culprits and, for a disk of this host's own, on the scheduler."""
    yield from _find_reader(facts, signal)
    for disk in disks(facts):
        if disk.name == signal.subject:
            yield from _scheduler(disk, kind_of(disk, facts), signal)


def _scheduler(disk: Disk, kind: str, signal: Signal) -> Iterable[Recommendation]:
    """Advise another scheduler where the one in force does not fit what the disk is."""
    now, choices = disk.device.scheduler, disk.device.schedulers
    wanted = {"rotating": "mq-deadline", "flash": "mq-deadline", "nvme": "none"}.get(kind)
    unfit = {"rotating": ("none",), "flash": ("bfq",), "nvme": ("bfq",)}.get(kind, ())
    if wanted is None or now not in unfit or wanted not in choices:
        return
    file = f"/sys/block/{disk.name}/queue/scheduler"
    udev = f"/etc/udev/rules.d/60-sysdx-{disk.name}.rules"
    match = f'ACTION=="add|change", KERNEL=="{disk.name}", ATTR{{queue/scheduler}}="{wanted}"'
    yield Recommendation(
        id=f"disk:scheduler:{disk.name}",
        kind="tune",
        resource="disk",
        title=f"Set the I/O scheduler of {disk.name} from {now} to {wanted}",
        why="A turning disk needs requests sorted and none starved."
        if kind == "rotating"
        else "bfq spends a lock and CPU time on each request, which fast storage does not need.",
        risk="bfq's fairness between groups is lost" if now == "bfq" else "none known",
        commands=(f"echo {wanted} > {file}",),
        persistent=(f"echo '{match}' > {udev}",),
        undo=(f"echo {now} > {file}", f"rm -f {udev}"),
        evidence=signal.evidence,
        source="Documentation/block/switching-sched.rst, Documentation/block/bfq-iosched.rst",
        addresses="disk_latency",
        current=now,
        proposed=wanted,
        scope="persistent",
    )


@rule(
    resource="disk",
    cause="slow_storage",
    kind=Kind.UTILIZATION,
    unit="ratio",
    warning=0.95,
    critical=None,
    source="the USE method, Brendan Gregg; iostat(1): for devices that serve requests in "
    "parallel (RAID arrays and modern SSDs) this does not show their limit",
    gate="at least 2 requests outstanding on average, 8 where the device serves many at once",
    explanation="A disk was never idle and had a queue: more load will only wait longer.",
    next_steps=("See whether it hurts: disk_latency and io_pressure.",),
)
def disk_utilization(facts: Facts) -> Signal | None:
    """Watch the share of time in which the busiest disk had requests outstanding."""
    told = [d for d in disks(facts) if d.queue_length is not None]
    known = [(d, u) for d in told if (u := d.utilization.mean) is not None]
    if not known:
        return None
    queued = [(d, u) for d, u in known if _has_queue(d, facts)]
    disk, busy = max(queued or known, key=itemgetter(1))
    name, queue = disk.name, disk.queue_length or 0.0
    return Signal(
        value=busy if queued else 0.0,
        message=f"{name} was busy {percent(busy)} of the time with {queue:.1f} requests",
        subject=name,
        evidence=(
            Evidence("busy", busy, "ratio", f"/proc/diskstats {name} field 10"),
            Evidence("outstanding", queue, "requests", f"/proc/diskstats {name} field 11"),
        ),
        culprits=(name_disk(disk, busy, "ratio"), *by_io(facts)),
    )


@rule(
    resource="disk",
    cause="slow_storage",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.50,
    critical=0.90,
    source="Documentation/ABI/stable/sysfs-block nr_requests: with all slots taken, whoever "
    "asks next sleeps before the disk even hears of it",
    gate="the disk at least 90 % busy",
    explanation="A disk's request queue is nearly full: callers wait for a place in it.",
    next_steps=("Find who fills it; see the culprits.",),
    advise=_find_reader,
)
def disk_queue(facts: Facts) -> Signal | None:
    """Watch how full the request queues of the disks were on average."""
    known = [(d, s) for d in disks(facts) if (s := slots(d)) is not None]
    if not known:
        return None
    disk, full = max(known, key=itemgetter(1))
    busy = disk.utilization.mean
    return Signal(
        value=full if busy is None or busy >= 0.9 else 0.0,  # noqa: PLR2004
        message=f"{disk.name} had {disk.queue_length:.0f} requests outstanding on average, "
        f"{percent(full)} of its {disk.device.nr_requests} slots",
        subject=disk.name,
        evidence=(
            Evidence("outstanding", disk.queue_length, "requests", "/proc/diskstats field 11"),
            Evidence("busy", busy, "ratio", "/proc/diskstats field 10"),
        ),
        culprits=(name_disk(disk, disk.queue_length, "requests"), *by_io(facts)),
    )


@rule(
    resource="disk",
    cause="slow_storage",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.30,
    critical=0.70,
    source="Documentation/accounting/psi.rst for the meaning; one job that reads all the time "
    "stalls in most of it by itself, so several must wait",
    gate="at least 1.5 tasks blocked on average",
    explanation="Tasks wait for storage instead of working.",
    next_steps=("iostat -xz 1 5", "pidstat -d -p PID 1 5"),
    advise=_find_reader,
)
def io_pressure(facts: Facts) -> Signal | None:
    """Watch the share of time in which at least one task waited for I/O."""
    return _pressure(facts, "some", "Some task waited for I/O in {} of the time")


@rule(
    resource="disk",
    cause="slow_storage",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.20,
    critical=0.50,
    source="Documentation/accounting/psi.rst: time in which no task made progress is lost to "
    "the host",
    gate="at least 1.5 tasks blocked on average",
    explanation="At times every task with something to do waited for storage.",
    next_steps=("iostat -xz 1 5", "pidstat -d -p PID 1 5"),
    advise=_find_reader,
)
def io_stall(facts: Facts) -> Signal | None:
    """Watch the share of time in which all non-idle tasks waited for I/O at once."""
    return _pressure(facts, "full", "All tasks with work to do waited for I/O in {} of the time")


@dataclass(frozen=True, slots=True)
class _Slow:
    """An operation and how far its latency is beyond the ordinary."""

    disk: Disk
    name: str
    operation: Operation
    kind: str
    times: float


@rule(
    resource="disk",
    cause="slow_storage",
    kind=Kind.SATURATION,
    unit="times ordinary",
    warning=1.0,
    critical=5.0,
    scale=Scale.LOG,
    source="ordinary is at most 5 ms for NVMe, 10 ms for other flash, 20 ms for virtual and "
    "network disks, 50 ms for rotating ones (seek and half a turn are 10 to 15 ms), and five "
    "times that for flushes; Systems Performance, Brendan Gregg, chapter 9",
    gate="10 requests of that operation per second (1 flush), of 256 KiB at most on average",
    explanation="Requests to a disk take longer than such a disk needs: it is overloaded, "
    "throttled or failing.",
    next_steps=("Look at its queue and at who fills it.", "smartctl -a, or ask the provider."),
    advise=_advise_latency,
)
def disk_latency(facts: Facts) -> Signal | None:
    """Watch the mean latency of each operation against what is ordinary for such a disk."""
    if all(d.read.per_second is None for d in disks(facts)):
        return None
    slow = [s for d in disks(facts) for s in _operations(d, facts)]
    if not slow:
        return Signal(0.0, "No disk had enough requests to judge its latency")
    worst = max(slow, key=lambda s: s.times)
    name, took = worst.disk.name, worst.operation.latency
    rate = worst.operation.per_second or 0.0
    return Signal(
        value=worst.times,
        message=f"{_PLURAL[worst.name]} on {name} took {duration(took)} on average over "
        f"{rate:.0f}/s; ordinary for a {worst.kind} disk is up to "
        f"{duration((took or 0.0) / worst.times if worst.times else None)}",
        subject=name,
        evidence=(
            Evidence(f"{worst.name} latency", took, "s", f"/proc/diskstats {name}"),
            Evidence(_PLURAL[worst.name], rate, "1/s", f"/proc/diskstats {name}"),
        ),
        culprits=(name_disk(worst.disk, took, "s"), *by_io(facts)),
    )


def _has_queue(disk: Disk, facts: Facts) -> bool:
    """Tell whether a disk had more to do than it does at once."""
    least = _SINGLE_QUEUE if kind_of(disk, facts) == "rotating" else _PARALLEL_QUEUE
    return disk.queue_length is not None and disk.queue_length >= least


def _operations(disk: Disk, facts: Facts) -> Iterable[_Slow]:
    """Compare the operations that had enough requests with what is ordinary."""
    kind = kind_of(disk, facts)
    limit = ORDINARY[kind]
    for name, operation in (("read", disk.read), ("write", disk.write)):
        rate, moved = operation.per_second, operation.bytes_per_second
        if rate and operation.latency is not None and rate >= _LEAST_RATE:
            if moved is None or moved / rate > _STREAM:
                continue
            yield _Slow(disk, name, operation, kind, operation.latency / limit)
    flush = disk.flush
    if flush.latency is not None and (flush.per_second or 0.0) >= _LEAST_FLUSHES:
        yield _Slow(disk, "flush", flush, kind, flush.latency / (limit * _FLUSH_FACTOR))


def _pressure(facts: Facts, side: str, sentence: str) -> Signal | None:
    """Read one side of the I/O pressure."""
    sample, cpu = facts.sample(PressureSample), facts.sample(CpuSample)
    if sample is None or sample.io is None:
        return None
    spread: Distribution = getattr(sample.io, side)
    if spread.mean is None:
        return None
    blocked = cpu.blocked.mean if cpu else None
    gated = blocked is not None and blocked < BLOCKED_GATE
    return Signal(
        value=0.0 if gated else spread.mean,
        message=sentence.format(percent(spread.mean)),
        evidence=(
            Evidence(f"I/O pressure, {side}", spread.mean, "ratio", f"/proc/pressure/io {side}"),
            Evidence("blocked tasks", blocked, "tasks", "/proc/stat procs_blocked"),
        ),
        culprits=(*_busiest(facts), *by_io(facts)),
    )


def _busiest(facts: Facts) -> tuple[Culprit, ...]:
    """Name the busiest disk that did something."""
    known = [(d, u) for d in disks(facts) if (u := d.utilization.mean)]
    if not known:
        return ()
    return (name_disk(*max(known, key=itemgetter(1)), "ratio"),)
