"""Control groups: what each unit and container uses, and where its limits bite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from collectors.base import Context, collector
from collectors.cgroup import (
    MOST,
    Counters,
    Hierarchies,
    Identity,
    Limits,
    hierarchies,
    identify,
    limits,
    read,
    walk,
)
from collectors.model import Cause, Unavailable
from collectors.rates import delta, rate, ratio
from collectors.text import label

_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Container:
    """
    One control group that is a unit, a container or has processes of its own.

    Attributes:
        path: Below the hierarchy's root.
        name: Unit or container.
        kind: service, scope, slice, container or group.
        runtime: docker, containerd, cri-o, podman, lxc; None for others.
        container_id: First twelve digits of the container's id.
        pod: The pod's unique id.
        cpu: CPU time per second [cores].
        cpu_limit: Most of it [cores]; None without a quota.
        periods: Enforcement periods in the window.
        throttled_periods: Of them those in which it was throttled.
        throttled_seconds: Time it was throttled, per second [ratio of one task].
        memory_bytes: Charged memory [bytes].
        working_set_bytes: Of it what cannot be dropped at once [bytes].
        memory_limit_bytes: The smallest limit above it [bytes]; None without one.
        oom_kills: Processes killed for its limit, in the window.
        oom_kills_total: The same since it was made.
        limit_hits: Times it hit its limit, in the window.
        pids: Tasks.
        pids_limit: Most of them; None without a limit.
        read_bytes_per_second: From block devices [bytes/s].
        write_bytes_per_second: To block devices [bytes/s].
        pressure: "cpu.some", "memory.full" and so on to the share of the window [ratio].

    """

    path: str
    name: str
    kind: str
    runtime: str | None = None
    container_id: str | None = None
    pod: str | None = None
    cpu: float | None = None
    cpu_limit: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_seconds: float | None = None
    memory_bytes: int | None = None
    working_set_bytes: int | None = None
    memory_limit_bytes: int | None = None
    oom_kills: int | None = None
    oom_kills_total: int | None = None
    limit_hits: int | None = None
    pids: int | None = None
    pids_limit: int | None = None
    read_bytes_per_second: float | None = None
    write_bytes_per_second: float | None = None
    pressure: Mapping[str, float | None] | None = None


@dataclass(frozen=True, slots=True)
class ContainerSample:
    """
    All control groups.

    Attributes:
        window_seconds: Observed time [s].
        version: v1, hybrid or v2.
        containers: The groups, by CPU time.
        left_out: Groups beyond the most that are read.

    """

    window_seconds: float
    version: str
    containers: tuple[Container, ...] = ()
    left_out: int = 0


@collector(category="container", essential=True)
def collect(ctx: Context) -> ContainerSample:
    """
    Read every control group at the window's ends.

    Args:
        ctx: Paths and window.

    Returns:
        The groups; one that was made meanwhile has no rates.

    Raises:
        Unavailable: When no hierarchy is mounted.

    Source:
        /sys/fs/cgroup, cgroups(7).

    """
    found = hierarchies(ctx)
    if found.unified is None and not found.controllers:
        raise Unavailable(f"no control groups are mounted in {ctx.paths.sys}", Cause.ABSENT)
    instants: list[float] = []
    readings: list[dict[str, Counters]] = []
    for at in ctx.ends():
        # A fixture root changes between the ends, a real one stays where it is.
        found = hierarchies(ctx)
        groups = _groups(found)
        instants.append(at)
        readings.append({g: read(ctx, found, g) for g in groups[:MOST]})
    seconds = instants[-1] - instants[0]
    containers = [
        _container(ctx, found, path, readings[0].get(path), counters, seconds)
        for path, counters in readings[-1].items()
    ]
    shown = sorted((c for c in containers if _tells(c)), key=lambda c: (-(c.cpu or 0), c.path))
    return ContainerSample(seconds, found.version, tuple(shown), max(len(groups) - MOST, 0))


def _groups(found: Hierarchies) -> list[str]:
    """List the groups of all hierarchies, each path once."""
    roots: Iterable[Path] = found.controllers.values()
    if not found.controllers and found.unified is not None:
        roots = [found.unified]
    seen: dict[str, None] = {}
    for root in roots:
        seen |= dict.fromkeys(walk(root, 2 * MOST))
    return sorted(seen, key=lambda path: (path.count("/"), path))


def _tells(container: Container) -> bool:
    """Leave out empty groups: no task, no memory, no CPU time."""
    return any((container.pids, container.memory_bytes, container.cpu, container.cpu_limit))


def _container(
    ctx: Context,
    found: Hierarchies,
    path: str,
    old: Counters | None,
    new: Counters,
    seconds: float,
) -> Container:
    """Describe a group over the window."""
    before = old or Counters()
    what: Identity = identify(path)
    bounds: Limits = limits(ctx, found, path)
    used = rate(before.usage_us, new.usage_us, seconds)
    throttled = rate(before.throttled_us, new.throttled_us, seconds)
    return Container(
        path=label(path, 192),
        name=what.name,
        kind=what.kind,
        runtime=what.runtime,
        container_id=what.container,
        pod=what.pod,
        cpu=ratio(used, _MICROSECONDS),
        cpu_limit=bounds.cpus,
        periods=delta(before.periods, new.periods),
        throttled_periods=delta(before.throttled, new.throttled),
        throttled_seconds=ratio(throttled, _MICROSECONDS),
        memory_bytes=new.memory_bytes,
        working_set_bytes=_working_set(new),
        memory_limit_bytes=bounds.memory_bytes,
        oom_kills=delta(before.oom_kills, new.oom_kills),
        oom_kills_total=new.oom_kills,
        limit_hits=delta(before.limit_hits, new.limit_hits),
        pids=bounds.pids,
        pids_limit=bounds.pids_max,
        read_bytes_per_second=rate(before.read_bytes, new.read_bytes, seconds),
        write_bytes_per_second=rate(before.write_bytes, new.write_bytes, seconds),
        pressure=_pressure(before, new, seconds),
    )


def _working_set(counters: Counters) -> int | None:
    """Give the memory that cannot be dropped at once."""
    if counters.memory_bytes is None or counters.cache_bytes is None:
        return None
    return max(counters.memory_bytes - counters.cache_bytes, 0)


def _pressure(old: Counters, new: Counters, seconds: float) -> dict[str, float | None]:
    """Give the share of the window in which the group's tasks stalled."""
    before = old.stalls or {}
    return {
        f"{resource}.{kind}": ratio(
            rate(before.get((resource, kind)), total, seconds), _MICROSECONDS
        )
        for (resource, kind), total in (new.stalls or {}).items()
    }
