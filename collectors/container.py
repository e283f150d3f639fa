"""Containers, units and other control groups: what each uses of what it may use."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collectors import cgroup_read
from collectors.base import Context, collector
from collectors.cgroup import Group, describe
from collectors.cgroup_name import Identity, identify
from collectors.cgroup_read import STACKED, Numbers
from collectors.cgroup_tree import Hierarchies, mounted, walk
from collectors.model import Cause, Unavailable
from collectors.rates import delta
from collectors.rights import way_out

# Most groups that are read; each costs about 0.2 ms.
MOST = 500
_REMOVED_SHOWN = 20
# Slices and mounts hold what is told of the units in them; they are read when
# they are limited themselves.
_ALWAYS = frozenset({"service", "scope", "container", "pod", "machine"})
_SLICE = frozenset({"slice", "mount", "swap", "socket"})


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
    oom_kills: int = 0
    oom_kills_increase: int = 0
    refused_forks: int = 0
    refused_forks_increase: int = 0


@dataclass(frozen=True, slots=True)
class _Reading:
    """
    The groups at one instant.

    Attributes:
        at: When, on the monotonic clock [s].
        paths: All groups, with the hierarchies that have them.
        counters: The chosen groups to their counters.
        tops: Counters of the groups right below the root (v2), which outlive the others.
        dropped: Groups that were not chosen because there are too many.

    """

    at: float
    paths: dict[str, Hierarchies]
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
    tree = mounted(ctx.paths, ctx.try_read).tree
    there = [base for base in tree.directories() if Path(base).is_dir()]
    if not there:
        raise Unavailable("no cgroup or cgroup2 file system is mounted", Cause.ABSENT)
    if not any(os.access(base, os.R_OK | os.X_OK) for base in there):
        text = f"{there[0]}: permission denied ({way_out('CAP_DAC_READ_SEARCH')})"
        raise Unavailable(text, Cause.PERMISSION)
    return tree


def _device_mapper(ctx: Context) -> frozenset[bytes]:
    """Find the major number of device-mapper, whose devices stand on others."""
    lines = (ctx.try_read(ctx.paths.proc / "devices") or b"").splitlines()
    pairs = (line.split() for line in lines)
    return frozenset(p[0] for p in pairs if len(p) == 2 and p[1] == b"device-mapper")  # noqa: PLR2004


def _look(tree: Hierarchies, at: float, stacked: frozenset[bytes]) -> _Reading:
    """Choose the groups and read their counters."""
    paths = walk(tree)
    chosen = [p for p, place in paths.items() if _matters(place, p)]
    counters = {p: cgroup_read.counters(paths[p], p, stacked) for p in chosen[:MOST]}
    tops = [p for p in paths if p.count("/") == 1 and "memory" in tree.features]
    return _Reading(
        at=at,
        paths=paths,
        counters=counters,
        tops={p: counters.get(p) or cgroup_read.counters(paths[p], p) for p in tops[:MOST]},
        dropped=max(len(chosen) - MOST, 0),
    )


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
        describe(path, _before(path, first, last), now, _levels(last, path, limits), seconds)
        for path, now in last.counters.items()
    )
    # v2 counts a kill in all groups above as well, and the uppermost ones
    # remember it when the container itself is gone; v1 counts it once.
    upper = last.tops or last.counters
    leaves = _leaves(last.counters)
    gone = sorted(first.paths.keys() - last.paths.keys())
    return ContainerSample(
        window_seconds=seconds,
        version=tree.version,
        groups=groups,
        runtimes=dict(Counter(r for g in groups if (r := _runtime(g.identity)))),
        dropped=last.dropped,
        created=len(last.paths.keys() - first.paths.keys()),
        removed=tuple(identify(p).name for p in gone[:_REMOVED_SHOWN]),
        oom_kills=_accumulated(ctx, "oom_kill", upper),
        oom_kills_increase=_added(upper, "oom_kill", first, last),
        refused_forks=_accumulated(ctx, "fork_refused", leaves),
        refused_forks_increase=_added(leaves, "fork_refused", first, last),
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


def _levels(last: _Reading, path: str, cache: dict[str, Numbers]) -> Numbers:
    """Read a group's levels, with the limits that the groups above impose."""
    now = cgroup_read.levels(last.paths[path], path)
    above = path.rpartition("/")[0]
    while above:
        if above not in cache:
            place = last.paths.get(above)
            cache[above] = cgroup_read.limits(place, above) if place else {}
        for name, value in cache[above].items():
            now[name] = min(value, now.get(name, value))
        above = above.rpartition("/")[0]
    return now


def _leaves(counters: dict[str, Numbers]) -> dict[str, Numbers]:
    """Leave out groups with subgroups, which newer kernels count their events in again."""
    parents = {path.rpartition("/")[0] for path in counters}
    return {p: n for p, n in counters.items() if p not in parents}


def _added(source: dict[str, Numbers], name: str, first: _Reading, last: _Reading) -> int:
    """Add up what groups counted in the window."""
    grown = (
        delta((_before(p, first, last) or {}).get(name), n.get(name)) for p, n in source.items()
    )
    return sum(g for g in grown if g is not None)


def _accumulated(ctx: Context, name: str, source: dict[str, Numbers]) -> int:
    """Count events from sweep to sweep, so that a group's end does not take its events away."""
    seen: dict[str, int] = ctx.memory.get(name, {})
    total: int = ctx.memory.get(f"{name}_total", 0)
    now = {p: n[name] for p, n in source.items() if name in n}
    for path, value in now.items():
        old = seen.get(path, 0)
        # A group that counts from 0 again is another one of that name.
        total += value - old if value >= old else value
    ctx.memory[name], ctx.memory[f"{name}_total"] = now, total
    return total
