"""Sensors: CPU frequency, temperatures, fans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.text import label

_MEGAHERTZ = 1e6


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
        frequency_max: Highest a CPU may have [Hz]; None when unknown.
        temperatures: The temperature sensors.
        fans: "chip name" to turns per minute.

    """

    frequency: float | None = None
    frequency_max: float | None = None
    temperatures: tuple[Temperature, ...] = ()
    fans: Mapping[str, int] = field(default_factory=dict)


@collector(category="system")
def collect(ctx: Context) -> SensorsSample:
    """
    Read the sensors once, at the window's end.

    A driver may wait for its chip, even for ever; the collector has a thread of
    its own, so that costs nothing else.

    Args:
        ctx: Paths and window.

    Returns:
        The sensors.

    Raises:
        Unavailable: When there is no sensor, or when sysfs is not this host's own.

    Source:
        psutil: /sys/devices/system/cpu/cpufreq, /sys/class/hwmon, /sys/class/thermal.

    """
    if ctx.paths.sys != Path("/sys"):
        raise Unavailable("sensors are read from this host's own /sys only", Cause.ABSENT)
    # Imported here: on hosts without sensors, most virtual ones, it is never needed.
    if not any((ctx.paths.sys / name).is_dir() for name in _FOLDERS):
        raise Unavailable("this host has no sensors", Cause.ABSENT)
    for _ in ctx.ends():
        pass
    sample = _read()
    if sample == SensorsSample():
        raise Unavailable("this host has no sensors", Cause.ABSENT)
    return sample


_FOLDERS = ("class/hwmon", "class/thermal", "devices/system/cpu/cpufreq")


def _read() -> SensorsSample:
    """Ask psutil; a frequency of 0 means that it does not know."""
    import psutil

    frequency = psutil.cpu_freq()
    temperatures = tuple(
        Temperature(label(chip), label(s.label or chip), s.current, s.high, s.critical)
        for chip, sensors in psutil.sensors_temperatures().items()
        for s in sensors
    )
    fans = {
        label(f"{chip} {f.label}".strip()): int(f.current)
        for chip, found in psutil.sensors_fans().items()
        for f in found
    }
    return SensorsSample(
        frequency=frequency.current * _MEGAHERTZ if frequency and frequency.current else None,
        frequency_max=frequency.max * _MEGAHERTZ if frequency and frequency.max else None,
        temperatures=temperatures,
        fans=fans,
    )
