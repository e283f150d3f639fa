"""The tables of a report as text: use of the resources, and processes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from analysis.model import Culprit
from analysis.text import duration, number, size
from analysis.use_model import DeviceUse, ResourceUse
from analysis.verdict import amount
from collectors.disk import DiskSample
from collectors.network import Interface, NetworkSample
from collectors.process_sample import Process, ProcessSample
from exporter.layout import grid, shorten
from exporter.report import Report

T = TypeVar("T")

_DEVICES = 4  # of each resource, the most troubled and then the busiest ones
_NAME = 26  # [columns]
_SIGNALS = 3  # of each row
_NOTABLE = 0.01  # less of a limit, or less time stalled, is no news [ratio]
_HEADER = ("RESOURCE", "USED", "PEAK", "STALLED", "QUEUE", "ERRORS, LIMITS, TRAFFIC")
_PROCESSES = 20
_Row = tuple[str, str, str, str, str, str]


def measure(value: float | None, unit: str) -> str:
    """
    Write a number with its unit.

    Args:
        value: The number; None when unknown.
        unit: Its unit.

    Returns:
        Such as "97 %", "3.2 GiB/s" or "12 ms".

    """
    if value is None:
        return "unknown"
    if unit in ("s", "seconds"):
        return duration(value)
    return amount(Culprit("", "", value=value, unit=unit))


def use_table(
    report: Report, resources: Mapping[str, ResourceUse], width: int, focus: Collection[str]
) -> str:
    """
    Write utilization, saturation and errors of the resources and their devices.

    Args:
        report: The report, for the traffic of links and disks.
        resources: Resource to its use.
        width: Longest line [columns].
        focus: Resources of which every device is shown; "all" for all of them.

    Returns:
        The lines; a dash is unknown or has no meaning, a device of which
        nothing is known or that did nothing is only counted.

    """
    rows: list[_Row] = [_HEADER]
    for name, use in resources.items():
        rows.append(_row(name, use, _worst(use.pressure), ""))
        most = len(use.devices) if {name, "all"} & set(focus) else _DEVICES
        rows += _devices(use.devices, _traffic(report, name), most)
    return "USE\n" + grid(rows, "  ", width, right=(1, 2, 3, 4))


def _devices(
    devices: Mapping[str, DeviceUse], traffic: Mapping[str, str], most: int
) -> Iterator[_Row]:
    """Write the devices that have something to tell, and count the others."""
    telling = {
        name: use
        for name, use in devices.items()
        if use.utilization.mean is not None or _notes(use) or traffic.get(name)
    }
    ordered = sorted(
        telling.items(), key=lambda d: (not _notes(d[1]), -(d[1].utilization.mean or 0.0))
    )
    for name, use in ordered[:most]:
        yield _row(f"  {shorten(name, _NAME)}", use, None, traffic.get(name, ""))
    rest, silent = len(telling) - min(most, len(telling)), len(devices) - len(telling)
    told = [f"{rest} more"] if rest else []
    told += [f"{silent} idle or unknown"] if silent else []
    if told:
        yield f"  ({', '.join(told)})", "", "", "", "", ""


def _row(name: str, use: ResourceUse | DeviceUse, stalled: float | None, traffic: str) -> _Row:
    """Write one row."""
    queue = "-" if use.queue_length is None else f"{use.queue_length:.1f}"
    notes = _notes(use)
    more = len(notes) - _SIGNALS
    shown = [*notes[:_SIGNALS], *([f"{more} more"] if more > 0 else []), *filter(None, [traffic])]
    spread = use.utilization
    return name, _share(spread.mean), _share(spread.peak), _share(stalled), queue, ", ".join(shown)


def _notes(use: ResourceUse | DeviceUse) -> list[str]:
    """Tell errors of the window, then what is near a limit or stalls, worst first."""
    errors = [f"{kind} +{count.increase:,}" for kind, count in use.errors.items() if count.increase]
    known = {k: v for k, v in use.saturation.items() if v is not None and v >= _NOTABLE}
    worst = sorted(known.items(), key=lambda signal: -signal[1])
    return errors + [f"{name} {_share(value)}" for name, value in worst]


def _worst(pressure: Mapping[str, float | None]) -> float | None:
    """Give the larger of the shares of time in which some and all tasks stalled."""
    return max((p for p in pressure.values() if p is not None), default=None)


def _share(ratio: float | None) -> str:
    """Write a ratio so that a column of them is compared at a glance."""
    if ratio is None:
        return "-"
    value = ratio * 100
    if 0 < value < 0.05:  # noqa: PLR2004
        return "<0.1 %"
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"  # noqa: PLR2004


def _traffic(report: Report, resource: str) -> dict[str, str]:
    """Tell what moves through the links or the disks."""
    if resource == "network" and (links := _sample(report, NetworkSample)):
        return {name: text for name, link in links.interfaces.items() if (text := _link(link))}
    if resource == "disk" and (disks := _sample(report, DiskSample)):
        return {
            disk.name: _flows(
                (disk.read.bytes_per_second, "read"), (disk.write.bytes_per_second, "written")
            )
            for disk in disks.disks
        }
    return {}


def _link(link: Interface) -> str:
    """Tell what a link carries; empty when that is nothing, or unknown."""
    text = _flows((link.receive.mean, "in"), (link.transmit.mean, "out"))
    return f"{text} (speed unknown)" if text and not link.speed_bytes_per_second else text


def _flows(*flows: tuple[float | None, str]) -> str:
    """Write what flows each way; nothing of what does not flow or is unknown."""
    return ", ".join(f"{size(rate)}/s {word}" for rate, word in flows if rate)


def _sample(report: Report, kind: type[T]) -> T | None:
    """Find a collector's sample in a report."""
    data: Iterator[Any] = (e.data for entries in report.categories.values() for e in entries)
    return next((d for d in data if isinstance(d, kind)), None)


def process_table(report: Report, width: int) -> str:
    """
    Write the processes of a report, those that use most CPU time first.

    Args:
        report: The report.
        width: Longest line [columns].

    Returns:
        The lines.

    """
    sample = _sample(report, ProcessSample)
    tops = [f.name for f in fields(ProcessSample) if f.name.startswith("top_")]
    found = {p.pid: p for name in tops for p in (getattr(sample, name) if sample else ())}
    if not found:
        return "PROCESSES\n  none that could be read"
    ordered = sorted(found.values(), key=lambda p: (-(p.cpu or 0.0), p.pid))[:_PROCESSES]
    header = ("PID", "CORES", "MEMORY", "READ", "WRITTEN", "FILES", "THREADS", "STATE", "NAME")
    rows = [header, *map(_process, ordered)]
    return "PROCESSES\n" + grid(rows, "  ", width, right=range(7))


def _process(process: Process) -> tuple[str, ...]:
    """Write one process; a dash is unknown."""

    def known(value: float | None, form: str = "{:.0f}") -> str:
        return "-" if value is None else form.format(value)

    def rate(value: float | None) -> str:
        return "-" if value is None else f"{size(value)}/s"

    return (
        str(process.pid),
        "-" if process.cpu is None else number(process.cpu),
        "-" if process.rss_bytes is None else size(process.rss_bytes),
        rate(process.read_bytes_per_second),
        rate(process.write_bytes_per_second),
        known(process.fds),
        known(process.threads),
        process.state,
        process.comm,
    )
