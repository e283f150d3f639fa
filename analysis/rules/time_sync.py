"""Rules on the clock: nobody keeps it right, it is wrong, it jumped, or reading it is slow."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.model import Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.text import duration
from collectors.time_sync import TimeSyncSample

# Read from a device's registers, or only as exact as the tick; the rest is read from the CPU.
_SLOW = frozenset(
    {"acpi_pm", "hpet", "hyperv_clocksource_msr", "jiffies", "pit", "refined-jiffies"}
)
_FAST = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "xen", "arch_sys_counter")
_KNOB = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
_NODE_MIXIN = "node-mixin"


def _faster(facts: Facts) -> str | None:
    """Give the best clock source that the kernel offers and that is quick to read."""
    sample = facts.sample(TimeSyncSample)
    offered = sample.clocksources if sample else ()
    return next((name for name in _FAST if name in offered), None)


def _change_clocksource(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """Advise the faster clock source, where the kernel still offers it."""
    better, current = _faster(facts), signal.subject
    if better is None or current is None:
        return
    yield Recommendation(
        id="clocksource",
        kind="tune",
        resource="kernel",
        title=f"Read the time from {better} instead of {current}",
        why=f"{better} is read in some 20 ns without entering the kernel, {current} takes a "
        "microsecond and more; programs read the clock thousands of times a second.",
        risk="somebody may have set it aside because the CPUs' counters did not agree; the "
        "kernel watches it and goes back when they do not",
        commands=(f"echo {better} > {_KNOB}",),
        persistent=(f"Remove clocksource={current} from the kernel's parameters.",),
        undo=(f"echo {current} > {_KNOB}",),
        evidence=signal.evidence,
        source="Documentation/admin-guide/kernel-parameters.txt, clocksource",
        addresses="clocksource_slow",
        current=current,
        proposed=better,
    )


@rule(
    resource="kernel",
    cause="clock",
    kind=Kind.ERRORS,
    unit="s",
    warning=4,
    critical=None,
    source=f"{_NODE_MIXIN} NodeClockNotSynchronising waits for the kernel's end of scale, 16 s "
    "(NTP_PHASE_LIMIT), 9 h after the last correction; daemons correct at least every 2,048 s, "
    "in which the bound grows to 1 s: at 4 s more than two hours have gone by",
    gate="a daemon has corrected the clock since boot: many guests leave that to their host",
    explanation="Nothing keeps the clock right any more; it drifts, some seconds a day.",
    next_steps=("timedatectl timesync-status", "chronyc tracking", "systemctl status chrony ntp"),
)
def clock_unsynchronized(facts: Facts) -> Signal | None:
    """Watch how wrong the clock may be, where a daemon has kept it right before."""
    sample = facts.sample(TimeSyncSample)
    if sample is None or sample.timex is None or not sample.disciplined:
        return None
    bound, fine = sample.timex.max_error, sample.timex.synchronized
    told = "is kept right" if fine else "is no longer kept right"
    return Signal(
        value=bound,
        message=f"The clock {told}; it may be wrong by up to {duration(bound)}",
        evidence=(
            Evidence("largest possible error", bound, "s", "adjtimex maxerror"),
            Evidence("synchronized", float(fine), "", "adjtimex STA_UNSYNC"),
        ),
    )


@rule(
    resource="kernel",
    cause="clock",
    kind=Kind.ERRORS,
    unit="s",
    warning=0.05,
    critical=None,
    scale=Scale.LOG,
    source=f"{_NODE_MIXIN} NodeClockSkewDetected (50 ms, and not shrinking)",
    gate="a daemon keeps the clock right, and the offset does not shrink",
    explanation="The clock is wrong, and its correction makes no headway.",
    next_steps=("timedatectl timesync-status", "chronyc sources -v", "ntpq -p"),
)
def clock_offset(facts: Facts) -> Signal | None:
    """Watch the part of the clock's error that is still to be corrected."""
    sample, earlier = facts.sample(TimeSyncSample), facts.before(TimeSyncSample)
    timex = sample.timex if sample else None
    if timex is None or not timex.synchronized:
        return None
    offset = abs(timex.offset)
    before = abs(earlier.timex.offset) if earlier and earlier.timex else None
    shrinks = before is not None and offset < before
    return Signal(
        value=0.0 if shrinks else offset,
        message=f"The clock is wrong by {duration(offset)}{', and less so' if shrinks else ''}",
        evidence=(Evidence("still to be corrected", timex.offset, "s", "adjtimex offset"),),
    )


@rule(
    resource="kernel",
    cause="clock",
    kind=Kind.ERRORS,
    unit="s",
    warning=0.5,
    critical=None,
    at_once=True,
    source="ntpd(8) sets the clock instead of slewing it from 0.128 s on, the kernel's loop ends "
    "at 0.5 s (MAXPHASE, include/linux/timex.h)",
    explanation="The clock was set while programs ran: time-outs, logs, leases and certificates "
    "that go by it may be wrong.",
    next_steps=("journalctl -u chrony -u systemd-timesyncd -n 50", "Was the guest suspended?"),
)
def clock_step(facts: Facts) -> Signal | None:
    """Watch by how much the clock was set since the sweep before."""
    sample = facts.sample(TimeSyncSample)
    step = sample.step_seconds if sample else None
    if step is None:
        return None
    way = "forward" if step > 0 else "back"
    return Signal(
        value=abs(step),
        message=f"The clock was set {way} by {duration(abs(step))}",
        evidence=(Evidence("step", step, "s", "adjtimex time against CLOCK_BOOTTIME"),),
    )


@rule(
    resource="kernel",
    cause="clocksource",
    kind=Kind.SATURATION,
    unit="sources",
    warning=1,
    critical=None,
    source="Documentation/virt/kvm/x86/timekeeping.rst: HPET and ACPI PM are device registers; "
    "reading them takes a microsecond and more, and a system call, since the vDSO cannot",
    explanation="Every reading of the clock is slow, fifty times and more: databases, tracing "
    "and network programs feel it.",
    next_steps=("dmesg | grep -iE 'clocksource|tsc'", f"cat {_KNOB}"),
    advise=_change_clocksource,
)
def clocksource_slow(facts: Facts) -> Signal | None:
    """Watch for a clock that is read from a slow device."""
    sample = facts.sample(TimeSyncSample)
    if sample is None or sample.clocksource is None:
        return None
    slow, better = sample.clocksource in _SLOW, _faster(facts)
    choice = f"{better} is offered" if better else "the kernel offers none that is faster"
    return Signal(
        value=float(slow),
        message=f"Time is read from {sample.clocksource}, which is slow; {choice}"
        if slow
        else f"Time is read from {sample.clocksource}",
        subject=sample.clocksource if slow else None,
        evidence=(Evidence("slow clock source", float(slow), "sources", _KNOB),),
    )
