"""A report as text, for a terminal at night: what is wrong first, then everything behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from analysis.model import Culprit, Recommendation
from analysis.text import percent
from exporter.layout import WIDTH, grid, paragraph, safe
from exporter.report import DatedAnomaly, Report, Summary
from exporter.text_diagnosis import diagnosis
from exporter.text_probes import probe_tables
from exporter.text_use import measure, process_table, use_table

_INDENT = "  "
_DEEP = "    "


def text(
    report: Report, width: int = WIDTH, focus: Collection[str] = (), *, processes: bool = False
) -> str:
    """
    Write a report out for reading.

    Args:
        report: The report.
        width: Longest line [columns]; commands, which are for copying, are never cut.
        focus: Resources of which every device is shown; "all" for all of them.
        processes: Whether to list the processes in the report.

    Returns:
        The verdict, the diagnosis, anomalies with culprits and evidence, advice, the score
        with its deductions, the USE table, what eBPF probes saw, and what could
        not be read.

    """
    summary = report.summary
    if summary is None:
        return "no assessment\n"
    parts = [
        _head(report, summary, width),
        diagnosis(summary.hypotheses, width),
        *_anomalies(summary.anomalies, width),
        _advice(summary, width),
        _score(summary, width),
        use_table(report, summary.resources, width, focus),
        process_table(report, width) if processes else "",
        probe_tables(report, width),
        _gaps(report, width),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Report, summary: Summary, width: int) -> str:
    """Write verdict and circumstances."""
    about = report.metadata
    score = "unknown" if summary.health_score is None else f"{summary.health_score:g}"
    sweep = f"{about.profile} sweep of {about.window_seconds:.0f} s"
    cost = f"cost {about.overhead.cpu_seconds * 1000:.0f} ms CPU"
    rows = (
        (about.hostname, f"kernel {about.kernel}", f"{sweep} at {_moment(about.started_at)}"),
        (
            f"score {score} ({summary.band})",
            f"coverage {percent(summary.coverage)}",
            _rules(summary),
            cost,
        ),
    )
    facts = [" · ".join(row) for row in rows]
    if not about.complete:
        facts.insert(0, f"PARTIAL: {'; '.join(about.partial_reasons)}")
    lines = [paragraph(fact, _INDENT, width) for fact in facts]
    return "\n".join([paragraph(summary.verdict, "", width), "", *lines])


def _rules(summary: Summary) -> str:
    """Tell how many rules looked, and how many of them could not say anything."""
    count = Counter(summary.rules.values())
    silent = f", {count['unknown']} cannot say" if count["unknown"] else ""
    return f"{len(summary.rules)} rules: {count['active']} active{silent}"


def _moment(when: str) -> str:
    """Write a moment without what nobody reads at night."""
    return f"{when[:19].replace('T', ' ')} UTC"


def _anomalies(anomalies: tuple[DatedAnomaly, ...], width: int) -> Iterator[str]:
    """Write the anomalies; culprits that several have in common are told once."""
    told: dict[tuple[Culprit, ...], str] = {}
    for anomaly in anomalies:
        first = told.setdefault(anomaly.culprits, anomaly.rule)
        yield _anomaly(anomaly, width, None if first == anomaly.rule else first)


def _anomaly(anomaly: DatedAnomaly, width: int, same: str | None) -> str:
    """Write an anomaly with what stands behind it; `same` has the same culprits."""
    limits = f"warning from {measure(anomaly.warning, anomaly.unit)}"
    if anomaly.critical is not None:
        limits += f", critical from {measure(anomaly.critical, anomaly.unit)}"
    value = measure(anomaly.value, anomaly.unit)
    lines = [
        f"{str(anomaly.severity).upper()}  {safe(anomaly.rule)} ({safe(anomaly.resource)})",
        paragraph(anomaly.message, _INDENT, width),
        paragraph(f"{value}; {limits}; since {_moment(anomaly.since)}", _INDENT, width),
        paragraph(anomaly.explanation, _INDENT, width),
        *_culprits(anomaly, width, same),
        *_block(
            "evidence",
            [(measure(e.value, e.unit), f"{e.text}  [{e.source}]") for e in anomaly.evidence],
            width,
        ),
        *([f"{_INDENT}next"] if anomaly.next_steps else []),
        *(paragraph(step, f"{_DEEP}- ", width, f"{_DEEP}  ") for step in anomaly.next_steps),
    ]
    return "\n".join(lines)


def _culprits(anomaly: DatedAnomaly, width: int, same: str | None) -> Iterator[str]:
    """Write who does it."""
    if same and anomaly.culprits:
        yield f"{_INDENT}culprits as for {safe(same)}"
    else:
        yield from _block("culprits", [_culprit(c) for c in anomaly.culprits], width)


def _block(title: str, rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    """Write numbers in a column with what each of them is, under a title."""
    if rows:
        yield f"{_INDENT}{title}"
        yield grid(rows, _DEEP, width, right=(0,))


def _culprit(culprit: Culprit) -> tuple[str, str]:
    """Tell a culprit's part, and who it is."""
    word = "pid " if culprit.kind in ("process", "victim") else ""
    identity = f" ({word}{culprit.id})" if culprit.id else ""
    detail = f" · {culprit.detail}" if culprit.detail else ""
    share = "" if culprit.share is None else f" ({percent(culprit.share)})"
    part = "?" if culprit.value is None else measure(culprit.value, culprit.unit) + share
    return part, f"{culprit.kind} {culprit.name}{identity}{detail}"


def _advice(summary: Summary, width: int) -> str:
    """Write the recommendations, each with the way to do it and the way back."""
    lines: list[str] = []
    told = [evidence for anomaly in summary.anomalies for evidence in anomaly.evidence]
    for number, item in enumerate(summary.recommendations, 1):
        start = f"{number:>3}. "
        lines.append(paragraph(item.title, start, width, " " * len(start)))
        lines += _steps(item, " " * len(start), width)
        lines += [
            paragraph(f"{e.text}: {measure(e.value, e.unit)}  [{e.source}]", _DEEP + " ", width)
            for e in item.evidence
            if e not in told
        ]
    return "ADVICE\n" + "\n".join(lines) if lines else ""


def _steps(item: Recommendation, indent: str, width: int) -> Iterator[str]:
    """Write what stands below a recommendation's title."""
    yield paragraph(item.why, indent, width)
    about = f"{item.kind} · risk: {item.risk} · for {item.addresses}"
    if item.proposed is not None:
        about += f" · now {item.current or 'unknown'}, proposed {item.proposed}"
    yield paragraph(about, indent, width)
    for name, commands in (("run", item.commands), ("keep", item.persistent), ("undo", item.undo)):
        # Cut or wrapped, a command would be another command.
        yield from (f"{indent}{name:<4} $ {safe(command)}" for command in commands)
    if item.source:
        yield paragraph(f"source: {item.source}", indent, width)


def _score(summary: Summary, width: int) -> str:
    """Write the sum that leads to the score."""
    if not summary.deductions:
        return ""
    total = sum(d.points for d in summary.deductions)
    floor = " (the floor)" if total > 100 else ""  # noqa: PLR2004
    score = "?" if summary.health_score is None else f"{summary.health_score:.1f}"
    rows = [
        ("100.0", "", ""),
        *((f"-{d.points:.1f}", d.cause, f"{d.resource}, set by {d.rule}")
          for d in summary.deductions),
        (f"= {score}", f"{summary.band}{floor}", ""),
    ]  # fmt: skip
    return "SCORE\n" + grid(rows, _INDENT, width, right=(0,))


def _gaps(report: Report, width: int) -> str:
    """Write what could not be read; what this host does not have is no gap."""
    rows = [
        (entry.collector, str(entry.status), problem)
        for entries in report.categories.values()
        for entry in entries
        if entry.reason and entry.cause != "absent"
        for problem in ([p.text for p in entry.problems] or [entry.reason])
    ]
    return "NOT READ\n" + grid(rows, _INDENT, width) if rows else ""
