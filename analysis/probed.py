"""What rules on eBPF probes share: the slowest histogram, its quantiles, and whom a probe saw."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.model import Culprit, Evidence
from collectors.bpf.model import Histogram, ProbeSample

_MOST = 5


def slowest(histograms: Iterable[Histogram], least: int) -> Histogram | None:
    """
    Find the histogram with the slowest hundredth.

    Args:
        histograms: Of a probe.
        least: Values that a histogram needs to speak of a hundredth.

    Returns:
        The one with the highest 99th percentile; None when none has enough values.

    """
    known = [h for h in histograms if h.p99 is not None and h.count >= least]
    return max(known, key=lambda h: h.p99 or 0.0, default=None)


def quantiles(histogram: Histogram, what: str, source: str) -> tuple[Evidence, ...]:
    """
    Give the quantiles behind a finding.

    Args:
        histogram: What a probe measured.
        what: Of what, in the plural.
        source: The tracepoints.

    Returns:
        The 99th percentile, the median [s], and how many there were.

    """
    return (
        Evidence(f"99 % of {what} took at most", histogram.p99, "s", source),
        Evidence(f"half of {what} took at most", histogram.p50, "s", source),
        Evidence(what, float(histogram.count), "", source),
    )


def by_probe(sample: ProbeSample) -> tuple[Culprit, ...]:
    """
    Name the processes that waited longest.

    Args:
        sample: A probe's, with processes and their seconds.

    Returns:
        At most five, by seconds of the window [s], each with its share of what all spent.

    """
    rows = sample.tops.get("process", ())
    whole = sum(h.sum for h in sample.histograms) or sum(row["seconds"] for row in rows)
    return tuple(
        Culprit("process", row["comm"], str(row["pid"]), round(row["seconds"], 4), "s",
                min(row["seconds"] / whole, 1.0) if whole else None,
                f"{row['count']} times, {row['max_seconds']:.3g} s at most")
        for row in rows[:_MOST]
        if row["seconds"]
    )  # fmt: skip
