"""Sensors: CPU frequency, temperatures, fans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.text import integer, label, natural_or_none

_KILOHERTZ = 1e3
_MILLIDEGREES = 1e3
_INPUT = re.compile(r"(temp|fan)\d+_input")
_MOST_CHIPS = 64


@dataclass(frozen=True, slots=True)
class Temperature:
    """
    One temperature sensor.

    Attributes:
        chip: The chip that measures.
        name: What it measures.
        celsius: The temperature [degrees Celsius].
        high: Where the chip calls it high; None when it does not say.
        critical: Where the chip calls it critical; None when it does not say.

    """

    chip: str
    name: str
    celsius: float
    high: float | None
    critical: float | None


@dataclass(frozen=True, slots=True)
class SensorsSample:
    """
    What the board measures.

    Attributes:
        frequency: Mean of all CPUs now [Hz]; None when unknown.
        frequency_max: Highest a CPU can have [Hz]; None when unknown.
        frequency_allowed: Highest that is allowed to any CPU now, by a person or by a
            firmware that saves power or heat [Hz]; None when unknown.
        temperatures: The temperature sensors.
        fans: "chip name" to turns per minute.

    """

    frequency: float | None = None
    frequency_max: float | None = None
    frequency_allowed: float | None = None
    temperatures: tuple[Temperature, ...] = ()
    fans: Mapping[str, int] = field(default_factory=dict)


@collector(category="system")
def collect(ctx: Context) -> SensorsSample:
    """
    Read the sensors once, at the window's end.

    A driver may wait for its chip, even for ever; the collector has a thread of
    its own, so that costs nothing else. psutil is not asked, because it fills in
    a threshold that the chip does not tell, and counts sleeping CPUs as 0 Hz.

    Args:
        ctx: Paths and window.

    Returns:
        The sensors.

    Raises:
        Unavailable: When there is no sensor.

    Source:
        /sys/class/hwmon, Documentation/hwmon/sysfs-interface.rst; where no chip
        measures, /sys/class/thermal, Documentation/driver-api/thermal/sysfs-api.rst;
        /sys/devices/system/cpu/cpufreq, Documentation/admin-guide/pm/cpufreq.rst.

    """
    for _ in ctx.ends():
        pass
    chips = _entries(ctx.paths.sys / "class/hwmon", "hwmon")[:_MOST_CHIPS]
    found = [sensor for chip in chips for sensor in _chip(ctx, chip)]
    temperatures = [s for s in found if isinstance(s, Temperature)]
    zones = _entries(ctx.paths.sys / "class/thermal", "thermal_zone")[:_MOST_CHIPS]
    frequency, most, allowed = _frequencies(ctx)
    sample = SensorsSample(
        frequency=frequency,
        frequency_max=most,
        frequency_allowed=allowed,
        temperatures=tuple(temperatures or (t for z in zones if (t := _zone(ctx, z)))),
        fans=dict(s for s in found if not isinstance(s, Temperature)),
    )
    if sample == SensorsSample():
        raise Unavailable("this host has no sensors", Cause.ABSENT)
    return sample


def _entries(folder: Path, prefix: str) -> list[Path]:
    """List the entries of a folder that may not exist, by their numbers."""
    try:
        found = [p for p in folder.iterdir() if p.name.removeprefix(prefix).isdecimal()]
    except OSError:
        return []
    return sorted(found, key=lambda p: int(p.name.removeprefix(prefix)))


def _chip(ctx: Context, chip: Path) -> Iterator[Temperature | tuple[str, int]]:
    """Read the temperatures and fans of a chip."""
    try:
        inputs = sorted(p.name for p in chip.iterdir() if _INPUT.fullmatch(p.name))
    except OSError:
        return
    name = _word(ctx, chip / "name") or chip.name
    for file in inputs:
        sensor, value = file.removesuffix("_input"), _value(ctx, chip / file)
        words = _word(ctx, chip / f"{sensor}_label")
        if value is None:
            continue
        if sensor.startswith("temp"):
            high, critical = (_value(ctx, chip / f"{sensor}_{n}") for n in ("max", "crit"))
            yield _temperature(name, words or sensor, value, high, critical)
        elif value >= 0:
            yield f"{name} {words or sensor}", value


def _temperature(
    chip: str, name: str, value: int, high: int | None, critical: int | None
) -> Temperature:
    """Turn millidegrees into degrees; a threshold of 0 or less is one that was never set."""
    limits = (n / _MILLIDEGREES if n is not None and n > 0 else None for n in (high, critical))
    return Temperature(chip, name, value / _MILLIDEGREES, *limits)


def _zone(ctx: Context, zone: Path) -> Temperature | None:
    """Read a thermal zone."""
    value = _value(ctx, zone / "temp")
    if value is None:
        return None
    name = _word(ctx, zone / "type") or zone.name
    trips: dict[str | None, int | None] = {}
    for file in sorted(p for p in zone.glob("trip_point_*_type")):
        place = file.name.removesuffix("_type")
        trips.setdefault(_word(ctx, file), _value(ctx, zone / f"{place}_temp"))
    return _temperature(name, zone.name, value, trips.get("hot"), trips.get("critical"))


def _frequencies(ctx: Context) -> tuple[float | None, float | None, float | None]:
    """Give the mean, the highest possible and the highest allowed frequency of all CPUs."""
    clocks: list[tuple[int, int]] = []
    most: list[int] = []
    allowed: list[int] = []
    for policy in _entries(ctx.paths.sys / "devices/system/cpu/cpufreq", "policy"):
        now, highest, limit = (
            natural_or_none(_raw(ctx, policy / f"{n}_freq"))
            for n in ("scaling_cur", "cpuinfo_max", "scaling_max")
        )
        # CPUs that share a clock share a policy; one whose CPUs are all offline has none.
        cpus = len((_raw(ctx, policy / "affected_cpus") or b"").split())
        clocks += [(now, cpus)] if now and cpus else []
        most += [highest] if highest else []
        allowed += [limit] if limit else []
    count = sum(cpus for _, cpus in clocks)
    mean = sum(now * cpus for now, cpus in clocks) / count * _KILOHERTZ if count else None
    return (
        mean,
        max(most) * _KILOHERTZ if most else None,
        max(allowed) * _KILOHERTZ if allowed else None,
    )


def _raw(ctx: Context, path: Path) -> bytes | None:
    """Read what a driver may refuse while its chip sleeps: that is no gap worth a word."""
    try:
        return ctx.read(path, 256).strip()
    except Unavailable:
        return None


def _value(ctx: Context, path: Path) -> int | None:
    """Read a number, which may be negative."""
    try:
        return integer(_raw(ctx, path) or b"")
    except ValueError:
        return None


def _word(ctx: Context, path: Path) -> str | None:
    """Read a name."""
    raw = _raw(ctx, path)
    return label(raw) if raw else None
