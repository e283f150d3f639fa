"""Waiting for a CPU, in nanoseconds as the scheduler counts them."""

from __future__ import annotations

from dataclasses import dataclass

from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.rates import Track, ratio
from collectors.text import natural

_NANOSECONDS = 1e9
_FIELDS = 9
_LARGE = 32 << 20  # behind each CPU's line come its domains, which grow with the CPUs


@dataclass(frozen=True, slots=True)
class SchedstatSample:
    """
    How long tasks waited on run queues during the window; None when unknown.

    Attributes:
        window_seconds: Observed time [s].
        waiting: Mean number of tasks that were ready and had no CPU.
        busiest_waiting: The same on the CPU where it was most.
        busiest_cpu: That CPU; None when no task waited.
        turns_per_second: Times a task got a CPU [1/s].
        wait_per_turn: Mean wait before each of them [s]; None when there was none.

    """

    window_seconds: float
    waiting: float | None = None
    busiest_waiting: float | None = None
    busiest_cpu: int | None = None
    turns_per_second: float | None = None
    wait_per_turn: float | None = None


def parse(raw: bytes) -> dict[tuple[int, str], int]:
    """
    Parse the scheduler's statistics.

    Args:
        raw: Content of /proc/schedstat.

    Returns:
        dict (CPU, "wait" [ns] or "turns") -> value since boot.

    Raises:
        ValueError: When a CPU's line is not of the kernel's form.

    Source:
        Eighth and ninth number of a CPU's line, Documentation/scheduler/sched-stats.rst.

    """
    table: dict[tuple[int, str], int] = {}
    for line in raw.split(b"\n"):
        if not line.startswith(b"cpu"):
            continue
        name, *fields = line.split()
        if len(fields) < _FIELDS:
            raise ValueError(f"not a CPU's statistics: {line[:40]!r}")
        cpu = natural(name[3:])
        table[cpu, "wait"], table[cpu, "turns"] = natural(fields[7]), natural(fields[8])
    return table


@collector(category="cpu")
def collect(ctx: Context) -> SchedstatSample:
    """
    Read the statistics at the window's ends.

    Args:
        ctx: Paths and window.

    Returns:
        The waits; unknown when a CPU came or went.

    Raises:
        Unavailable: When this kernel does not keep them.

    Source:
        /proc/schedstat, Documentation/scheduler/sched-stats.rst.

    """
    if not (ctx.paths.proc / "schedstat").exists():
        raise Unavailable("this kernel keeps no schedstat (CONFIG_SCHEDSTATS)", Cause.ABSENT)
    track: Track[tuple[int, str]] = Track()
    for at in ctx.ends():
        track.add(at, parse(ctx.read(ctx.paths.proc / "schedstat", _LARGE)))
    waits, turns = _steps(track, "wait"), _steps(track, "turns")
    if waits is None or turns is None or track.seconds <= 0:
        return SchedstatSample(track.seconds)
    share = {cpu: ns / _NANOSECONDS / track.seconds for cpu, ns in waits.items()}
    busiest = max(share, key=lambda cpu: share[cpu])
    return SchedstatSample(
        window_seconds=track.seconds,
        waiting=sum(share.values()),
        busiest_waiting=share[busiest],
        busiest_cpu=busiest if share[busiest] else None,
        turns_per_second=sum(turns.values()) / track.seconds,
        wait_per_turn=ratio(sum(waits.values()) / _NANOSECONDS, sum(turns.values())),
    )


def _steps(track: Track[tuple[int, str]], name: str) -> dict[int, int] | None:
    """Give a number's increase for each CPU; None unless all CPUs of both ends are known."""
    cpus = {cpu for row in track.rows for cpu, _ in row}
    steps = {cpu: track.increase((cpu, name)) for cpu in sorted(cpus)}
    known = {cpu: step for cpu, step in steps.items() if step is not None}
    return known if known and len(known) == len(steps) else None
