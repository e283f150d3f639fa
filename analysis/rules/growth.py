"""
Rules on what grows from sweep to sweep: file systems that fill, processes that leak.

Two sweeps show a pace and not a trend. So these rules only look a short way
ahead, speak only of what has already taken a large part, and need the pace in
two of three sweeps like any other rule. A heap that warms up looks like a leak
until it ends, so that a leak is never more than a warning: when memory does run
out, other rules say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from analysis.advice import investigate
from analysis.culprits import by_io
from analysis.model import Culprit, Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.rules.trend import HOUR, between, used_up
from analysis.text import duration, number, size
from collectors.filesystem import Filesystem, FilesystemSample
from collectors.memory import MemorySample
from collectors.process_sample import Process, ProcessSample

_FILLED = 0.80
_LARGE_PART = 0.10
_SHORT = 0.50
_LEAST_FDS = 256
_NO_LEAK = "No process grows so fast that it would use up {} within an hour"


def _look_at_it(_: Facts, signal: Signal) -> Iterable[Recommendation]:
    """Advise to look whether a process goes on growing."""
    for culprit in signal.culprits[:1]:
        yield investigate(
            f"process:leak:{culprit.name}",
            resource="memory",
            rule="process_leak",
            title=f"See whether {culprit.name} ({culprit.id}) goes on growing; if so, restart it",
            why="A heap that warms up stops at its size; a leak goes on until something is killed. "
            "A restart gives the memory back, and a limit on its group saves the others.",
            commands=(
                f"pidstat -r -p {culprit.id} 10 6",
                f"grep -E '^(Rss|Anonymous|Swap)' /proc/{culprit.id}/smaps_rollup",
            ),
        )


@rule(
    resource="filesystem",
    cause="filesystem_full",
    kind=Kind.CAPACITY,
    unit="1/h",
    warning=1,
    critical=4,
    scale=Scale.LOG,
    source="node-mixin NodeFilesystemSpaceFillingUp (at most 40 % and 20 % left, full in 24 h and "
    "4 h by the trend of 6 h), nearer because two sweeps see minutes and not hours: full in an "
    "hour, and in a quarter of one, which is the time it takes somebody to come",
    gate="mounted read-write, at least 80 % used, and not resized",
    explanation="At the pace since the last sweep a file system is full before long.",
    next_steps=("Find what is written: lsof +f -- MOUNT, or du -x twice.",),
)
def filesystem_fill_time(facts: Facts) -> Signal | None:
    """Watch how soon the file system that fills fastest would be full."""
    sample, earlier = facts.sample(FilesystemSample), facts.before(FilesystemSample)
    seconds = between(facts)
    if sample is None or earlier is None or seconds is None:
        return None
    past = {(f.mount, f.source, f.size_bytes): f.available_bytes for f in earlier.filesystems}
    pairs = [(f, past.get((f.mount, f.source, f.size_bytes))) for f in sample.filesystems]
    paces = [(p, f) for f, old in pairs if (p := _filling(f, old, seconds)) is not None]
    if not paces:
        return None
    pace, worst = max(paces, key=lambda pair: pair[0])
    if not pace:
        return Signal(0.0, "No file system that is nearly full fills up")
    return _full_soon(facts, worst, pace)


def _full_soon(facts: Facts, worst: Filesystem, pace: float) -> Signal:
    """Describe a file system that fills up."""
    lost = pace / HOUR * (worst.available_bytes or 0)
    what = f"{worst.type} on {worst.source}"
    return Signal(
        value=pace,
        message=f"{worst.mount} lost {size(lost)} a second since the sweep before; at this pace it "
        f"is full in {duration(HOUR / pace)}",
        subject=worst.mount,
        evidence=(
            Evidence("available", worst.available_bytes, "bytes", f"statvfs {worst.mount}"),
            Evidence("lost", lost, "bytes/s", f"statvfs {worst.mount}, two sweeps"),
        ),
        culprits=(
            Culprit("mount", worst.mount, value=worst.used, unit="ratio", detail=what),
            *_writers(facts),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Grown:
    """
    A process that grew since the sweep before.

    Attributes:
        process: The process.
        now: What it has.
        more: By how much more that is.
        left: What is left for it to take.
        pace: How often in an hour that could be used up [1/h].

    """

    process: Process
    now: int
    more: int
    left: int
    pace: float


@rule(
    resource="memory",
    cause="leak",
    kind=Kind.CAPACITY,
    unit="1/h",
    warning=1,
    critical=None,
    scale=Scale.LOG,
    source="an hour is the time in which somebody can look and restart it in peace; it only warns, "
    "because a heap that warms up grows as fast as one that leaks, and two sweeps cannot tell them "
    "apart",
    gate="the process has a tenth of all memory, half of memory is taken, and what is available "
    "shrank with it: memory of files that are only mapped is given back",
    explanation="One process grows; at this pace it will have used up the memory that is left "
    "within an hour.",
    next_steps=("pidstat -r -p PID 60", "Limit it: systemctl set-property UNIT MemoryMax=."),
    advise=_look_at_it,
)
def process_leak(facts: Facts) -> Signal | None:
    """Watch the process whose resident memory would use up what is available soonest."""
    seconds, pairs = between(facts), _pairs(facts, "top_memory")
    memory = _memory(facts)
    if seconds is None or pairs is None or memory is None:
        return None
    whole, left, shrunk = memory
    grown = [
        _Grown(new, rss, rss - before, left, used_up(rss - before, left, seconds))
        for new, old in pairs
        if (rss := new.rss_bytes) is not None and (before := old.rss_bytes) is not None
        if rss >= _LARGE_PART * whole and shrunk >= (rss - before) / 2
    ]
    worst = max(grown, key=lambda g: g.pace, default=None)
    if worst is None or not worst.pace or left > _SHORT * whole:
        return Signal(0.0, _NO_LEAK.format("memory"))
    return _growing(worst, seconds, "bytes", (size(worst.now), size(worst.more / seconds)))


@rule(
    resource="kernel",
    cause="leak",
    kind=Kind.CAPACITY,
    unit="1/h",
    warning=1,
    critical=None,
    scale=Scale.LOG,
    source="as for process_leak; at the limit open, accept and socket fail with EMFILE, "
    "getrlimit(2). Many clients at once look the same, so that it only warns",
    gate="at least 256 open files, and half of the process's own limit",
    explanation="One process opens files or connections and does not close them; at this pace it "
    "reaches its limit within an hour.",
    next_steps=("ls -l /proc/PID/fd | awk '{print $NF}' | sort | uniq -c | sort -rn | head",),
)
def process_descriptor_leak(facts: Facts) -> Signal | None:
    """Watch the process whose open files would reach its own limit soonest."""
    seconds, pairs = between(facts), _pairs(facts, "top_fd_share")
    if seconds is None or pairs is None:
        return None
    grown = [
        _Grown(new, fds, fds - before, limit - fds, used_up(fds - before, limit - fds, seconds))
        for new, old in pairs
        if (fds := new.fds) is not None and (before := old.fds) is not None
        if (limit := new.fd_limit) and fds >= max(_LEAST_FDS, _SHORT * limit)
    ]
    worst = max(grown, key=lambda g: g.pace, default=None)
    if worst is None or not worst.pace:
        return Signal(0.0, _NO_LEAK.format("its open files"))
    words = (f"{worst.now:,} files open", number(worst.more / seconds))
    return _growing(worst, seconds, "descriptors", words)


def _filling(found: Filesystem, past: int | None, seconds: float) -> float | None:
    """Give how often an hour a file system could be filled; 0 for one with room to spare."""
    if found.available_bytes is None or found.used is None or past is None or found.read_only:
        return None
    if found.used < _FILLED:
        return 0.0
    return used_up(past - found.available_bytes, found.available_bytes, seconds)


def _writers(facts: Facts) -> tuple[Culprit, ...]:
    """Name who writes; who only reads fills nothing."""
    sample = facts.sample(ProcessSample)
    writing = {str(p.pid) for p in sample.top_io if p.write_bytes_per_second} if sample else set()
    return tuple(c for c in by_io(facts) if writing & set((c.id or "").split(",")))


def _memory(facts: Facts) -> tuple[int, int, int] | None:
    """Give all memory, what is available, and by how much that shrank since the sweep before."""
    memory, earlier = facts.sample(MemorySample), facts.before(MemorySample)
    if memory is None or earlier is None or earlier.available_bytes is None:
        return None
    if memory.available_bytes is None or not memory.total_bytes:
        return None
    shrunk = earlier.available_bytes - memory.available_bytes
    return memory.total_bytes, memory.available_bytes, shrunk


def _pairs(facts: Facts, ranking: str) -> list[tuple[Process, Process]] | None:
    """Find the processes of a ranking that were in it in the sweep before as well."""
    sample, earlier = facts.sample(ProcessSample), facts.before(ProcessSample)
    if sample is None or earlier is None:
        return None
    rows: tuple[Process, ...] = getattr(earlier, ranking)
    past = {(p.pid, p.start_ticks): p for p in rows}
    return [(p, past[k]) for p in getattr(sample, ranking) if (k := (p.pid, p.start_ticks)) in past]


def _growing(grown: _Grown, seconds: float, unit: str, words: tuple[str, str]) -> Signal:
    """Describe a process that grows; `words` are what it has and by how much it grows."""
    process, (now, rate) = grown.process, words
    culprit = Culprit(
        "process", process.comm, str(process.pid), grown.now, unit, None, process.cgroup
    )
    return Signal(
        value=grown.pace,
        message=f"{process.comm} ({process.pid}) has {now} and grew by {rate} a second since the "
        f"sweep before; at this pace none is left in {duration(HOUR / grown.pace)}",
        subject=process.comm,
        evidence=(
            Evidence("now", grown.now, unit, "/proc/PID"),
            Evidence("growth", grown.more / seconds, f"{unit}/s", "/proc/PID in two sweeps"),
            Evidence("left", grown.left, unit, "/proc/meminfo, /proc/PID/limits"),
        ),
        culprits=(culprit,),
    )
