"""Containers, units and other control groups: what each uses of what it may use."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors import cgroup_read
from collectors.base import Context, collector
from collectors.cgroup_name import Identity, identify
from collectors.cgroup_read import STACKED, Numbers
from collectors.cgroup_tree import Hierarchies, hierarchies, parse_mounts, walk
from collectors.model import Cause, Unavailable
from collectors.rates import delta, rate, ratio
from collectors.text import label

# Most groups that are read; each costs about 0.2 ms.
MOST = 500
_REMOVED_SHOWN = 20
_MICROSECONDS = 1e6
# Slices and mounts hold what is told of the units in them; they are read when
# they are limited themselves.
_ALWAYS = frozenset({"service", "scope", "container", "pod", "machine"})
_SLICE = frozenset({"slice", "mount", "swap", "socket"})


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


@dataclass(frozen=True, slots=True)
class ContainerSample:
    """
    All control groups that hold work.

    Attributes:
        window_seconds: Time between both readings [s].
        version: Which control groups the host uses: v1, hybrid or v2.
        groups: Units, containers and other groups with processes or limits.
        runtimes: Container runtime to its containers.
        dropped: Groups that were not read because there are too many.
        created: Groups that appeared in the window.
        removed: Some of the groups that vanished in the window, by name.
        oom_kills: Processes killed in groups, counted from the first sweep's totals on.
        oom_kills_increase: The same in the window.
        refused_forks: Forks refused in groups, counted in the same way.
        refused_forks_increase: The same in the window.

    """

    window_seconds: float
    version: str
    groups: tuple[Group, ...] = ()
    runtimes: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    created: int = 0
    removed: tuple[str, ...] = ()
    oom_kills: int | None = None
    oom_kills_increase: int | None = None
    refused_forks: int | None = None
    refused_forks_increase: int | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    """
    The groups at one instant.

    Attributes:
        at: When, on the monotonic clock [s].
        paths: All groups.
        counters: The chosen groups to their counters.
        tops: Counters of the groups right below the root (v2), which outlive the others.
        dropped: Groups that were not chosen because there are too many.

    """

    at: float
    paths: frozenset[str]
    counters: dict[str, Numbers]
    tops: dict[str, Numbers]
    dropped: int


@collector(category="container", essential=True)
def collect(ctx: Context) -> ContainerSample:
    """
    Read every unit's and container's group at both ends of the window.

    Args:
        ctx: Paths and window.

    Returns:
        The groups. What vanished in the window is named but has no numbers.

    Raises:
        Unavailable: When no control group file system is mounted, or none may be read.

    Source:
        /proc/self/mountinfo for the mounts; the files named in `collectors.cgroup_read`.

    """
    tree = _find(ctx)
    stacked = STACKED | _device_mapper(ctx)
    first = _look(tree, next(ticks := ctx.ticks(), 0.0), stacked)
    at = first.at
    for at in ticks:  # noqa: B007  only the last instant is of interest
        pass
    tree = _find(ctx)
    last = _look(tree, at, stacked) if at > first.at else first
    return _sample(ctx, tree, first, last)


def _find(ctx: Context) -> Hierarchies:
    """Find the mounted hierarchies, as the host's first process sees them."""
    for pid in ("1", "self"):
        raw = ctx.try_read(ctx.paths.proc / pid / "mountinfo")
        tree = hierarchies(parse_mounts(raw or b""), ctx.paths.sys, ctx.paths.root)
        if any(os.path.isdir(base) for base in tree.directories()):  # noqa: PTH112  plain strings
            return tree
    raise Unavailable("no cgroup or cgroup2 file system is mounted", Cause.ABSENT)


def _device_mapper(ctx: Context) -> frozenset[bytes]:
    """Find the major number of device-mapper, whose devices stand on others."""
    lines = (ctx.try_read(ctx.paths.proc / "devices") or b"").splitlines()
    pairs = (line.split() for line in lines)
    return frozenset(p[0] for p in pairs if len(p) == 2 and p[1] == b"device-mapper")  # noqa: PLR2004


def _look(tree: Hierarchies, at: float, stacked: frozenset[bytes]) -> _Reading:
    """Choose the groups and read their counters."""
    try:
        paths = walk(tree)
        chosen = [p for p in paths if _matters(tree, p)]
        counters = {p: cgroup_read.counters(tree, p, stacked) for p in chosen[:MOST]}
        tops = [p for p in paths if p.count("/") == 1] if tree.unified else []
        return _Reading(
            at=at,
            paths=frozenset(paths),
            counters=counters,
            tops={p: counters.get(p) or cgroup_read.counters(tree, p) for p in tops[:MOST]},
            dropped=max(len(chosen) - MOST, 0),
        )
    except PermissionError as error:
        text = f"{error.filename}: permission denied (run as root)"
        raise Unavailable(text, Cause.PERMISSION) from error


def _matters(tree: Hierarchies, path: str) -> bool:
    """Tell whether a group is a unit, a container, or has processes or limits."""
    kind = identify(path).kind
    if kind in _ALWAYS:
        return True
    if kind not in _SLICE and cgroup_read.populated(tree, path):
        return True
    return bool(cgroup_read.limits(tree, path))


def _sample(ctx: Context, tree: Hierarchies, first: _Reading, last: _Reading) -> ContainerSample:
    """Compare two readings."""
    seconds = last.at - first.at
    limits: dict[str, Numbers] = {}
    groups = tuple(
        _group(path, _before(path, first, last), now, _levels(tree, path, limits), seconds)
        for path, now in last.counters.items()
    )
    local = ((_before(p, first, last), n) for p, n in last.counters.items())
    # v2 counts an event in all groups above as well, and the uppermost ones
    # remember it when the container itself is gone; v1 counts it once.
    upper = [(_before(p, first, last), n) for p, n in last.tops.items()] or list(local)
    return ContainerSample(
        window_seconds=seconds,
        version=tree.version,
        groups=groups,
        runtimes=dict(Counter(r for g in groups if (r := _runtime(g.identity)))),
        dropped=last.dropped,
        created=len(last.paths - first.paths),
        removed=tuple(identify(p).name for p in sorted(first.paths - last.paths))[:_REMOVED_SHOWN],
        oom_kills=_accumulated(ctx, "oom_kill", last),
        oom_kills_increase=_added(upper, "oom_kill"),
        refused_forks=_accumulated(ctx, "fork_refused", last),
        refused_forks_increase=_added(upper, "fork_refused"),
    )


def _before(path: str, first: _Reading, last: _Reading) -> Numbers | None:
    """Give a group's earlier counters; a group that is new began at 0."""
    if path in first.paths or last is first:
        return first.counters.get(path) or first.tops.get(path)
    return dict.fromkeys(last.counters.get(path) or last.tops.get(path) or (), 0)


def _runtime(identity: Identity) -> str | None:
    """Give a container's runtime; None for what is no container."""
    if identity.kind not in ("container", "machine"):
        return None
    return identity.runtime or "unknown"


def _levels(tree: Hierarchies, path: str, cache: dict[str, Numbers]) -> Numbers:
    """Read a group's levels, with the limits that the groups above impose."""
    now = cgroup_read.levels(tree, path)
    above = path.rpartition("/")[0]
    while above:
        if above not in cache:
            cache[above] = cgroup_read.limits(tree, above)
        for name, value in cache[above].items():
            now[name] = min(value, now.get(name, value))
        above = above.rpartition("/")[0]
    return now


def _group(path: str, old: Numbers | None, new: Numbers, now: Numbers, seconds: float) -> Group:
    """Describe a group over the window."""
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
    cache = None if idle is None else sum(
        now.get(k, 0) for k in ("inactive_file", "active_file", "slab_reclaimable")
    )  # fmt: skip
    return GroupMemory(
        current=current,
        working_set=None if current is None or idle is None else max(current - idle, 0),
        held=None if current is None or cache is None else max(current - cache, 0),
        anon=now.get("anon"),
        limit=now.get("memory_limit"),
        high=now.get("memory_high"),
        oom_kills=new.get("oom_kill"),
        oom_kills_increase=grown.get("oom_kill"),
        limit_hits=grown.get("max"),
        high_hits=grown.get("high"),
    )


def _share(stalled: int | None, seconds: float) -> float | None:
    """Turn microseconds into a share of the window."""
    return None if stalled is None or seconds <= 0 else stalled / _MICROSECONDS / seconds


def _added(pairs: list[tuple[Numbers | None, Numbers]], name: str) -> int | None:
    """Add up what groups counted in the window."""
    steps = [delta((old or {}).get(name), new[name]) for old, new in pairs if name in new]
    return sum(s for s in steps if s is not None) if steps else 0


def _accumulated(ctx: Context, name: str, last: _Reading) -> int:
    """Count events from sweep to sweep, so that a group's end does not take its events away."""
    seen: dict[str, int] = ctx.memory.setdefault(name, {})
    source = last.tops or last.counters
    for path, numbers in source.items():
        value = numbers.get(name, 0)
        old = seen.get(path, 0)
        # A group that counts from 0 again is another one of that name.
        step = value - old if value >= old else value
        ctx.memory[f"{name}_total"] = ctx.memory.get(f"{name}_total", 0) + step
    ctx.memory[name] = {p: n.get(name, 0) for p, n in source.items()}
    return int(ctx.memory.get(f"{name}_total", 0))


def largest(sample: ContainerSample, most: int) -> tuple[Group, ...]:
    """
    Choose the groups that use most, of their limits or of the host.

    Args:
        sample: All groups.
        most: How many.

    Returns:
        The groups, those nearest to a limit first, then by CPU time.

    """

    def use(group: Group) -> tuple[float, float, int]:
        shares = (
            ratio(group.cpu.used, group.cpu.quota),
            ratio(group.memory.held, group.memory.limit),
        )
        near = max((s for s in shares if s is not None), default=0.0)
        return near, group.cpu.used or 0.0, group.memory.current or 0

    return tuple(sorted(sample.groups, key=use, reverse=True)[:most])
