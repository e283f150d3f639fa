"""What is remembered from sweep to sweep: which findings are held as anomalies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from analysis.model import Anomaly, Finding, Rule, Severity, Signal
from analysis.next_steps import with_culprits
from analysis.score import fading
from collectors.model import Sweep

# An anomaly clears only below this part of its warning threshold, so that a
# signal that trembles around the threshold does not raise and clear in turns.
CLEAR = 0.9
# Below this part of it the trouble is plainly over. Between the two it may come
# back any time: only a long calm ends it there.
OVER = 0.5
TWICE = 2.0
# What comes and goes is one trouble and not many: an anomaly that returns within
# this time of its end is held longer each time [s].
RETURN = 3600.0
# What a probe saw stands until its next window, but not for ever: the rarest
# profile runs every six hours by default [s].
LOOK = 7 * 3600.0
_LONGER, _MOST_RETURNS = 4.0, 2


@dataclass(frozen=True, slots=True)
class Damping:
    """
    How findings become anomalies.

    Attributes:
        raise_sweeps: So many of the last `of_sweeps` must agree, to raise and to clear.
        of_sweeps: How many sweeps are remembered.
        hold: Shortest life of an anomaly; four and then sixteen times as long for one
            that keeps coming back [s].
        linger: How long a signal must stay below the clearing threshold when it stays
            near it [s].

    """

    raise_sweeps: int = 2
    of_sweeps: int = 3
    hold: float = 120.0
    linger: float = 600.0


AT_ONCE = Damping(1, 1, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Held:
    """
    An anomaly that is held active.

    Attributes:
        raised: Monotonic time of the raise [s].
        finding: What it is charged for, with the signal that last reached a threshold.
        anomaly: As it is shown.

    """

    raised: float
    finding: Finding
    anomaly: Anomaly


@dataclass(frozen=True, slots=True)
class RuleState:
    """
    One rule's memory.

    Attributes:
        fired: For each of the last sweeps in which the signal was known: at or over warning?
        over: The same for: far below the warning threshold?
        calm_since: Monotonic time of the first sweep of those below the clearing
            threshold, up to the last one; None when that was not [s].
        unknown: Sweeps in a row in which it was unknown.
        onset: Wall time of the sweep with which the present trouble began [s].
        transitions: Raises and clears so far.
        returns: How often in a row it has come back soon after its end.
        ended: Monotonic time of its last end; None when there was none [s].
        looked: Monotonic time of the last sweep in which the signal was known [s].
        held: The anomaly; None while there is none.

    """

    fired: tuple[bool, ...] = ()
    over: tuple[bool, ...] = ()
    calm_since: float | None = None
    unknown: int = 0
    onset: float | None = None
    transitions: int = 0
    returns: int = 0
    ended: float | None = None
    looked: float | None = None
    held: Held | None = None


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
        The new memory. An unknown signal changes nothing, not even the price, but
        when it has been unknown for `of_sweeps` in a row all is forgotten.

    """
    if signal is None and _not_asked(memory, rule, sweep):
        return memory
    if signal is None:
        return _unseen(memory, sweep, damping)
    memory = _remember(memory, rule, signal, finding, sweep, damping)
    needed = 1 if rule.at_once else damping.raise_sweeps
    if memory.held is None:
        if finding and (sum(memory.fired) >= needed or at_once(finding)):
            return _raised(memory, finding, sweep)
        return memory
    hold = damping.hold * _LONGER**memory.returns
    old_enough = sweep.started_monotonic - memory.held.raised >= hold
    if old_enough and _ended(memory, rule, sweep, damping):
        return _cleared(memory, sweep)
    return replace(memory, held=_seen(memory.held, rule, signal, finding))


def at_once(finding: Finding) -> bool:
    """
    Tell whether a finding is too bad to wait for a second sweep.

    Args:
        finding: The finding.

    Returns:
        Whether it is critical and beyond twice the critical threshold or, where
        the scale ends at 1 before that, halfway between the threshold and the end.

    """
    rule, critical = finding.rule, finding.rule.critical
    if finding.severity is not Severity.CRITICAL or critical is None:
        return False
    bounded = rule.unit == "ratio" and critical < 1
    far = min(TWICE * critical, (1 + critical) / 2) if bounded else TWICE * critical
    return finding.signal.value >= far


def _ended(memory: RuleState, rule: Rule, sweep: Sweep, damping: Damping) -> bool:
    """Tell whether a trouble is plainly over, or has been calm for long."""
    if memory.calm_since is None:
        return False
    # Few sweeps look at it; waiting for a second one would take half an hour and more.
    if _rare(rule) or sum(memory.over) >= damping.raise_sweeps:
        return True
    return sweep.started_monotonic - memory.calm_since >= damping.linger


def _not_asked(memory: RuleState, rule: Rule, sweep: Sweep) -> bool:
    """Tell whether this sweep does not look at what a rule rests on, and one did lately."""
    looked = rule.probe is None or rule.probe in sweep.outcomes
    if looked and sweep.window_seconds >= rule.window:
        return False
    return memory.looked is None or sweep.started_monotonic - memory.looked < LOOK


def _rare(rule: Rule) -> bool:
    """Tell whether only some profiles look at what a rule rests on."""
    return rule.probe is not None or rule.window > 0


def _unseen(memory: RuleState, sweep: Sweep, damping: Damping) -> RuleState:
    """Count a sweep that could not say."""
    memory = replace(memory, unknown=memory.unknown + 1)
    if memory.unknown < damping.of_sweeps:
        return memory
    # Whatever was seen before so long a gap does not agree with what comes after it.
    if memory.held:
        return _cleared(memory, sweep)
    return replace(memory, fired=(), over=(), calm_since=None, onset=None)


def _remember(
    memory: RuleState,
    rule: Rule,
    signal: Signal,
    finding: Finding | None,
    sweep: Sweep,
    damping: Damping,
) -> RuleState:
    """Add a sweep to the history."""
    now, calm = sweep.started_monotonic, signal.value < rule.warning * CLEAR
    since = (now if memory.calm_since is None else memory.calm_since) if calm else None
    fired = (*memory.fired, finding is not None)[-damping.of_sweeps :]
    onset = memory.onset if any(memory.fired) or memory.held else None
    if finding is not None and onset is None:
        onset = sweep.started_at
    over = (*memory.over, signal.value < rule.warning * OVER)[-damping.of_sweeps :]
    return replace(
        memory, fired=fired, over=over, calm_since=since, unknown=0, onset=onset, looked=now
    )


def _raised(memory: RuleState, finding: Finding, sweep: Sweep) -> RuleState:
    """Make a finding an anomaly."""
    anomaly = describe(finding, memory.onset if memory.onset is not None else sweep.started_at)
    now, ended = sweep.started_monotonic, memory.ended
    again = ended is not None and now - ended < RETURN
    return replace(
        memory,
        held=Held(now, finding, anomaly),
        transitions=memory.transitions + 1,
        returns=min(memory.returns + 1, _MOST_RETURNS) if again else 0,
        over=(),
        calm_since=None,
    )


def _cleared(memory: RuleState, sweep: Sweep) -> RuleState:
    """End an anomaly."""
    return RuleState(
        transitions=memory.transitions + 1,
        unknown=memory.unknown,
        returns=memory.returns,
        ended=sweep.started_monotonic,
    )


def _seen(held: Held, rule: Rule, signal: Signal, finding: Finding | None) -> Held:
    """
    Describe an anomaly as it is now.

    One that is fading stays a warning until it is cleared, and goes on telling
    what was found: that nobody was killed in this sweep is no news of a kill.
    """
    since = held.anomaly.since
    if finding is not None:
        return replace(held, finding=finding, anomaly=describe(finding, since))
    faded = fading(rule, held.finding.signal)
    message = f"{faded.signal.message}; {'not again' if rule.at_once else 'eased'} since"
    shown = replace(describe(faded, since), message=message, value=signal.value)
    return replace(held, finding=faded, anomaly=shown)


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
        next_steps=with_culprits(rule.next_steps, signal.culprits),
        evidence=signal.evidence,
        culprits=signal.culprits,
    )
