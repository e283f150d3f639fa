"""What is remembered from sweep to sweep: which findings are held as anomalies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from analysis.model import Anomaly, Finding, Rule, Severity, Signal
from collectors.model import Sweep

# An anomaly clears only below this part of its warning threshold, so that a
# signal that trembles around the threshold does not raise and clear in turns.
CLEAR = 0.9
TWICE = 2.0


@dataclass(frozen=True, slots=True)
class Damping:
    """
    How findings become anomalies.

    Attributes:
        raise_sweeps: So many of the last `of_sweeps` must agree, to raise and to clear.
        of_sweeps: How many sweeps are remembered.
        hold: Shortest life of an anomaly [s].

    """

    raise_sweeps: int = 2
    of_sweeps: int = 3
    hold: float = 120.0


AT_ONCE = Damping(1, 1, 0.0)


@dataclass(frozen=True, slots=True)
class RuleState:
    """
    One rule's memory.

    Attributes:
        fired: For each of the last sweeps in which the signal was known: at or over warning?
        calm: The same for: below the clearing threshold?
        unknown: Sweeps in a row in which it was unknown.
        onset: Wall time of the sweep with which the present trouble began [s].
        raised: Monotonic time of the raise; None while not active [s].
        transitions: Raises and clears so far.
        anomaly: As last seen while active.

    """

    fired: tuple[bool, ...] = ()
    calm: tuple[bool, ...] = ()
    unknown: int = 0
    onset: float | None = None
    raised: float | None = None
    transitions: int = 0
    anomaly: Anomaly | None = None


@dataclass(frozen=True, slots=True)
class State:
    """
    Everything remembered.

    Attributes:
        rules: Rule id to its memory.
        previous: The sweep before.

    """

    rules: Mapping[str, RuleState] = field(default_factory=dict)
    previous: Sweep | None = None


def advance(
    memory: RuleState,
    rule: Rule,
    signal: Signal | None,
    finding: Finding | None,
    sweep: Sweep,
    damping: Damping,
) -> RuleState:
    """
    Carry one rule's memory over a sweep.

    Args:
        memory: What was remembered.
        rule: The rule.
        signal: What it saw; None when it could not say.
        finding: The finding it led to, if it reached a threshold.
        sweep: When it was seen.
        damping: How many sweeps must agree, and for how long it is held.

    Returns:
        The new memory. An unknown signal changes nothing, but when it has been
        unknown for `of_sweeps` in a row there is nothing left to hold.

    """
    if signal is None:
        return _unseen(memory, damping)
    memory = _remember(memory, rule, signal, finding, sweep, damping)
    needed = 1 if rule.at_once else damping.raise_sweeps
    if memory.raised is None:
        if finding and (sum(memory.fired) >= needed or at_once(finding)):
            return _raised(memory, finding, sweep)
        return memory
    old_enough = sweep.started_monotonic - memory.raised >= damping.hold
    if old_enough and sum(memory.calm) >= damping.raise_sweeps:
        return _cleared(memory)
    return replace(memory, anomaly=_seen(memory, rule, signal, finding))


def at_once(finding: Finding) -> bool:
    """
    Tell whether a finding is too bad to wait for a second sweep.

    Args:
        finding: The finding.

    Returns:
        Whether it is critical and beyond twice the critical threshold or, where
        the scale ends at 1, halfway between that threshold and the end.

    """
    rule, critical = finding.rule, finding.rule.critical
    if finding.severity is not Severity.CRITICAL or critical is None:
        return False
    bounded = rule.unit == "ratio" and critical < 1
    return finding.signal.value >= ((1 + critical) / 2 if bounded else TWICE * critical)


def _unseen(memory: RuleState, damping: Damping) -> RuleState:
    """Count a sweep that could not say."""
    memory = replace(memory, unknown=memory.unknown + 1)
    gone = memory.raised is not None and memory.unknown >= damping.of_sweeps
    return _cleared(memory) if gone else memory


def _remember(
    memory: RuleState,
    rule: Rule,
    signal: Signal,
    finding: Finding | None,
    sweep: Sweep,
    damping: Damping,
) -> RuleState:
    """Add a sweep to the history."""
    calm = signal.value < rule.warning * CLEAR
    fired = (*memory.fired, finding is not None)[-damping.of_sweeps :]
    onset = memory.onset if any(memory.fired) or memory.raised is not None else None
    if finding is not None and onset is None:
        onset = sweep.started_at
    calms = (*memory.calm, calm)[-damping.of_sweeps :]
    return replace(memory, fired=fired, calm=calms, unknown=0, onset=onset)


def _raised(memory: RuleState, finding: Finding, sweep: Sweep) -> RuleState:
    """Make a finding an anomaly."""
    anomaly = describe(finding, memory.onset if memory.onset is not None else sweep.started_at)
    return replace(
        memory,
        raised=sweep.started_monotonic,
        transitions=memory.transitions + 1,
        anomaly=anomaly,
        calm=(),
    )


def _cleared(memory: RuleState) -> RuleState:
    """End an anomaly."""
    return RuleState(transitions=memory.transitions + 1, unknown=memory.unknown)


def _seen(memory: RuleState, rule: Rule, signal: Signal, finding: Finding | None) -> Anomaly | None:
    """Describe an anomaly as it is now; one that is fading stays a warning until cleared."""
    if memory.anomaly is None:
        return None
    shown = finding or Finding(rule, signal, Severity.WARNING, 0.0)
    return describe(shown, memory.anomaly.since)


def describe(finding: Finding, since: float) -> Anomaly:
    """
    Write a finding out as an anomaly.

    Args:
        finding: The finding.
        since: Wall time of its onset [s].

    Returns:
        The anomaly.

    """
    rule, signal = finding.rule, finding.signal
    return Anomaly(
        rule=rule.id,
        resource=rule.resource,
        cause=rule.cause,
        severity=finding.severity,
        message=signal.message,
        subject=signal.subject,
        value=signal.value,
        unit=rule.unit,
        warning=rule.warning,
        critical=rule.critical,
        since=since,
        explanation=rule.explanation,
        next_steps=rule.next_steps,
        evidence=signal.evidence,
        culprits=signal.culprits,
    )
