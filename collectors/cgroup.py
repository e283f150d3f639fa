"""Control groups on disk: which hierarchies there are, and what their files say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from collectors.base import Context
from collectors.pressure import parse as parse_pressure
from collectors.text import key_values, label, natural_or_none

MOST = 500
# v1 writes "no limit" as the largest number of pages that fits.
_UNLIMITED = 1 << 60
_NANOSECONDS_PER_MICROSECOND = 1000
_CONTAINER = re.compile(
    r"(?:^|[/-])(?:(docker|cri-containerd|crio|libpod|containerd)[-/])?([0-9a-f]{64})(?:\.scope)?$"
)
_POD = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_RUNTIMES = {
    "docker": "docker", "cri-containerd": "containerd", "containerd": "containerd",
    "crio": "cri-o", "libpod": "podman",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """
    Where control groups are mounted.

    Attributes:
        unified: The v2 hierarchy; None without one.
        controllers: v1 controller to its folder.

    """

    unified: Path | None
    controllers: Mapping[str, Path]

    @property
    def version(self) -> str:
        """v1, hybrid or v2."""
        if not self.controllers:
            return "v2"
        return "hybrid" if self.unified is not None else "v1"


@dataclass(frozen=True, slots=True)
class Counters:
    """
    One reading of a control group; None is unknown or not limited.

    Attributes:
        usage_us: CPU time [us].
        periods: Enforcement periods that passed with the quota in force.
        throttled: Of them those in which it was throttled.
        throttled_us: Time it was throttled [us].
        memory_bytes: Charged memory [bytes].
        cache_bytes: Of it page cache that can be dropped at once [bytes].
        oom_kills: Processes killed for its limit.
        limit_hits: Times it hit its limit.
        read_bytes: From block devices [bytes].
        write_bytes: To block devices [bytes].
        stalls: (resource, kind) to stalled time [us].

    """

    usage_us: int | None = None
    periods: int | None = None
    throttled: int | None = None
    throttled_us: int | None = None
    memory_bytes: int | None = None
    cache_bytes: int | None = None
    oom_kills: int | None = None
    limit_hits: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None
    stalls: Mapping[tuple[str, str], int] | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """
    What a control group is.

    Attributes:
        name: Unit or container, made safe to show.
        kind: service, scope, slice, container or group.
        runtime: docker, containerd, cri-o, podman, lxc; None for others.
        container: First twelve digits of the container's id.
        pod: The pod's unique id.

    """

    name: str
    kind: str
    runtime: str | None = None
    container: str | None = None
    pod: str | None = None


def hierarchies(ctx: Context) -> Hierarchies:
    """
    Find the hierarchies by what is mounted, not by distribution.

    Args:
        ctx: Paths.

    Returns:
        Where they are.

    Source:
        /sys/fs/cgroup, cgroups(7): v2 has cgroup.controllers in its root,
        hybrid systems have it in "unified" or "systemd".

    """
    top = ctx.paths.sys / "fs/cgroup"
    if (top / "cgroup.controllers").exists():
        return Hierarchies(top, {})
    unified = next((p for p in (top / "unified",) if (p / "cgroup.controllers").exists()), None)
    names = ("cpu", "cpuacct", "memory", "blkio", "pids")
    return Hierarchies(unified, {n: top / n for n in names if (top / n).is_dir()})


def walk(root: Path, most: int = MOST) -> Iterator[str]:
    """
    Find control groups, the upper ones first.

    Args:
        root: A hierarchy.
        most: How many to give at most.

    Yields:
        Their paths below the root, such as "/system.slice/ssh.service".

    """
    level: list[Path] = [root]
    given = 0
    while level:
        below: list[Path] = []
        for folder in level:
            try:
                below += sorted(p for p in folder.iterdir() if p.is_dir())
            except OSError:
                continue
        for folder in below:
            if given >= most:
                return
            given += 1
            yield "/" + str(folder.relative_to(root))
        level = below


def identify(path: str) -> Identity:
    r"""
    Tell what a control group is from its path.

    Args:
        path: Such as "/system.slice/docker-<64 digits>.scope".

    Returns:
        Unit, container or plain group; the \x2d of unit names is undone.

    Source:
        systemd.unit(5) for escaping; the runtimes' naming of scopes.

    """
    last = path.rpartition("/")[2]
    plain = label(_ESCAPE.sub(lambda m: chr(int(m[1], 16)), last), 96)
    pod = _POD.search(path)
    found = _CONTAINER.search(path)
    if found:
        runtime = _RUNTIMES.get(found[1] or "") or _runtime(path)
        short = found[2][:12]
        unit = pod[1].replace("_", "-") if pod else None
        return Identity(f"{runtime or 'container'}:{short}", "container", runtime, short, unit)
    if "lxc.payload" in path or path.startswith("/lxc/"):
        return Identity(plain.removeprefix("lxc.payload."), "container", "lxc")
    suffix = last.rpartition(".")[2]
    kind = suffix if suffix in ("service", "scope", "slice") else "group"
    return Identity(plain, kind)


def _runtime(path: str) -> str | None:
    """Guess the runtime from the folders above."""
    return next((r for word, r in _RUNTIMES.items() if f"/{word}" in path), None)


def read(ctx: Context, found: Hierarchies, path: str) -> Counters:
    """
    Read a control group's counters.

    Args:
        ctx: Paths.
        found: The hierarchies.
        path: The group.

    Returns:
        The counters.

    Source:
        Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/.

    """
    return _read_v1(ctx, found, path) if found.controllers else _read_v2(ctx, found, path)


def _read_v2(ctx: Context, found: Hierarchies, path: str) -> Counters:
    """Read the files of the unified hierarchy."""
    assert found.unified is not None
    folder = found.unified / path.lstrip("/")
    cpu = key_values(ctx.try_read(folder / "cpu.stat") or b"")
    memory = key_values(ctx.try_read(folder / "memory.stat") or b"")
    events = key_values(ctx.try_read(folder / "memory.events") or b"")
    moved = parse_io(ctx.try_read(folder / "io.stat") or b"")
    return Counters(
        usage_us=cpu.get("usage_usec"),
        periods=cpu.get("nr_periods"),
        throttled=cpu.get("nr_throttled"),
        throttled_us=cpu.get("throttled_usec"),
        memory_bytes=natural_or_none(ctx.try_read(folder / "memory.current")),
        cache_bytes=memory.get("inactive_file"),
        oom_kills=events.get("oom_kill"),
        limit_hits=events.get("max"),
        read_bytes=moved[0],
        write_bytes=moved[1],
        stalls=_stalls(ctx, folder),
    )


def _stalls(ctx: Context, folder: Path) -> Mapping[tuple[str, str], int]:
    """Read a group's own pressure."""
    raws = {r: ctx.try_read(folder / f"{r}.pressure") for r in ("cpu", "memory", "io")}
    return {
        (r, kind): line.total
        for r, raw in raws.items()
        if raw
        for kind, line in parse_pressure(raw).items()
    }


def parse_io(raw: bytes) -> tuple[int | None, int | None]:
    """
    Parse a group's transfers and add up the devices.

    Args:
        raw: Content of io.stat.

    Returns:
        Bytes read and written; None when the file is empty.

    Source:
        io.stat, Documentation/admin-guide/cgroup-v2.rst.

    """
    sums: dict[bytes, int] = {}
    for line in raw.splitlines():
        for pair in line.split()[1:]:
            key, _, value = pair.partition(b"=")
            if value.isdigit() and len(value) <= 20:  # noqa: PLR2004
                sums[key] = sums.get(key, 0) + int(value)
    return sums.get(b"rbytes"), sums.get(b"wbytes")


def parse_blkio(raw: bytes) -> tuple[int | None, int | None]:
    """
    Parse a v1 group's transfers and add up the devices.

    Args:
        raw: Content of blkio.throttle.io_service_bytes.

    Returns:
        Bytes read and written; None when there are none.

    Source:
        Documentation/admin-guide/cgroup-v1/blkio-controller.rst.

    """
    sums: dict[bytes, int] = {}
    for line in raw.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2].isdigit() and len(fields[2]) <= 20:  # noqa: PLR2004
            sums[fields[1]] = sums.get(fields[1], 0) + int(fields[2])
    return sums.get(b"Read"), sums.get(b"Write")


def _read_v1(ctx: Context, found: Hierarchies, path: str) -> Counters:
    """Read the files of the separate hierarchies; a group need not be in all of them."""
    below = path.lstrip("/")
    folders = {n: p / below for n, p in found.controllers.items() if (p / below).is_dir()}

    def raw(controller: str, name: str) -> bytes | None:
        folder = folders.get(controller)
        return None if folder is None else ctx.try_read(folder / name)

    cpu = key_values(raw("cpu", "cpu.stat") or b"")
    memory = key_values(raw("memory", "memory.stat") or b"")
    usage = natural_or_none(raw("cpuacct", "cpuacct.usage"))
    throttled = cpu.get("throttled_time")
    moved = parse_blkio(raw("blkio", "blkio.throttle.io_service_bytes") or b"")
    return Counters(
        usage_us=None if usage is None else usage // _NANOSECONDS_PER_MICROSECOND,
        periods=cpu.get("nr_periods"),
        throttled=cpu.get("nr_throttled"),
        throttled_us=None if throttled is None else throttled // _NANOSECONDS_PER_MICROSECOND,
        memory_bytes=natural_or_none(raw("memory", "memory.usage_in_bytes")),
        cache_bytes=memory.get("total_inactive_file"),
        oom_kills=key_values(raw("memory", "memory.oom_control") or b"").get("oom_kill"),
        limit_hits=natural_or_none(raw("memory", "memory.failcnt")),
        read_bytes=moved[0],
        write_bytes=moved[1],
        stalls=_stalls(ctx, found.unified / below) if found.unified else None,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What a control group may use; None is unlimited or unknown.

    Attributes:
        cpus: CPU time per second [cores].
        memory_bytes: The smallest limit of the group and those above it [bytes].
        pids: Tasks now.
        pids_max: Most of them.

    """

    cpus: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    pids_max: int | None = None


def limits(ctx: Context, found: Hierarchies, path: str) -> Limits:
    """
    Read a control group's limits.

    Args:
        ctx: Paths.
        found: The hierarchies.
        path: The group.

    Returns:
        The limits in effect.

    Source:
        cpu.max, memory.max, memory.high, pids.* (v2); cpu.cfs_quota_us,
        cpu.cfs_period_us, memory.limit_in_bytes, pids.* (v1).

    """
    v1 = found.controllers
    root = found.unified or Path("/nonexistent")
    pids = v1.get("pids", root) / path.lstrip("/") if v1 else root / path.lstrip("/")
    memory = v1.get("memory") if v1 else root
    name = "memory.limit_in_bytes" if v1 else "memory.max"
    bounds = [] if memory is None else [
        natural_or_none(ctx.try_read(memory / above / name)) for above in _with_parents(path)
    ]  # fmt: skip
    known = [b for b in bounds if b is not None and b < _UNLIMITED]
    return Limits(
        cpus=_quota_v1(ctx, v1, path) if v1 else _quota_v2(ctx, root / path.lstrip("/")),
        memory_bytes=min(known, default=None),
        pids=natural_or_none(ctx.try_read(pids / "pids.current")),
        pids_max=natural_or_none(ctx.try_read(pids / "pids.max")),
    )


def _with_parents(path: str) -> list[str]:
    """List a group and those above it, the root left out."""
    parts = path.strip("/").split("/")
    return ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _quota_v2(ctx: Context, folder: Path) -> float | None:
    """Read how many CPUs a group may use."""
    fields = (ctx.try_read(folder / "cpu.max") or b"").split()
    quota, period = (natural_or_none(f) for f in fields) if len(fields) == 2 else (None, None)  # noqa: PLR2004
    return quota / period if quota and period else None


def _quota_v1(ctx: Context, controllers: Mapping[str, Path], path: str) -> float | None:
    """Read how many CPUs a group may use; -1 is no quota."""
    folder = controllers.get("cpu")
    if folder is None:
        return None
    quota = natural_or_none(ctx.try_read(folder / path.lstrip("/") / "cpu.cfs_quota_us"))
    period = natural_or_none(ctx.try_read(folder / path.lstrip("/") / "cpu.cfs_period_us"))
    return quota / period if quota and period else None
