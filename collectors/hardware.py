"""Hardware that tells of its own failures: memory errors, hot processors, broken links, energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.rates import Track, delta
from collectors.text import key_values, label, natural_or_none

_MICROJOULES = 1e6
_MILLISECONDS = 1e3
_MOST_DEVICES = 256
_MOST_CPUS = 1024
_KINDS = ("correctable", "nonfatal", "fatal")
_CORE = ("core_throttle_count",)
_PACKAGE = ("package_throttle_count", "package_throttle_total_time_ms")
_MODULE = ("dimm_ce_count", "dimm_ue_count")
_CONTROLLER = ("ce_count", "ue_count")


@dataclass(frozen=True, slots=True)
class Dimm:
    """
    A memory controller's errors.

    Attributes:
        name: The controller, or controller and module.
        label: Where the module is, as the board's maker tells; None when not told.
        corrected: Errors that were corrected, since boot.
        uncorrected: Errors that were not: data was lost.
        corrected_increase: The same in the window.
        uncorrected_increase: The same in the window.

    """

    name: str
    label: str | None
    corrected: int | None
    uncorrected: int | None
    corrected_increase: int | None
    uncorrected_increase: int | None


@dataclass(frozen=True, slots=True)
class HardwareSample:
    """
    What the hardware tells of itself; None where it tells nothing.

    Attributes:
        window_seconds: Observed time [s].
        memory: Memory controllers, and of their modules those with errors.
        throttled: Times a core was slowed down by heat in the window, all cores added up.
        throttled_total: The same since boot.
        package_throttled: Times the package that was slowed down most often was, in the window.
        package_throttled_seconds: Longest time for which any package was, in the
            window [s]; since kernel 5.6.
        links: PCI device to kind ("correctable", "nonfatal", "fatal") to its errors since
            the device appeared, of devices that had any; 256 are looked at.
        links_increase: The same since the sweep before; None in the first.
        watts: Power zone ("package-0", "dram") to its mean power in the window [W].

    """

    window_seconds: float
    memory: tuple[Dimm, ...] = ()
    throttled: int | None = None
    throttled_total: int | None = None
    package_throttled: int | None = None
    package_throttled_seconds: float | None = None
    links: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    links_increase: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    watts: Mapping[str, float] = field(default_factory=dict)


Key = tuple[str, str]


@collector(category="system")
def collect(ctx: Context) -> HardwareSample:
    """
    Read the counters at the window's ends.

    Args:
        ctx: Paths and window; memory keeps which sources this host has.

    Returns:
        The counters; nothing where the platform's driver is not loaded.

    Raises:
        Unavailable: When the hardware tells nothing, as in most virtual machines.

    Source:
        /sys/devices/system/edac/mc, Documentation/admin-guide/ras.rst;
        /sys/devices/system/cpu/cpuN/thermal_throttle of one CPU of each core;
        /sys/bus/pci/devices/*/aer_dev_*, Documentation/ABI/testing/sysfs-bus-pci-devices-aer;
        /sys/class/powercap, Documentation/power/powercap/powercap.rst.

    """
    sources = ctx.memory.get("sources")
    if sources is None:
        sources = ctx.memory["sources"] = _find(ctx)
    if not any(sources.values()):
        raise Unavailable("this hardware tells nothing of itself", Cause.ABSENT)
    track: Track[Key] = Track()
    for at in ctx.ends():
        track.add(at, dict(_read(ctx, sources)))
    links = _links(ctx, sources["aer"])
    return HardwareSample(
        window_seconds=track.seconds,
        memory=_memory(ctx, sources["edac"], track),
        throttled=_sum(_steps(track, "core_throttle_count")),
        throttled_total=_total(track, "core_throttle_count"),
        package_throttled=_most(_steps(track, "package_throttle_count")),
        package_throttled_seconds=_milliseconds(_steps(track, "package_throttle_total_time_ms")),
        links=links,
        links_increase=_links_increase(ctx, links),
        watts=_watts(ctx, sources["rapl"], track),
    )


Sources = dict[str, list[str]]


def _find(ctx: Context) -> Sources:
    """Look once for what this host has: walking all devices costs more than reading them."""
    sys = ctx.paths.sys
    return {
        "edac": _names(sys, "devices/system/edac/mc", "mc*/ce_count"),
        "cores": _first_of(ctx, "thread_siblings_list"),
        "packages": _first_of(ctx, "physical_package_id"),
        "aer": _names(sys, "bus/pci/devices", "*/aer_dev_correctable")[:_MOST_DEVICES],
        "rapl": _names(sys, "class/powercap", "*/energy_uj"),
    }


def _names(sys: Path, folder: str, pattern: str) -> list[str]:
    """Find the folders that have a file."""
    return sorted(str(p.parent.relative_to(sys)) for p in (sys / folder).glob(pattern))


def _first_of(ctx: Context, group: str) -> list[str]:
    """Find one CPU of each core or package: all CPUs of one tell of the same heat."""
    cpus = ctx.paths.sys / "devices/system/cpu"
    seen: dict[bytes, str] = {}
    for folder in sorted(cpus.glob("cpu[0-9]*/thermal_throttle"))[:_MOST_CPUS]:
        key = ctx.try_read(folder.parent / "topology" / group, 4096) or folder.parent.name.encode()
        seen.setdefault(key, str(folder.relative_to(ctx.paths.sys)))
    return list(seen.values())


def _read(ctx: Context, sources: Sources) -> Iterator[tuple[Key, int]]:
    """Read the counters of the window's one end."""
    wanted = [(f, n) for f in sources["edac"] for n in _CONTROLLER]
    wanted += [(f, n) for f in _modules(ctx, sources["edac"]) for n in _MODULE]
    wanted += [(f, n) for f in sources["cores"] for n in _CORE]
    wanted += [(f, n) for f in sources["packages"] for n in _PACKAGE]
    wanted += [(f, "energy_uj") for f in sources["rapl"]]
    for folder, name in wanted:
        value = natural_or_none(ctx.try_read(ctx.paths.sys / folder / name, 64))
        if value is not None:
            yield (folder, name), value


def _modules(ctx: Context, controllers: list[str]) -> list[str]:
    """Find the modules, which are only of interest where the controller counted anything."""
    sys = ctx.paths.sys
    bad = [
        f
        for f in controllers
        if any(natural_or_none(ctx.try_read(sys / f / n, 64)) for n in _CONTROLLER)
    ]
    return [str(p.relative_to(sys)) for f in bad for p in sorted((sys / f).glob("dimm[0-9]*"))]


def parse_link_errors(raw: bytes) -> int | None:
    """
    Read how many errors a PCI device had.

    Args:
        raw: Content of aer_dev_correctable, aer_dev_nonfatal or aer_dev_fatal.

    Returns:
        All kinds added up; None when there is no number.

    Source:
        "Kind count" a line, the last of them a total such as "TOTAL_ERR_COR 0";
        Documentation/ABI/testing/sysfs-bus-pci-devices-aer.

    """
    table = key_values(raw)
    totals = [v for k, v in table.items() if k.startswith("TOTAL_")]
    return totals[0] if totals else sum(table.values()) if table else None


def _memory(ctx: Context, controllers: list[str], track: Track[Key]) -> tuple[Dimm, ...]:
    """Describe the controllers, and the modules with errors."""
    folders = dict.fromkeys(f for f, name in track.names() if name in (*_CONTROLLER, *_MODULE))
    return tuple(
        dimm
        for f in folders
        if (dimm := _dimm(ctx, f, track)).corrected or dimm.uncorrected or f in controllers
    )


def _dimm(ctx: Context, folder: str, track: Track[Key]) -> Dimm:
    """Describe a controller or module."""
    place = folder.split("/")
    prefix = "" if place[-1].startswith("mc") else "dimm_"
    corrected, uncorrected = (folder, f"{prefix}ce_count"), (folder, f"{prefix}ue_count")
    name = (ctx.try_read(ctx.paths.sys / folder / "dimm_label", 128) or b"").strip()
    return Dimm(
        name=label("/".join(place[-2:]) if prefix else place[-1]),
        label=label(name) if name else None,
        corrected=track.last(corrected),
        uncorrected=track.last(uncorrected),
        corrected_increase=track.increase(corrected),
        uncorrected_increase=track.increase(uncorrected),
    )


def _steps(track: Track[Key], name: str) -> list[int] | None:
    """Give a counter's increases; unknown when one of them is, or there is none."""
    steps = [track.increase(key) for key in track.names() if key[1] == name]
    known = [s for s in steps if s is not None]
    return known if known and len(known) == len(steps) else None


def _sum(steps: list[int] | None) -> int | None:
    """Add up."""
    return None if steps is None else sum(steps)


def _most(steps: list[int] | None) -> int | None:
    """Give the largest."""
    return None if steps is None else max(steps)


def _milliseconds(steps: list[int] | None) -> float | None:
    """Give the largest of times, in seconds."""
    return None if steps is None else max(steps) / _MILLISECONDS


def _total(track: Track[Key], name: str) -> int | None:
    """Add up a counter's newest values."""
    values = [value for (_, counter), value in track.rows[-1].items() if counter == name]
    return sum(values) if values else None


def _links(ctx: Context, devices: list[str]) -> dict[str, dict[str, int]]:
    """Read the errors of PCI devices: three files each, so only once in a window."""
    found: dict[str, dict[str, int]] = {}
    for folder in devices:
        files = {kind: ctx.paths.sys / folder / f"aer_dev_{kind}" for kind in _KINDS}
        raws = {kind: ctx.try_read(path, 4096) for kind, path in files.items()}
        counts = {kind: parse_link_errors(raw) for kind, raw in raws.items() if raw}
        known = {kind: count for kind, count in counts.items() if count is not None}
        if any(known.values()):
            found[label(folder.rpartition("/")[2])] = known
    return found


def _links_increase(
    ctx: Context, links: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int | None]]:
    """Compare with the sweep before; a device that had no error then began at 0."""
    before: Mapping[str, Mapping[str, int]] | None = ctx.memory.get("links")
    ctx.memory["links"] = links
    if before is None:
        return {name: dict.fromkeys(kinds) for name, kinds in links.items()}
    return {
        name: {kind: delta(before.get(name, {}).get(kind, 0), n) for kind, n in kinds.items()}
        for name, kinds in links.items()
    }


def _watts(ctx: Context, zones: list[str], track: Track[Key]) -> dict[str, float]:
    """Give the power of each zone; a counter that wrapped around tells nothing."""
    found: dict[str, float] = {}
    for folder in zones:
        used = track.increase((folder, "energy_uj"))
        name = (ctx.try_read(ctx.paths.sys / folder / "name", 64) or b"").strip()
        if used is not None and track.seconds > 0:
            key = label(name) or folder.rpartition("/")[2]
            # Each package has a zone of the same name below it ("dram", "core").
            key = key if key not in found else f"{key} {folder.rpartition('/')[2]}"
            found[key] = used / _MICROJOULES / track.seconds
    return found
