"""From reports to pages of metrics, rendered once per sweep and served as bytes."""

from __future__ import annotations

import platform
import resource
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import prometheus_client
from prometheus_client.core import Metric

from analysis.model import Assessment, Severity
from analysis.state import State
from analysis.use_model import DeviceUse, ResourceUse
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import discover
from collectors.model import Cause, Outcome, Status
from exporter import clock
from exporter.metrics_catalog import SWEEP_BUCKETS
from exporter.metrics_page import Distribution, Page, Pages
from exporter.metrics_totals import Published, Totals
from exporter.policy import Policy

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_SWEEP_OUTCOMES = ("complete", "partial", "cancelled", "failed", "skipped")
_KIB = 1024
_UNUSED = (False, "disabled")
# Room within the page's limit for what the exporter says of itself.
_SELF_RESERVE = 300


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """Families that were read already, so that they can be counted before they are written."""

    families: tuple[Metric, ...]

    def collect(self) -> tuple[Metric, ...]:
        return self.families

    def series(self) -> int:
        return sum(len(family.samples) for family in self.families)


class Exposition:
    """
    Keep the newest pages of metrics.

    Args:
        version: Of the program.
        intervals: Enabled profile to the time between its sweeps [s].
        policy: Limits and which rules there are.

    """

    def __init__(
        self,
        version: str,
        intervals: Mapping[str, float | None],
        policy: Policy,
    ) -> None:
        self._version = version
        self._intervals = dict(intervals)
        self._probes: dict[str, tuple[bool, str]] = {}
        self._policy = policy
        self._lock = threading.Lock()
        self._totals = Totals()
        self._running: str | None = None
        self._newest: Published | None = None
        self._fresh_until = 0.0
        self._config = (True, clock.wall())
        self._process = prometheus_client.ProcessCollector(registry=None)
        self._of_sweep = Page()
        self._pages = Pages(())
        self._compose()

    def pages(self) -> Pages:
        """
        Return the pages to serve; nothing is read or collected for it.

        Returns:
            The pages as rendered after the newest sweep, without that sweep's
            values once they are stale.

        """
        with self._lock:
            if self._newest is not None and self.stale():
                self._newest = None
                self._of_sweep = Page()
                self._compose()
            return self._pages

    def stale(self) -> bool:
        """
        Tell whether the newest sweep is too old to be shown.

        Returns:
            Whether more than the configured number of intervals have passed.

        """
        return time.monotonic() > self._fresh_until

    def configured(
        self,
        *,
        successful: bool,
        at: float,
        intervals: Mapping[str, float | None] | None = None,
        policy: Policy | None = None,
    ) -> None:
        """
        Note that a configuration was read.

        Args:
            successful: Whether it came into force.
            at: Wall time [s].
            intervals: The new intervals, when there are.
            policy: The new policy, when there is one.

        """
        with self._lock:
            self._config = (successful, at if successful else self._config[1])
            self._intervals = dict(intervals) if intervals is not None else self._intervals
            self._policy = policy or self._policy
            self._compose()

    def judged(self, verdicts: Mapping[str, tuple[bool, str]]) -> None:
        """
        Note which eBPF probes work here; shown with the next page.

        Args:
            verdicts: Probe to (available, reason).

        """
        with self._lock:
            self._probes |= verdicts

    def started(self, profile: str) -> None:
        """
        Note that a sweep has begun, on pages that otherwise stay as they are.

        Args:
            profile: Its profile.

        """
        with self._lock:
            self._running = profile
            # One number changes; rendering everything for it took 4 ms of every sweep's CPU.
            line = f'sysdx_sweep_in_progress{{profile="{profile}"}} '.encode()
            self._pages = self._pages.marked(line + b"0.0", line + b"1.0")

    def failed(self, profile: str) -> None:
        """
        Note that a sweep has ended without a report.

        Args:
            profile: Its profile.

        """
        with self._lock:
            self._running = None
            self._totals.sweeps[profile, "failed"] += 1
            self._compose()

    def skipped(self, skipped: Mapping[str, int]) -> None:
        """
        Note how many due sweeps found another one running.

        Args:
            skipped: Profile to sweeps since start.

        """
        with self._lock:
            for profile, count in skipped.items():
                self._totals.sweeps[profile, "skipped"] = count

    def publish(self, published: Published) -> None:
        """
        Show a sweep's values from now on.

        Args:
            published: The report and what belongs to it.

        """
        with self._lock:
            self._count(published)
            self._newest = published
            self._fresh_until = time.monotonic() + self._lifetime(published)
            page = Page(self._totals.dropped)
            _add_sweep(page, published, self._policy)
            page.cut(self._policy.max_series - _SELF_RESERVE)
            self._of_sweep = page
            self._running = None
            self._compose()

    def _lifetime(self, published: Published) -> float:
        """Give how long a sweep's values are shown [s]."""
        known = [i for i in self._intervals.values() if i]
        interval = min(known, default=3600.0)
        return self._policy.stale_after * interval + published.report.metadata.duration_seconds

    def _count(self, published: Published) -> None:
        """Add a sweep to the totals."""
        totals, metadata = self._totals, published.report.metadata
        totals.sweeps[metadata.profile, published.ended] += 1
        durations = totals.durations.setdefault(metadata.profile, Distribution(SWEEP_BUCKETS))
        durations.observe(metadata.duration_seconds)
        if metadata.complete:
            totals.last_success[metadata.profile] = published.ended_at
        for name, outcome in published.outcomes.items():
            if name in discover():
                if isinstance(outcome.data, ProbeSample):
                    totals.add_probe(outcome.data)
                continue
            if outcome.data is not None:
                totals.collector_success[name] = published.ended_at
            reasons = {outcome.cause, *(p.cause for p in outcome.problems)}
            for reason in reasons - {None, Cause.ABSENT}:
                totals.errors[name, str(reason)] += 1
        for name, use in published.assessment.resources.items():
            for value in _utilization_samples(use):
                totals.utilization[name].observe(value)

    def _compose(self) -> None:
        """Gather the exporter's own values and put the page together."""
        page = Page(self._totals.dropped)
        self._add_self(page)
        process = _Ready(tuple(self._process.collect()))
        series = self._of_sweep.series() + page.series() + process.series()
        page.add("sysdx_series", series + 1)
        self._pages = Pages((self._of_sweep, page, process))

    def _add_self(self, page: Page) -> None:
        """Add what the exporter says of itself."""
        totals, newest = self._totals, self._newest
        page.add("sysdx_build_info", 1, self._version, platform.python_version())
        page.add("sysdx_config_last_reload_successful", float(self._config[0]))
        page.add("sysdx_config_last_reload_success_timestamp_seconds", self._config[1])
        for profile, interval in self._intervals.items():
            page.add("sysdx_sweep_interval_seconds", interval, profile)
            page.add("sysdx_sweep_in_progress", float(profile == self._running), profile)
            for outcome in _SWEEP_OUTCOMES:
                page.add("sysdx_sweeps_total", totals.sweeps[profile, outcome], profile, outcome)
        for profile, durations in totals.durations.items():
            page.add_histogram("sysdx_sweep_duration_seconds", durations, profile)
        for profile, when in totals.last_success.items():
            page.add("sysdx_sweep_last_success_timestamp_seconds", when, profile)
        for name, histogram in totals.utilization.items():
            page.add_histogram("sysdx_resource_utilization_sample_ratio", histogram, name)
        unused = dict.fromkeys(self._policy.unused_probes, _UNUSED)
        for probe, (available, reason) in (self._probes | unused).items():
            page.add("sysdx_probe_available", float(available), probe, reason)
        _add_probes(page, totals)
        for (family, reason), count in totals.dropped.items():
            page.add("sysdx_samples_dropped_total", count, family, reason)
        if newest is not None:
            _add_transitions(page, newest.state)
            _add_collectors(page, newest.outcomes, totals)
        _add_children(page)


def _add_sweep(page: Page, published: Published, policy: Policy) -> None:
    """Add everything that one sweep says of the host."""
    assessment, metadata = published.assessment, published.report.metadata
    page.add("sysdx_health_score", assessment.health_score)
    page.add("sysdx_health_coverage_ratio", assessment.coverage)
    page.add("sysdx_report_info", 1, metadata.report_id, metadata.profile)
    page.add("sysdx_report_size_bytes", published.size)
    for charge in assessment.deductions:
        page.add("sysdx_health_deduction_points", charge.points, charge.resource, charge.cause)
    for guess in assessment.hypotheses:
        page.add("sysdx_hypothesis_confidence_ratio", guess.confidence, guess.id, guess.resource)
    for name, score in assessment.resource_scores.items():
        page.add("sysdx_resource_health_score", score, name)
    for name, use in assessment.resources.items():
        _add_use(page, name, use)
    _add_anomalies(page, assessment, policy)
    advice = Counter((r.resource, r.kind) for r in assessment.recommendations)
    for name in assessment.resources:
        for kind in ("fix", "investigate", "tune"):
            page.add("sysdx_recommendations", advice.pop((name, kind), 0), name, kind)
    for (name, kind), count in advice.items():
        page.add("sysdx_recommendations", count, name, kind)


def _add_use(page: Page, name: str, use: ResourceUse) -> None:
    """Add a resource's utilization, saturation and errors; its own have no device."""
    for kind, share in use.pressure.items():
        page.add("sysdx_resource_pressure_ratio", share, name, kind)
    parts: dict[str, ResourceUse | DeviceUse] = {"": use, **use.devices}
    for device, part in parts.items():
        spread = part.utilization
        page.add("sysdx_resource_utilization_ratio", spread.mean, name, device)
        page.add("sysdx_resource_utilization_peak_ratio", spread.peak, name, device)
        page.add("sysdx_resource_queue_length", part.queue_length, name, device)
        for signal, value in part.saturation.items():
            page.add("sysdx_resource_saturation_ratio", value, name, device, signal)
        for kind, errors in part.errors.items():
            page.add("sysdx_resource_errors_total", errors.total, name, device, kind)


def _add_anomalies(page: Page, assessment: Assessment, policy: Policy) -> None:
    """Add which rules are active, every enabled one of them."""
    active = {a.rule: a for a in assessment.anomalies}
    counts = Counter((a.resource, str(a.severity)) for a in assessment.anomalies)
    for name in sorted({rule.resource for rule in policy.rules.values()}):
        for severity in (Severity.WARNING, Severity.CRITICAL):
            page.add("sysdx_anomalies", counts[name, str(severity)], name, str(severity))
    for rule in policy.rules.values():
        highest = Severity.WARNING if rule.critical is None else Severity.CRITICAL
        anomaly = active.get(rule.id)
        present = str(anomaly.severity if anomaly else highest)
        page.add("sysdx_anomaly_active", float(bool(anomaly)), rule.id, rule.resource, present)
        page.add(
            "sysdx_anomaly_since_timestamp_seconds", anomaly.since if anomaly else None, rule.id
        )


def _add_transitions(page: Page, state: State) -> None:
    """Add how often each rule changed; a hundred zeros would be a fifth of the page."""
    for rule, memory in state.rules.items():
        page.add("sysdx_anomaly_transitions_total", memory.transitions or None, rule)


def _add_collectors(page: Page, outcomes: Mapping[str, Outcome], totals: Totals) -> None:
    """Add how each collector's turn ended."""
    probes = discover()
    for name, outcome in outcomes.items():
        if name in probes:
            continue  # probes have families of their own
        supported = not (outcome.status is Status.UNAVAILABLE and outcome.cause is Cause.ABSENT)
        page.add("sysdx_collector_supported", float(supported), name)
        if supported:
            page.add("sysdx_collector_duration_seconds", outcome.seconds, name)
            page.add("sysdx_collector_success", float(outcome.data is not None), name)
        page.add(
            "sysdx_collector_last_success_timestamp_seconds",
            totals.collector_success.get(name),
            name,
        )
    for (name, reason), count in totals.errors.items():
        page.add("sysdx_collector_errors_total", count, name, reason)


def _add_probes(page: Page, totals: Totals) -> None:
    """Add what the eBPF probes have seen in all their windows."""
    for probe, seen in totals.probes.items():
        page.add("sysdx_probe_observed_seconds_total", seen.observed_seconds, probe)
        page.add("sysdx_probe_events_total", seen.events, probe)
        page.add("sysdx_probe_lost_events_total", seen.lost, probe)
    sizes = [seen.map_bytes for seen in totals.probes.values() if seen.map_bytes is not None]
    page.add("sysdx_probe_map_memory_bytes", sum(sizes) if sizes else None)
    for family, rows in totals.histograms.items():
        for labels, distribution in rows.items():
            page.add_histogram(family, distribution, *labels)


def _add_children(page: Page) -> None:
    """Add what child processes cost."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    page.add("sysdx_worker_cpu_seconds_total", usage.ru_utime + usage.ru_stime)
    page.add("sysdx_worker_peak_memory_bytes", usage.ru_maxrss * _KIB or None)


def _utilization_samples(use: ResourceUse) -> tuple[float, ...]:
    """Give the utilization of each interval: of the whole, or of its busiest device."""
    if use.utilization.samples:
        return use.utilization.samples
    rows = [d.utilization.samples for d in use.devices.values() if d.utilization.samples]
    length = min(map(len, rows), default=0)
    return tuple(max(row[i] for row in rows) for i in range(length))
