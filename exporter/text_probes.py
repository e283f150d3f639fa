"""What eBPF probes saw, as text: how latencies are spread, and the largest groups of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from analysis.text import duration, number, size
from collectors.bpf.model import Histogram
from exporter.layout import grid, safe
from exporter.report import Entry, Report

_GROUPS = 3  # of each ranking
_HEADER = ("PROBE", "OF", "COUNT", "HALF BELOW", "90 % BELOW", "99 % BELOW")


def probe_tables(report: Report, width: int) -> str:
    """
    Write what the probes of a report saw.

    Args:
        report: The report.
        width: Longest line [columns].

    Returns:
        A table of latencies and one of the largest groups; empty without probes.

    """
    entries = [e for part in report.categories.values() for e in part]
    rows = [row for entry in entries for row in _spreads(entry)]
    tops = [row for entry in entries for row in _groups(entry)]
    parts = []
    if rows:
        parts.append(grid([_HEADER, *rows], width=width, right=(2, 3, 4, 5)))
    if tops:
        parts.append(grid([("PROBE", "BY", "LARGEST GROUPS"), *tops], width=width))
    return "\n\n".join(parts)


def _spreads(entry: Entry) -> Iterator[tuple[str, ...]]:
    """Describe each histogram in a row."""
    for histogram in entry.histograms:
        if histogram.count:
            labels = " ".join(safe(value) for value in histogram.labels.values())
            quantiles = (histogram.p50, histogram.p90, histogram.p99)
            told = [_measure(value, histogram) for value in quantiles]
            yield entry.collector, labels, number(histogram.count), *told


def _measure(value: float | None, histogram: Histogram) -> str:
    """Write a quantile in its family's unit."""
    if value is None:
        return "unknown"
    if histogram.family.endswith("_seconds"):
        return duration(value)
    return size(value) if histogram.family.endswith("_bytes") else number(value)


def _groups(entry: Entry) -> Iterator[tuple[str, str, str]]:
    """Describe the largest groups of each ranking."""
    for name, groups in getattr(entry.data, "tops", {}).items():
        if groups:
            told = "; ".join(_group(group) for group in groups[:_GROUPS])
            yield entry.collector, name, told


def _group(group: Mapping[str, Any]) -> str:
    """Write a group in one line."""
    words = [f"{safe(key)} {_word(value)}" for key, value in group.items()]
    return ", ".join(words)


def _word(value: object) -> str:
    """Write a value; numbers are shortened."""
    return f"{value:.4g}" if isinstance(value, float) else safe(value)
