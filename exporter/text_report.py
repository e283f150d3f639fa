"""A report as text, for a terminal at night."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.model import DeviceUse, Recommendation, ResourceUse
from analysis.text import percent
from analysis.verdict import amount
from exporter.report import DatedAnomaly, Report, Summary


def text(report: Report) -> str:
    """
    Write a report out for reading.

    Args:
        report: The report.

    Returns:
        Score with its deductions, the USE table, anomalies with culprits and
        evidence, advice, and what could not be read.

    """
    summary = report.summary
    if summary is None:
        return "no assessment\n"
    parts = [
        _head(report, summary),
        _deductions(summary),
        _table(summary),
        *map(_anomaly, summary.anomalies),
        _advice(summary.recommendations),
        _gaps(report),
    ]
    return "\n".join(part for part in parts if part)


def _head(report: Report, summary: Summary) -> str:
    """Write verdict and circumstances."""
    about = report.metadata
    score = "unknown" if summary.health_score is None else f"{summary.health_score:g}"
    state = "" if about.complete else f"  PARTIAL: {'; '.join(about.partial_reasons)}\n"
    return (
        f"{summary.verdict}\n\n"
        f"  {about.hostname} · kernel {about.kernel} · {about.profile} sweep of "
        f"{about.window_seconds:.0f} s at {about.started_at}\n{state}"
        f"  score {score} ({summary.band}) · coverage {percent(summary.coverage)} · "
        f"cost {about.overhead.cpu_seconds * 1000:.0f} ms CPU\n"
    )


def _deductions(summary: Summary) -> str:
    """Write the sum that leads to the score."""
    lines = [f"  -{d.points:<5g} {d.resource}: {d.cause} ({d.rule})" for d in summary.deductions]
    return "DEDUCTIONS\n" + "\n".join(lines) + "\n" if lines else ""


def _table(summary: Summary) -> str:
    """Write the USE table."""
    header = f"  {'resource':<22}{'utilization':>12}{'peak':>8}{'stalled':>9}{'queue':>8}  errors\n"
    rows = [row for name, use in summary.resources.items() for row in _rows(name, use)]
    return "USE\n" + header + "\n".join(rows) + "\n"


_DEVICES = 4


def _rows(name: str, use: ResourceUse) -> Iterator[str]:
    """Write a resource's row, then its busiest devices'."""
    pressure = [p for p in use.pressure.values() if p is not None]
    yield _row(name, use, percent(max(pressure)) if pressure else "-")
    devices = sorted(use.devices.items(), key=lambda item: -(item[1].utilization.mean or 0))
    for device, part in devices[:_DEVICES]:
        yield _row(f"  {device}", part, "")


def _row(name: str, use: ResourceUse | DeviceUse, stalled: str) -> str:
    """Write one row; a dash is unknown or has no meaning."""
    spread = use.utilization
    mean = "-" if spread.mean is None else percent(spread.mean)
    peak = "-" if spread.peak is None else percent(spread.peak)
    queue = "-" if use.queue_length is None else f"{use.queue_length:.1f}"
    errors = [f"{k} +{e.increase}" for k, e in use.errors.items() if e.increase]
    return f"  {name[:21]:<22}{mean:>12}{peak:>8}{stalled:>9}{queue:>8}  {', '.join(errors)}"


def _anomaly(anomaly: DatedAnomaly) -> str:
    """Write an anomaly with what stands behind it."""
    limits = f"warning {anomaly.warning:g}"
    if anomaly.critical is not None:
        limits += f", critical {anomaly.critical:g}"
    lines = [
        f"{str(anomaly.severity).upper()} {anomaly.rule} ({anomaly.resource})",
        f"  {anomaly.message}",
        f"  {anomaly.value:.4g} {anomaly.unit}; {limits}; since {anomaly.since}",
        f"  {anomaly.explanation}",
    ]
    for evidence in anomaly.evidence:
        value = "unknown" if evidence.value is None else f"{evidence.value:.4g} {evidence.unit}"
        lines.append(f"    evidence  {evidence.text}: {value}  [{evidence.source}]")
    for culprit in anomaly.culprits:
        pid = f" {culprit.id}" if culprit.id else ""
        lines.append(f"    culprit   {culprit.kind} {culprit.name}{pid}  {amount(culprit)}")
    lines += [f"    next      {step}" for step in anomaly.next_steps]
    return "\n".join(lines) + "\n"


def _advice(advice: tuple[Recommendation, ...]) -> str:
    """Write the recommendations."""
    lines: list[str] = []
    for number, item in enumerate(advice, 1):
        lines += [f"  {number}. {item.title} [{item.kind}, risk: {item.risk}]", f"     {item.why}"]
        lines += [f"     $ {command}" for command in item.commands]
        lines += [f"     undo: {command}" for command in item.undo]
    return "ADVICE\n" + "\n".join(lines) + "\n" if lines else ""


def _gaps(report: Report) -> str:
    """Write what could not be read; what this host does not have is no gap."""
    lines = [
        f"  {entry.collector}: {entry.status}: {entry.reason}"
        for entries in report.categories.values()
        for entry in entries
        if entry.reason
    ]
    return "NOT READ\n" + "\n".join(lines) + "\n" if lines else ""
