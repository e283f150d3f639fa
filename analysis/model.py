"""The judgment model: signals, findings, anomalies, advice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

# Rules find their whole vocabulary here.
from analysis.evidence import Culprit as Culprit  # noqa: PLC0414
from analysis.evidence import Evidence as Evidence  # noqa: PLC0414
from analysis.hypothesis import Hypothesis
from analysis.use_model import ResourceUse
from collectors.bpf.model import ProbeSample
from collectors.model import Sweep

T = TypeVar("T")

RESOURCES = ("cpu", "memory", "disk", "network", "filesystem", "container", "kernel", "gpu")


class Severity(StrEnum):
    """How bad a finding is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Kind(StrEnum):
    """What a signal measures: UTILIZATION alone only warns, CAPACITY is something that ends."""

    UTILIZATION = "utilization"
    SATURATION = "saturation"
    ERRORS = "errors"
    CAPACITY = "capacity"


class Scale(StrEnum):
    """How a signal's distance from its thresholds is turned into points."""

    LINEAR = "linear"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Signal:
    """
    The number a rule looks at, with what stands behind it.

    Attributes:
        value: In the rule's unit; higher is worse.
        message: One sentence with the numbers, for a tired reader.
        subject: The device, mount or group it is about; None for the whole host.
        evidence: Numbers with their sources.
        culprits: Who does it, most guilty first.

    """

    value: float
    message: str
    subject: str | None = None
    evidence: tuple[Evidence, ...] = ()
    culprits: tuple[Culprit, ...] = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """
    Something to do about a finding.

    Attributes:
        id: Names the knob or the action; equal ids are the same advice.
        kind: "investigate", "tune" or "fix".
        resource: The resource it helps.
        title: What to do, in one line.
        why: What it will change, and why that helps here.
        risk: What it may break.
        commands: To do it now.
        persistent: To keep it over a reboot.
        undo: To take it back.
        evidence: Numbers it rests on.
        source: Where the advice comes from.
        addresses: The rule it answers.
        current: The knob's value now; None when it is no knob.
        proposed: The value it should have.
        scope: "runtime" or "persistent".

    """

    id: str
    kind: str
    resource: str
    title: str
    why: str
    risk: str = "none"
    commands: tuple[str, ...] = ()
    persistent: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    source: str = ""
    addresses: str = ""
    current: str | None = None
    proposed: str | None = None
    scope: str = "runtime"


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What the rules may look at.

    Attributes:
        sweep: This sweep.
        previous: The sweep before it; None for the first.

    """

    sweep: Sweep
    previous: Sweep | None = None

    def sample(self, kind: type[T]) -> T | None:
        """
        Return this sweep's sample of a type.

        Args:
            kind: The sample class.

        Returns:
            The sample; None when its collector gave none.

        """
        return self.sweep.sample(kind)

    def before(self, kind: type[T]) -> T | None:
        """
        Return the earlier sweep's sample of a type.

        Args:
            kind: The sample class.

        Returns:
            The sample; None when there is no earlier sweep or it had none.

        """
        return None if self.previous is None else self.previous.sample(kind)

    def probe(self, name: str) -> ProbeSample | None:
        """
        Return what an eBPF probe saw in this sweep.

        Args:
            name: Of the probe.

        Returns:
            Its sample; None when it did not run or saw nothing.

        """
        outcome = self.sweep.outcomes.get(name)
        data = outcome.data if outcome is not None else None
        return data if isinstance(data, ProbeSample) else None


Evaluate = Callable[[Facts], "Signal | None"]
Advise = Callable[[Facts, Signal], Iterable[Recommendation]]


@dataclass(frozen=True, slots=True)
class Rule:
    """
    A signal with its thresholds and everything that explains it.

    Attributes:
        id: Its function's name.
        resource: The resource it charges.
        cause: The cause group: findings of one group are charged once.
        kind: What the signal measures.
        unit: Unit of the signal.
        warning: From here it is a warning.
        critical: From here it is critical; None when it can only warn.
        scale: How the distance from the thresholds becomes points.
        source: Where the thresholds come from.
        gate: The least activity below which it says nothing, in words.
        explanation: What it means, for a tired reader.
        next_steps: What to look at next.
        evaluate: Reads the signal; None when it cannot say.
        advise: Gives the advice once it is raised.
        at_once: One sweep suffices: the signal is an event that does not repeat.
        probe: The eBPF probe it rests on; sweeps without that probe say nothing of it.
        window: The shortest window that it rests on; shorter ones say nothing of it [s].

    """

    id: str
    resource: str
    cause: str
    kind: Kind
    unit: str
    warning: float
    critical: float | None
    scale: Scale
    source: str
    gate: str
    explanation: str
    next_steps: tuple[str, ...]
    evaluate: Evaluate
    advise: Advise | None = None
    at_once: bool = False
    probe: str | None = None
    window: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A rule whose signal reached a threshold in this sweep.

    Attributes:
        rule: The rule with the thresholds that were applied.
        signal: What it saw.
        severity: warning or critical.
        points: What it would cost alone, weighted [points].

    """

    rule: Rule
    signal: Signal
    severity: Severity
    points: float


@dataclass(frozen=True, slots=True)
class Anomaly:
    """
    A finding that is held active.

    Attributes:
        rule: The rule's id.
        resource: The resource it charges.
        cause: The cause group.
        severity: warning or critical.
        message: One sentence with the numbers.
        subject: Device, mount or group; None for the whole host.
        value: The signal.
        unit: Its unit.
        warning: The threshold applied.
        critical: The threshold applied; None when it can only warn.
        since: When it was raised, seconds since the epoch [s].
        explanation: What it means.
        next_steps: What to look at next.
        evidence: Numbers with their sources.
        culprits: Who does it.

    """

    rule: str
    resource: str
    cause: str
    severity: Severity
    message: str
    subject: str | None
    value: float
    unit: str
    warning: float
    critical: float | None
    since: float
    explanation: str
    next_steps: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    culprits: tuple[Culprit, ...] = ()


@dataclass(frozen=True, slots=True)
class Deduction:
    """
    Points that one cause costs.

    Attributes:
        cause: The cause group.
        resource: The resource it is charged to.
        points: Its cost [points].
        rule: The finding that set the price.

    """

    cause: str
    resource: str
    points: float
    rule: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """
    What a sweep means.

    Attributes:
        verdict: One sentence.
        health_score: 0 to 100; None when too little is known.
        coverage: Weighted share of resources that are known [ratio].
        band: healthy, degraded, critical or unknown.
        deductions: Why it is not 100, dearest first.
        hypotheses: What may be behind the anomalies, most likely first.
        resource_scores: Resource to its own score, 0 to 100; only what is known.
        resources: Resource to its use.
        anomalies: Active ones, worst first.
        recommendations: Ordered by the deduction they answer.
        rules: Every enabled rule to whether it is active: "active", "quiet" or "unknown".

    """

    verdict: str
    health_score: float | None
    coverage: float
    band: str
    deductions: tuple[Deduction, ...] = ()
    hypotheses: tuple[Hypothesis, ...] = ()
    resource_scores: Mapping[str, float] = field(default_factory=dict)
    resources: Mapping[str, ResourceUse] = field(default_factory=dict)
    anomalies: tuple[Anomaly, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
