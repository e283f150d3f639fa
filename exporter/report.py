"""The report: facts and judgments joined, as JSON and with its schema."""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import pydantic_core

from analysis.hypothesis import Hypothesis
from analysis.model import Anomaly, Assessment, Deduction, Recommendation
from analysis.use_model import ResourceUse
from collectors.bpf.model import Histogram, ProbeSample, Stack
from collectors.model import Cause, Outcome, Problem, Status, Sweep
from collectors.system import SystemSample
from collectors.text import label
from exporter import clock

SCHEMA_VERSION = "1.0.0"
_SURROGATE = re.compile("[\ud800-\udfff]")
_EXPANDED = 6  # what one character becomes at most when it is written out [characters]


@dataclass(frozen=True, slots=True)
class WorkerOverhead:
    """
    What the eBPF worker cost.

    Attributes:
        cpu_seconds: User and system time up to its last word [s].
        peak_memory_bytes: Its largest resident size [bytes].
        map_bytes: Kernel memory of all its maps [bytes].

    """

    cpu_seconds: float
    peak_memory_bytes: int
    map_bytes: int


@dataclass(frozen=True, slots=True)
class Overhead:
    """
    What the sweep cost the host.

    Attributes:
        cpu_seconds: User and system time of the whole process during the sweep [s].
        peak_memory_bytes: The process's largest resident size so far [bytes].
        worker: The eBPF worker's share; None without one.

    """

    cpu_seconds: float
    peak_memory_bytes: int
    worker: WorkerOverhead | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """
    Which sweep this is.

    Attributes:
        report_id: Unique; sorts by time.
        tool: "sysdx".
        version: Of the tool.
        hostname: As the kernel has it.
        machine_id_hash: Tells hosts apart without giving away the machine id.
        boot_id: Changes with every boot.
        kernel: Its release.
        arch: Machine architecture.
        profile: quick, standard or deep.
        started_at: RFC 3339.
        duration_seconds: How long the sweep took [s].
        window_seconds: How long the host was observed [s].
        complete: False when something is missing that should be there.
        partial_reasons: What.
        trigger: schedule, catch-up, request or command.
        overhead: What it cost.

    """

    report_id: str
    tool: str
    version: str
    hostname: str
    machine_id_hash: str | None
    boot_id: str | None
    kernel: str
    arch: str
    profile: str
    started_at: str
    duration_seconds: float
    window_seconds: float
    complete: bool
    partial_reasons: tuple[str, ...]
    trigger: str
    overhead: Overhead


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One collector's or probe's part.

    Attributes:
        collector: Its name.
        tier: The cheapest profile it runs in.
        status: How its turn ended.
        reason: Why it is not "ok".
        started_at: RFC 3339.
        seconds: How long it took [s].
        data: Its sample.
        problems: Single sources that were not readable.
        histograms: What a probe measured, by powers of two.
        events: Single events of a probe, a fair sample where there were more.
        stacks: Where a probe found programs, heaviest first.
        cause: Of the reason, from a closed list; "absent" is what this host does not have.

    """

    collector: str
    tier: str
    status: Status
    reason: str | None
    started_at: str
    seconds: float
    data: Any
    problems: tuple[Problem, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    stacks: tuple[Stack, ...] = ()
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class DatedAnomaly:
    """An anomaly with its onset as RFC 3339; the other attributes are those of Anomaly."""

    rule: str
    resource: str
    cause: str
    severity: str
    message: str
    subject: str | None
    value: float
    unit: str
    warning: float
    critical: float | None
    since: str
    explanation: str
    next_steps: tuple[str, ...]
    evidence: tuple[Any, ...]
    culprits: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """
    What the sweep means.

    Attributes:
        verdict: One sentence.
        health_score: 0 to 100; null when too little is known.
        coverage: Weighted share of resources that are known [ratio].
        band: healthy, degraded, critical or unknown.
        deductions: Why it is not 100, dearest first.
        hypotheses: What may be behind the anomalies, most likely first.
        resource_scores: Resource to its own score.
        resources: Resource to its use.
        anomalies: Active ones, worst first.
        recommendations: Ordered by the deduction they answer.
        rules: Rule to "active", "quiet" or "unknown".

    """

    verdict: str
    health_score: float | None
    coverage: float
    band: str
    deductions: tuple[Deduction, ...]
    hypotheses: tuple[Hypothesis, ...]
    resource_scores: Mapping[str, float]
    resources: Mapping[str, ResourceUse]
    anomalies: tuple[DatedAnomaly, ...]
    recommendations: tuple[Recommendation, ...]
    rules: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """
    Everything known of a host after one sweep.

    Attributes:
        schema_version: Of this structure.
        metadata: Which sweep this is.
        system: What kind of host it is; null when unknown.
        categories: Category to the parts of its collectors.
        summary: What it means.

    """

    schema_version: str
    metadata: Metadata
    system: SystemSample | None
    categories: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    summary: Summary | None = None


def new_id(profile: str, started_at: float) -> str:
    """
    Make a report's id.

    Args:
        profile: The sweep's profile.
        started_at: Its start, seconds since the epoch [s].

    Returns:
        Such as "20261124T081530Z-quick-3f9a2c1b".

    """
    return f"{clock.compact(started_at)}-{profile}-{secrets.token_hex(4)}"


def build(metadata: Metadata, sweep: Sweep, assessment: Assessment) -> Report:
    """
    Join facts and judgments.

    Args:
        metadata: Which sweep this is.
        sweep: The facts.
        assessment: The judgments.

    Returns:
        The report.

    """
    categories: dict[str, tuple[Entry, ...]] = {}
    for outcome in sweep.outcomes.values():
        categories[outcome.category] = (*categories.get(outcome.category, ()), _entry(outcome))
    system = sweep.sample(SystemSample)
    return Report(SCHEMA_VERSION, metadata, system, categories, _summary(assessment))


def to_json(report: Report) -> bytes:
    """
    Write a report as JSON.

    Args:
        report: The report.

    Returns:
        Compact JSON; numbers that are not finite become null.

    """
    try:
        return pydantic_core.to_json(report, inf_nan_mode="null", serialize_unknown=True)
    except pydantic_core.PydanticSerializationError:
        # A name that is no Unicode slipped through: it must not cost the whole report.
        return json.dumps(_harmless(report), separators=(",", ":")).encode()


def _harmless(value: Any) -> Any:
    """Replace what JSON cannot hold, at any depth."""
    if isinstance(value, str):
        return label(_SURROGATE.sub("\ufffd", value), _EXPANDED * len(value))
    if is_dataclass(value):
        return {f.name: _harmless(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {_harmless(str(k)): _harmless(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _entry(outcome: Outcome) -> Entry:
    """Turn an outcome into its part of the report."""
    entry = Entry(
        collector=outcome.collector,
        tier=outcome.tier,
        status=outcome.status,
        reason=outcome.reason,
        started_at=clock.rfc3339(outcome.started_at),
        seconds=round(outcome.seconds, 6),
        data=outcome.data,
        problems=outcome.problems,
        cause=outcome.cause,
    )
    seen = outcome.data
    if not isinstance(seen, ProbeSample):
        return entry
    return replace(
        entry,
        data=replace(seen, histograms=(), records=(), stacks=()),
        histograms=seen.histograms,
        events=seen.records,
        stacks=seen.stacks,
    )


def _summary(assessment: Assessment) -> Summary:
    """Turn an assessment into the report's summary."""
    same = {f.name: getattr(assessment, f.name) for f in fields(assessment)}
    return Summary(**(same | {"anomalies": tuple(map(_dated, assessment.anomalies))}))


def _dated(anomaly: Anomaly) -> DatedAnomaly:
    """Write an anomaly's onset as a date."""
    same = {f.name: getattr(anomaly, f.name) for f in fields(anomaly)}
    return DatedAnomaly(**(same | {"since": clock.rfc3339(anomaly.since)}))
