"""What the metrics need of a sweep, and what is counted over all sweeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.model import Assessment
from analysis.state import State
from collectors.model import Outcome
from exporter import clock
from exporter.examine import Result
from exporter.metrics_page import Distribution
from exporter.report import Report


@dataclass(frozen=True, slots=True)
class Published:
    """
    A report with what its metrics need besides.

    Attributes:
        report: The report.
        size: Its size as JSON [bytes].
        assessment: The judgments in it.
        state: What is remembered after it.
        outcomes: Collector to how its turn ended.
        ended: complete, partial or cancelled.
        ended_at: Wall time of its publication [s].

    """

    report: Report
    size: int
    assessment: Assessment
    state: State
    outcomes: Mapping[str, Outcome]
    ended: str
    ended_at: float

    @classmethod
    def of(cls, result: Result, *, cancelled: bool = False) -> Published:
        """
        Gather what the metrics need of a result.

        Args:
            result: The sweep's result.
            cancelled: Whether the sweep was cut short from outside.

        Returns:
            The same with the present wall time.

        """
        ended = "complete" if result.sweep.complete else "partial"
        return cls(
            result.report,
            len(result.body),
            result.assessment,
            result.state,
            result.sweep.outcomes,
            "cancelled" if cancelled else ended,
            clock.wall(),
        )


@dataclass(slots=True)
class Totals:
    """
    What is counted from the start of the program on.

    Attributes:
        sweeps: (profile, outcome) to sweeps.
        durations: Profile to how long its sweeps took.
        last_success: Profile to the wall time of its last complete sweep [s].
        errors: (collector, reason) to turns.
        collector_success: Collector to the wall time of its last sample [s].
        utilization: Resource to the utilization of its sample intervals.
        dropped: (family, reason) to values that were not exposed.

    """

    sweeps: Counter[tuple[str, str]] = field(default_factory=Counter)
    durations: dict[str, Distribution] = field(default_factory=dict)
    last_success: dict[str, float] = field(default_factory=dict)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    collector_success: dict[str, float] = field(default_factory=dict)
    utilization: dict[str, Distribution] = field(default_factory=dict)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
