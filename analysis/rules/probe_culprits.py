"""Whom a probe saw: processes by the time they spent in what it measures."""

from __future__ import annotations

from analysis.model import Culprit
from collectors.bpf.model import ProbeSample

_MOST = 5


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
