"""Rules on locks of the kernel, which only an eBPF probe sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.text import duration, number

_LEAST_WAITS = 1000
_MOST = 5
_SOURCE = "lock:contention_begin, contention_end"


@rule(
    resource="kernel",
    cause="lock_contention",
    kind=Kind.SATURATION,
    unit="tasks",
    warning=0.5,
    critical=8.0,
    scale=Scale.LOG,
    probe="contention",
    at_once=True,
    source="by Little's law, seconds of waiting per second are the tasks that wait: from half a "
    "task on, waiting costs as much as half a CPU; eight in a queue are an eighth of the speed",
    gate="1,000 waits in the window",
    explanation="Tasks queue for locks of the kernel instead of working; more CPUs or threads "
    "make it worse.",
    next_steps=("Look at the functions that want the lock.",
                "Use fewer threads, files or mappings that are shared."),
)  # fmt: skip
def lock_contention(facts: Facts) -> Signal | None:
    """Watch how many tasks wait for a lock of the kernel on average."""
    sample = facts.probe("contention")
    if sample is None or sample.window_seconds <= 0:
        return None
    spreads = sample.histograms
    waits, seconds = sum(h.count for h in spreads), sum(h.sum for h in spreads)
    waiting = seconds / sample.window_seconds if waits >= _LEAST_WAITS else 0.0
    places = sample.tops.get("place", ())
    where = f", most of all in {places[0]['function']}" if places else ""
    return Signal(
        value=waiting,
        message=f"{number(waiting)} tasks waited for kernel locks on average{where}",
        evidence=(
            Evidence("time waited", seconds, "s", _SOURCE),
            Evidence("waits", float(waits), "", _SOURCE),
            *(_place(row) for row in places[:_MOST]),
        ),
        culprits=_waiters(sample.tops.get("process", ())),
    )


def _place(row: Mapping[str, Any]) -> Evidence:
    """Tell how long was waited at a place."""
    text = f"waited in {row['function']} ({row['lock']}), {duration(row['seconds'])}"
    return Evidence(text, float(row["seconds"]), "s", _SOURCE)


def _waiters(rows: tuple[Mapping[str, Any], ...]) -> tuple[Culprit, ...]:
    """Name the processes that waited most: those that want the lock are in each other's way."""
    whole = sum(float(row["seconds"]) for row in rows)
    return tuple(
        Culprit("process", str(row["comm"]), str(row["pid"]) if row.get("pid") else None,
                float(row["seconds"]), "s", float(row["seconds"]) / whole if whole else None)
        for row in rows[:_MOST]
    )  # fmt: skip
