"""CPU time by state, per CPU and in all, with context switches and the run queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from collectors.base import Context, collector
from collectors.model import UNKNOWN, Distribution
from collectors.rates import Track, delta, distribution, ratio
from collectors.text import decimal, natural

STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_LEAST_STATES = 4
_IDLE = (3, 4)  # idle and iowait: in both the CPU had nothing to run
_SCALARS = {b"ctxt", b"processes", b"procs_running", b"procs_blocked"}


@dataclass(frozen=True, slots=True)
class Stat:
    """
    One reading of /proc/stat.

    Attributes:
        cpus: CPU number to its ticks by state, in the order of STATES.
        scalars: ctxt, processes (forks since boot), procs_running, procs_blocked.

    """

    cpus: Mapping[int, tuple[int, ...]]
    scalars: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CpuSample:
    """
    What the CPUs did during the window.

    Attributes:
        window_seconds: Observed time [s].
        online: CPUs with a line in the last reading.
        utilization: Share of CPU time that was neither idle nor iowait [ratio].
        states: State to its share of CPU time [ratio]; None where it went back.
        per_cpu: CPU number to its utilization over the window [ratio].
        interrupts: CPU number to its share of time in irq and softirq [ratio].
        steal: CPU number to the share of time in which the hypervisor ran others [ratio].
        guest: Share of CPU time in which virtual machines ran, part of user and nice
            [ratio]; None when unknown.
        context_switches: Per second [1/s].
        forks_per_second: New tasks [1/s].
        running: Tasks on or waiting for a CPU at each instant, the reader left out [tasks].
        blocked: Tasks waiting for block I/O at each instant [tasks].
        load: Kernel's 1, 5 and 15 min means of runnable and uninterruptible tasks.

    """

    window_seconds: float
    online: int
    utilization: Distribution = UNKNOWN
    states: Mapping[str, float | None] = field(default_factory=dict)
    per_cpu: Mapping[int, float | None] = field(default_factory=dict)
    interrupts: Mapping[int, float | None] = field(default_factory=dict)
    steal: Mapping[int, float | None] = field(default_factory=dict)
    guest: float | None = None
    context_switches: Distribution = UNKNOWN
    forks_per_second: float | None = None
    running: Distribution = UNKNOWN
    blocked: Distribution = UNKNOWN
    load: tuple[float, float, float] | None = None


def parse(raw: bytes) -> Stat:
    """
    Parse the CPU lines and the scalars.

    Args:
        raw: Content of /proc/stat.

    Returns:
        Ticks per CPU and scalars; a CPU that is offline has no line.

    Raises:
        ValueError: When a CPU line is not of the kernel's form or there is none.

    Source:
        /proc/stat, Documentation/filesystems/proc.rst section 1.7. The "cpu" line
        is not used: after a CPU went offline its idle time can run backwards.

    """
    cpus: dict[int, tuple[int, ...]] = {}
    scalars: dict[str, int] = {}
    for line in raw.split(b"\n"):
        if line[:3] == b"cpu" and line[3:4] != b" ":
            name, *fields = line.split(None, len(STATES) + 1)
            cpus[natural(name[3:])] = _ticks(fields[: len(STATES)])
        elif line[:1] in b"cp" and (pair := line.split(None, 2))[:1] and pair[0] in _SCALARS:
            scalars[pair[0].decode()] = natural(pair[1] if len(pair) > 1 else b"")
    if not cpus:
        raise ValueError("no CPU line")
    return Stat(cpus, scalars)


def _ticks(fields: list[bytes]) -> tuple[int, ...]:
    """Read a CPU's ticks; kernels before 2.6.11 have fewer states."""
    if len(fields) < _LEAST_STATES:
        raise ValueError("too few CPU states")
    return tuple(map(natural, fields))


def parse_guests(raw: bytes) -> dict[int, int]:
    """
    Read how long CPUs ran virtual machines.

    Args:
        raw: Content of /proc/stat.

    Returns:
        CPU number to ticks of guest and guest_nice, which user and nice contain;
        without kernels before 2.6.33, which do not tell both.

    Raises:
        ValueError: When a number is none.

    Source:
        Ninth and tenth number of a CPU's line in /proc/stat, proc(5).

    """
    lines = (line.split() for line in raw.split(b"\n") if line[:3] == b"cpu" and line[3:4] != b" ")
    return {
        natural(name[3:]): natural(times[8]) + natural(times[9])
        for name, *times in lines
        if len(times) > 9  # noqa: PLR2004
    }


def parse_load(raw: bytes) -> tuple[float, float, float]:
    """
    Parse the load averages.

    Args:
        raw: Content of /proc/loadavg.

    Returns:
        Means over 1, 5 and 15 min [tasks].

    Raises:
        ValueError: When there are fewer than three numbers.

    Source:
        /proc/loadavg, proc(5).

    """
    one, five, fifteen = (decimal(f) for f in raw.split()[:3])
    return one, five, fifteen


@collector(category="cpu", essential=True)
def collect(ctx: Context) -> CpuSample:
    """
    Follow /proc/stat through the window.

    Args:
        ctx: Paths and window.

    Returns:
        Shares of CPU time, from the per-CPU lines; a CPU that came, went or
        counted backwards is unknown and left out of the sums.

    Raises:
        Unavailable: When /proc/stat cannot be read.

    Source:
        /proc/stat and /proc/loadavg.

    """
    times: list[float] = []
    stats: list[Stat] = []
    first = last = b""
    for at in ctx.ticks():
        last = ctx.read(ctx.paths.proc / "stat")
        first = first or last
        stats.append(parse(last))
        times.append(at)
    raw = ctx.try_read(ctx.paths.proc / "loadavg")
    sample = _summarize(times, stats, parse_load(raw) if raw else None)
    return replace(sample, guest=_guest(first, last, stats))


def _guest(first: bytes, last: bytes, stats: list[Stat]) -> float | None:
    """Give the share of time of virtual machines, of CPUs that are known at both ends."""
    old, new = parse_guests(first), parse_guests(last)
    spent = {n: _spent(stats[0].cpus.get(n), ticks) for n, ticks in stats[-1].cpus.items()}
    known = [(n, s) for n, s in spent.items() if s is not None and None not in s]
    steps = [delta(old.get(n), new.get(n)) for n, _ in known]
    if None in steps:
        return None
    return ratio(sum(s or 0 for s in steps), sum(t or 0 for _, s in known for t in s))


def _summarize(
    times: list[float], stats: list[Stat], load: tuple[float, float, float] | None
) -> CpuSample:
    """Turn readings into shares and rates."""
    first, last = stats[0], stats[-1]
    spent = {n: _spent(first.cpus.get(n), ticks) for n, ticks in last.cpus.items()}
    scalars: Track[str] = Track()
    for at, stat in zip(times, stats, strict=True):
        scalars.add(at, stat.scalars)
    busy = [_busy(a, b) for a, b in pairwise(stats)]
    return CpuSample(
        window_seconds=scalars.seconds,
        online=len(last.cpus),
        utilization=distribution(busy, mean=_busy(first, last)),
        states=_shares(spent),
        per_cpu={n: _busy_share(s) for n, s in spent.items()},
        interrupts={n: _part(s, (5, 6)) for n, s in spent.items()},
        steal={n: _part(s, (7,)) if s and len(s) > 7 else None for n, s in spent.items()},  # noqa: PLR2004
        context_switches=scalars.rate("ctxt"),
        forks_per_second=scalars.rate("processes").mean,
        # The reader itself is running whenever it looks.
        running=distribution(max(n - 1, 0) for n in _gauge(stats, "procs_running")),
        blocked=distribution(_gauge(stats, "procs_blocked")),
        load=load,
    )


def _gauge(stats: list[Stat], name: str) -> Iterator[int]:
    """Give a scalar's value at each reading that has it."""
    return (s.scalars[name] for s in stats if name in s.scalars)


Spent = tuple[int | None, ...]


def _spent(old: tuple[int, ...] | None, new: tuple[int, ...]) -> Spent | None:
    """Give the ticks spent in each state; None where a state went back, as iowait may."""
    if old is None or len(old) != len(new):
        return None
    return tuple(n - o if n >= o else None for o, n in zip(old, new, strict=True))


def _part(spent: Spent | None, states: tuple[int, ...]) -> float | None:
    """Give some states' share of a CPU's time; None when any state is unknown."""
    if spent is None or None in spent:
        return None
    known = [s or 0 for s in spent]
    return ratio(sum(known[i] for i in states if i < len(known)), sum(known))


def _busy_share(spent: Spent | None) -> float | None:
    """Give the share of a CPU's time that was neither idle nor iowait."""
    idle = _part(spent, _IDLE)
    return None if idle is None else 1.0 - idle


def _busy(old: Stat, new: Stat) -> float | None:
    """Give the utilization of all CPUs that are known in both readings."""
    spent = [_spent(old.cpus.get(n), ticks) for n, ticks in new.cpus.items()]
    known = [s for s in spent if s is not None and None not in s]
    total = sum(sum(n or 0 for n in s) for s in known)
    idle = sum(sum(s[i] or 0 for i in _IDLE if i < len(s)) for s in known)
    share = ratio(idle, total)
    return None if share is None else 1.0 - share


def _shares(spent: Mapping[int, Spent | None]) -> dict[str, float | None]:
    """Give each state's share of all CPU time."""
    known = [s for s in spent.values() if s is not None]
    total = sum(n for s in known for n in s if n is not None)
    shares: dict[str, float | None] = {}
    for index, state in enumerate(STATES):
        ticks = [s[index] for s in known if index < len(s)]
        unknown = not ticks or None in ticks
        shares[state] = None if unknown else ratio(sum(t or 0 for t in ticks), total)
    return shares
