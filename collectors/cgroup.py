"""One control group: what it used in the window, and what it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.cgroup_name import Identity, identify
from collectors.cgroup_read import Numbers
from collectors.rates import delta, rate, ratio
from collectors.text import label

_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class GroupCpu:
    """
    CPU time of a group.

    Attributes:
        used: CPU time per second of the window [cores].
        quota: What it may use, the smallest of its own and its parents' [cores];
            None when not limited.
        periods: Quota periods in the window in which it wanted to run.
        throttled_periods: Those in which the quota ended before the period.
        throttled_seconds: Time its CPUs were held back in the window, added up over CPUs [s].

    """

    used: float | None = None
    quota: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_seconds: float | None = None

    @property
    def throttled(self) -> float | None:
        """Share of the quota periods in which it was throttled [ratio]."""
        return ratio(self.throttled_periods, self.periods)


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """
    Memory of a group, its subgroups included.

    Attributes:
        current: All that is charged to it, page cache included [bytes].
        working_set: The same without inactive page cache [bytes].
        held: The same without any page cache and reclaimable slab: what reclaim
            cannot give back at once [bytes].
        anon: Anonymous memory [bytes].
        limit: What it may hold, the smallest of its own and its parents' [bytes].
        high: Where it is slowed down instead [bytes]; None when not set.
        oom_kills: Processes killed since the group exists (v2: with subgroups).
        oom_kills_increase: The same in the window.
        limit_hits: Charges that met the limit and started reclaim, in the window.
        high_hits: Times it was slowed down at `high`, in the window.

    """

    current: int | None = None
    working_set: int | None = None
    held: int | None = None
    anon: int | None = None
    limit: int | None = None
    high: int | None = None
    oom_kills: int | None = None
    oom_kills_increase: int | None = None
    limit_hits: int | None = None
    high_hits: int | None = None


@dataclass(frozen=True, slots=True)
class GroupTasks:
    """
    Tasks of a group, its subgroups included.

    Attributes:
        current: Processes and threads.
        limit: Most it may have, the smallest of its own and its parents'.
        refused: Forks that met the limit in the window.
        refused_total: The same since the group exists.

    """

    current: int | None = None
    limit: int | None = None
    refused: int | None = None
    refused_total: int | None = None


@dataclass(frozen=True, slots=True)
class GroupIo:
    """
    Storage traffic of a group.

    Attributes:
        read_bytes_per_second: Fetched from devices [bytes/s].
        write_bytes_per_second: Sent to devices [bytes/s].

    """

    read_bytes_per_second: float | None = None
    write_bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """
    One control group.

    Attributes:
        path: Below the root of its hierarchy, made safe to show.
        identity: Unit, container, pod or machine.
        cpu: CPU time.
        memory: Memory.
        tasks: Tasks.
        io: Storage traffic.
        pressure: "cpu_some", "memory_full" and so on to the share of the window
            in which its tasks stalled [ratio]; empty where the kernel does not tell.

    """

    path: str
    identity: Identity
    cpu: GroupCpu = field(default_factory=GroupCpu)
    memory: GroupMemory = field(default_factory=GroupMemory)
    tasks: GroupTasks = field(default_factory=GroupTasks)
    io: GroupIo = field(default_factory=GroupIo)
    pressure: Mapping[str, float | None] = field(default_factory=dict)


def describe(path: str, old: Numbers | None, new: Numbers, now: Numbers, seconds: float) -> Group:
    """
    Describe a group over a window.

    Args:
        path: Its path.
        old: Its counters at the window's beginning; None when unknown.
        new: Its counters at the end.
        now: Its levels and limits at the end.
        seconds: Length of the window [s].

    Returns:
        The group; what is not known at both ends is unknown.

    """
    before = old or {}
    grown = {k: delta(before.get(k), value) for k, value in new.items()}
    stalls = {k: v for k, v in grown.items() if k.endswith(("_some", "_full"))}
    return Group(
        path=label(path, 256),
        identity=identify(path),
        cpu=_cpu(grown, now, seconds),
        memory=_memory(grown, new, now),
        tasks=GroupTasks(
            now.get("pids"),
            now.get("pids_limit"),
            grown.get("fork_refused"),
            new.get("fork_refused"),
        ),
        io=GroupIo(
            rate(before.get("read"), new.get("read"), seconds),
            rate(before.get("write"), new.get("write"), seconds),
        ),
        pressure={k: _share(v, seconds) for k, v in stalls.items()},
    )


def _cpu(grown: Mapping[str, int | None], now: Numbers, seconds: float) -> GroupCpu:
    """Describe a group's CPU time."""
    throttled = grown.get("throttled_time")
    quota = now.get("quota")
    return GroupCpu(
        used=_share(grown.get("cpu"), seconds),
        quota=None if quota is None else quota / _MICROSECONDS,
        periods=grown.get("periods"),
        throttled_periods=grown.get("throttled"),
        throttled_seconds=None if throttled is None else throttled / _MICROSECONDS,
    )


def _memory(grown: Mapping[str, int | None], new: Numbers, now: Numbers) -> GroupMemory:
    """Describe a group's memory; the kernel's parts are read one after another."""
    current, idle = now.get("memory"), now.get("inactive_file")
    return GroupMemory(
        current=current,
        working_set=None if current is None or idle is None else max(current - idle, 0),
        held=_held(now),
        anon=now.get("anon"),
        limit=now.get("memory_limit"),
        high=now.get("memory_high"),
        oom_kills=new.get("oom_kill"),
        oom_kills_increase=grown.get("oom_kill"),
        limit_hits=grown.get("max"),
        high_hits=grown.get("high"),
    )


def _held(now: Numbers) -> int | None:
    """
    Tell how much of a group's memory reclaim cannot give back at once.

    v1 does not tell how much of the kernel's own memory is reclaimable, so
    there only what the processes hold themselves counts.
    """
    current, reclaimable = now.get("memory"), now.get("slab_reclaimable")
    if current is None or "inactive_file" not in now:
        return None
    if reclaimable is None:
        return now["anon"] + now.get("shmem", 0) if "anon" in now else None
    return max(current - now["inactive_file"] - now.get("active_file", 0) - reclaimable, 0)


def _share(stalled: int | None, seconds: float) -> float | None:
    """Turn microseconds into a share of the window."""
    return None if stalled is None or seconds <= 0 else stalled / _MICROSECONDS / seconds
