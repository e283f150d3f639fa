"""Rules on what goes on growing: from one sweep to the next, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.text import duration, percent, size
from collectors.filesystem import Filesystem, FilesystemSample
from collectors.memory import MemorySample
from collectors.process_sample import Process, ProcessSample

_HOUR = 3600.0
_SOON = 4 * _HOUR
_NEARLY = 0.80
_GROWTH = 64 << 20  # [bytes] between two sweeps; less is the ordinary coming and going
_SHORTEST = 5.0  # [s] between two sweeps, to speak of a trend
_ENDLESS = 1e6


@dataclass(frozen=True, slots=True)
class _Growth:
    """
    Something that has grown since the sweep before.

    Attributes:
        name: What.
        grown: By how much [bytes].
        seconds: In which time [s].
        left: What it has left to grow into [bytes].

    """

    name: str
    grown: float
    seconds: float
    left: float

    @property
    def until_full(self) -> float:
        """Time until nothing is left, if it goes on like this [s]."""
        return min(self.left * self.seconds / self.grown, _ENDLESS)


def between(facts: Facts) -> float | None:
    """
    Give the time over which a trend is told.

    Args:
        facts: What is known of the host.

    Returns:
        From the sweep before to this one [s]; None when that is too short, or there is none.

    """
    if facts.previous is None:
        return None
    seconds = facts.sweep.started_monotonic - facts.previous.started_monotonic
    return seconds if seconds >= _SHORTEST else None


def _filling(facts: Facts, seconds: float) -> Iterator[_Growth]:
    """Compare each file system that is nearly full with itself."""
    now, before = facts.sample(FilesystemSample), facts.before(FilesystemSample)
    if now is None or before is None:
        return
    earlier = {(f.mount, f.source): f for f in before.filesystems}
    for one in now.filesystems:
        then = earlier.get((one.mount, one.source))
        grown = _lost_room(then, one) if then else None
        if grown is not None and grown >= _GROWTH and (one.used or 0.0) >= _NEARLY:
            yield _Growth(one.mount, grown, seconds, float(one.available_bytes or 0))


def _lost_room(before: Filesystem, now: Filesystem) -> float | None:
    """Give how much less room there is; None when unknown, or after a resize."""
    if before.available_bytes is None or now.available_bytes is None:
        return None
    same = before.size_bytes == now.size_bytes
    return float(before.available_bytes - now.available_bytes) if same else None


@rule(
    resource="filesystem",
    cause="filesystem_full",
    kind=Kind.CAPACITY,
    unit="times too fast",
    warning=1.0,
    critical=8.0,
    scale=Scale.LOG,
    source="node-mixin NodeFilesystemSpaceFillingUp: full within 4 h with less than 20 % left; "
    "at eight times that speed it is full within half an hour",
    gate="less than 20 % left, and 64 MiB more used than in the sweep before",
    explanation="A file system will be full within hours if it goes on like this.",
    next_steps=("Find what is written there: lsof, du -x.",),
)
def filesystem_filling(facts: Facts) -> Signal | None:
    """Watch how soon a file system is full, by its growth since the sweep before."""
    seconds = between(facts)
    if seconds is None or facts.sample(FilesystemSample) is None:
        return None
    worst = min(_filling(facts, seconds), key=lambda g: g.until_full, default=None)
    if worst is None:
        return Signal(0.0, "No file system fills up quickly")
    return Signal(
        value=_SOON / max(worst.until_full, 1.0),
        message=f"{worst.name} is full in {duration(worst.until_full)} if it goes on like this: "
        f"{size(worst.grown)} more in {duration(worst.seconds)}, {size(worst.left)} left",
        subject=worst.name,
        evidence=(
            Evidence("growth", worst.grown / worst.seconds, "bytes/s", "statvfs f_bavail"),
            Evidence("room left", worst.left, "bytes", "statvfs f_bavail"),
        ),
        culprits=(Culprit("mount", worst.name), *_writers(facts)),
    )


def _writers(facts: Facts) -> tuple[Culprit, ...]:
    """Name who writes most."""
    sample = facts.sample(ProcessSample)
    writing = [p for p in (sample.top_io if sample else ()) if p.write_bytes_per_second]
    writing.sort(key=lambda p: -(p.write_bytes_per_second or 0.0))
    return tuple(
        Culprit("process", p.comm, str(p.pid), p.write_bytes_per_second, "bytes/s", None, p.cgroup)
        for p in writing[:3]
    )


def _grown(facts: Facts) -> list[tuple[Process, int]]:
    """Compare each of the largest processes with itself."""
    now, before = facts.sample(ProcessSample), facts.before(ProcessSample)
    if now is None or before is None:
        return []
    earlier = {(p.pid, p.start_ticks): p.rss_bytes or 0 for p in before.top_memory}
    pairs = [(p, earlier.get((p.pid, p.start_ticks))) for p in now.top_memory]
    return [(p, (p.rss_bytes or 0) - then) for p, then in pairs if then]


@rule(
    resource="memory",
    cause="process_leak",
    kind=Kind.CAPACITY,
    unit="times too fast",
    warning=1.0,
    critical=6.0,
    scale=Scale.LOG,
    source="an hour is the time in which somebody who is called can still act; at six times that "
    "speed ten minutes are left",
    gate="one process has grown by 64 MiB since the sweep before",
    explanation="A process goes on growing, and at this speed it has used up the memory within "
    "an hour: a leak, or a cache without a limit.",
    next_steps=("See what it holds: grep -E 'Rss|Swap' /proc/PID/smaps_rollup.",
                "Give its service a limit: MemoryMax=."),
)  # fmt: skip
def process_leak(facts: Facts) -> Signal | None:
    """Watch how soon the process that grows most has used up what memory there is."""
    seconds, memory = between(facts), facts.sample(MemorySample)
    if seconds is None or memory is None or memory.available_bytes is None:
        return None
    grown = _grown(facts)
    if not grown:
        return None
    process, more = max(grown, key=lambda pair: pair[1])
    if more < _GROWTH:
        return Signal(0.0, "No process grows quickly")
    growth = _Growth(process.comm, float(more), seconds, float(memory.available_bytes))
    held, whole = process.rss_bytes or 0, memory.total_bytes or 0
    return Signal(
        value=_HOUR / max(growth.until_full, 1.0),
        message=f"{process.comm} ({process.pid}) grew by {size(more)} in {duration(seconds)} and "
        f"holds {percent(held / whole if whole else None)} of the memory; at that speed it has "
        f"all of it in {duration(growth.until_full)}",
        subject=process.comm,
        evidence=(
            Evidence("growth", more / seconds, "bytes/s", "/proc/PID/stat rss"),
            Evidence("memory available", growth.left, "bytes", "/proc/meminfo MemAvailable"),
        ),
        culprits=(
            Culprit("process", process.comm, str(process.pid), float(held), "bytes",
                    held / whole if whole else None, process.cgroup),
        ),
    )  # fmt: skip
