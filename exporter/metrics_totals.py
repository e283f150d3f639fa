"""What the metrics need of a sweep, and what is counted over all sweeps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.model import Assessment
from analysis.state import State
from collectors.bpf.model import Histogram, ProbeSample
from collectors.model import Outcome
from exporter import clock
from exporter.examine import Result
from exporter.metrics_catalog import BY_NAME, UTILIZATION_BUCKETS, Family
from exporter.metrics_page import OTHER, Distribution
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
class ProbeTotals:
    """
    What a probe has seen in all its windows.

    Attributes:
        observed_seconds: Length of the windows [s].
        events: Events.
        lost: Events it could not keep or was not called for.
        map_bytes: Kernel memory of its maps in the last window [bytes].

    """

    observed_seconds: float = 0.0
    events: int = 0
    lost: int = 0
    map_bytes: int | None = None


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
        utilization: Resource to the utilization of its sample intervals; one that is
            never sampled is not in it.
        dropped: (family, reason) to values that were not exposed.
        probes: Probe to what it has seen.
        histograms: Family of a probe, to label values, to the spread in all windows.

    """

    sweeps: Counter[tuple[str, str]] = field(default_factory=Counter)
    durations: dict[str, Distribution] = field(default_factory=dict)
    last_success: dict[str, float] = field(default_factory=dict)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    collector_success: dict[str, float] = field(default_factory=dict)
    utilization: defaultdict[str, Distribution] = field(
        default_factory=lambda: defaultdict(lambda: Distribution(UTILIZATION_BUCKETS))
    )
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    probes: dict[str, ProbeTotals] = field(default_factory=dict)
    histograms: dict[str, dict[tuple[str, ...], Distribution]] = field(default_factory=dict)

    def add_probe(self, sample: ProbeSample) -> None:
        """
        Add what a probe saw in one window.

        Args:
            sample: Its sample.

        """
        totals = self.probes.setdefault(sample.probe, ProbeTotals())
        totals.observed_seconds += sample.window_seconds
        totals.events += sample.events
        totals.lost += sample.lost
        totals.map_bytes = sample.map_bytes
        for histogram in sample.histograms:
            family = BY_NAME[histogram.family]
            self._row(family, histogram).merge(histogram)

    def _row(self, family: Family, histogram: Histogram) -> Distribution:
        """Find the spread of one set of labels; what comes beyond the limit is "other"."""
        rows = self.histograms.setdefault(family.name, {})
        key = tuple(histogram.labels.get(name, "") for name in family.labels)
        if key not in rows and len(rows) >= family.limit - 1:
            self.dropped[family.name, "limit"] += 1
            key = (OTHER,) * len(family.labels)
        return rows.setdefault(key, Distribution(family.edges))
