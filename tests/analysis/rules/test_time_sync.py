"""Judging the clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.base import Context
from collectors.model import Outcome, Status, Sweep
from collectors.time_sync import TimeSyncSample, Timex, collect

NAMES = ("clock_offset", "clock_step", "clock_unsynchronized", "clocksource_slow")
RULES = {n: discover_rules()[n] for n in NAMES}
FINE = Timex(True, "ok", ("pll",), 0.0, 12.5, 0.3, 0.0001, 7, 10_000, 37, "none", 1.7e9)
CLOCK = TimeSyncSample(FINE, True, True, 0.0, "tsc", ("tsc", "hpet"))
WARNING = Severity.WARNING


def sweep(sample):
    outcome = Outcome(
        "time_sync", "system", "quick", False, Status.OK, None, None, 0.0, 1.0, sample
    )
    return Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"time_sync": outcome})


def facts(sample, before=None):
    return Facts(sweep(sample), None if before is None else sweep(before))


def clock(**changes):
    return replace(CLOCK, timex=replace(FINE, **changes))


def severity(name, known):
    signal = RULES[name].evaluate(known)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


def test_a_clock_that_is_kept_right_is_no_finding():
    assert [severity(n, facts(CLOCK, CLOCK)) for n in NAMES] == [None] * 4


@pytest.mark.parametrize(
    ("bound", "synchronized", "expected"),
    [(1.1, True, None), (4.5, True, WARNING), (16.0, False, WARNING), (0.5, False, None)],
)
def test_a_clock_that_is_no_longer_corrected_warns(bound, synchronized, expected):
    known = facts(clock(max_error=bound, synchronized=synchronized))
    assert severity("clock_unsynchronized", known) is expected


def test_a_clock_that_was_never_corrected_is_unknown_and_no_finding():
    never = replace(clock(max_error=16.0, synchronized=False), disciplined=False)
    assert RULES["clock_unsynchronized"].evaluate(facts(never)) is None


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (0.04, None, None),
        (0.06, None, WARNING),
        (-0.06, -0.06, WARNING),
        (0.06, 0.2, None),
        (-0.2, 0.06, WARNING),
    ],
)
def test_an_offset_warns_unless_it_shrinks(now, before, expected):
    earlier = None if before is None else clock(offset=before)
    assert severity("clock_offset", facts(clock(offset=now), earlier)) is expected


def test_the_offset_of_a_clock_nobody_keeps_means_nothing():
    known = facts(clock(offset=0.4, synchronized=False))
    assert RULES["clock_offset"].evaluate(known) is None


@pytest.mark.parametrize(
    ("step", "expected"), [(0.1, None), (-0.1, None), (0.7, WARNING), (-3600, WARNING)]
)
def test_a_clock_that_was_set_warns_in_either_direction(step, expected):
    known = facts(replace(CLOCK, step_seconds=step))
    assert severity("clock_step", known) is expected
    assert RULES["clock_step"].at_once


@pytest.mark.parametrize(
    ("source", "expected"),
    [("tsc", None), ("kvm-clock", None), ("arch_sys_counter", None), ("hpet", WARNING),
     ("acpi_pm", WARNING), ("jiffies", WARNING), ("hyperv_clocksource_msr", WARNING)],
)  # fmt: skip
def test_a_slow_clock_source_warns(source, expected):
    assert severity("clocksource_slow", facts(replace(CLOCK, clocksource=source))) is expected


def test_a_faster_source_is_advised_only_where_it_is_offered():
    rule = RULES["clocksource_slow"]
    known = facts(replace(CLOCK, clocksource="hpet", clocksources=("hpet", "tsc", "acpi_pm")))
    (advice,) = rule.advise(known, rule.evaluate(known))
    assert (advice.current, advice.proposed) == ("hpet", "tsc")
    assert "echo tsc" in advice.commands[0]
    assert "echo hpet" in advice.undo[0]
    alone = facts(replace(CLOCK, clocksource="hpet", clocksources=("hpet", "acpi_pm")))
    signal = rule.evaluate(alone)
    assert list(rule.advise(alone, signal)) == []
    assert "none that is faster" in signal.message


def test_what_is_unknown_says_nothing():
    known = facts(TimeSyncSample(None))
    assert [RULES[n].evaluate(known) for n in NAMES] == [None] * 4


def test_this_host_has_no_finding():
    memory = {}
    first, second = (collect(Context(duration=0.05, memory=memory)) for _ in range(2))
    for name in NAMES:
        signal = RULES[name].evaluate(facts(second, first))
        assert findings([(RULES[name], signal)] if signal else []) == []
