"""How findings become anomalies and end again."""

from __future__ import annotations

import random
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.assess import Policy, assess
from analysis.model import (
    Anomaly,
    Culprit,
    Evidence,
    Finding,
    Kind,
    Rule,
    Scale,
    Severity,
    Signal,
)
from analysis.state import Damping, State, describe
from collectors.model import Outcome, Status, Sweep

CPU = Outcome("cpu", "cpu", "quick", True, Status.OK, None, None, 0.0, 0.0, object())


DAMPING = Damping(2, 3, 120.0)
SETTINGS = {
    "id": "r", "resource": "cpu", "cause": "c", "kind": Kind.SATURATION, "unit": "1/s",
    "warning": 10.0, "critical": 100.0, "scale": Scale.LOG, "source": "", "gate": "",
    "explanation": "", "next_steps": (),
}  # fmt: skip


def replay(values, damping=DAMPING, step=60.0, **changes):
    settings = SETTINGS | changes
    state, seen = State(), []
    for number, value in enumerate(values):
        signal = None if value is None else Signal(value, "message")
        rule = Rule(**settings, evaluate=lambda _, s=signal: s)
        at = number * step
        sweep = Sweep("quick", 1e9 + at, at, 10.0, 10.0, outcomes={"cpu": CPU})
        judged, state = assess(sweep, state, Policy({"r": rule}, {}, damping))
        seen.append(judged)
    return seen, state.rules["r"]


def active(values, **changes):
    return [bool(j.anomalies) for j in replay(values, **changes)[0]]


def test_one_bad_sweep_is_not_yet_an_anomaly_and_costs_nothing():
    seen, _ = replay([0, 20, 0, 0])
    assert [j.health_score for j in seen] == [100, 100, 100, 100]
    assert active([0, 20, 0, 0]) == [False] * 4


def test_two_of_the_last_three_raise():
    assert active([20, 0, 20]) == [False, False, True]
    assert active([20, 0, 0, 20]) == [False] * 4


def test_far_beyond_critical_raises_at_once():
    assert active([199]) == [False]
    assert active([200]) == [True]


@pytest.mark.parametrize(("value", "raised"), [(0.79, False), (0.8, True)])
def test_a_share_raises_at_once_halfway_to_its_end(value, raised):
    assert active([value], unit="ratio", warning=0.25, critical=0.6) == [raised]


def test_an_event_raises_at_once():
    assert active([10], at_once=True) == [True]


def test_it_is_held_and_clears_only_below_the_lower_threshold():
    assert active([20, 20, 0, 0]) == [False, True, True, False]
    assert all(active([20, 20, 9.5, 9.5, 9.5, 9.5])[1:])


def test_onset_is_the_first_bad_sweep():
    seen, _ = replay([0, 20, 20])
    assert seen[-1].anomalies[0].since == 1e9 + 60


def test_unknown_changes_nothing_until_there_is_nothing_left_to_hold():
    assert active([20, 20, None, None, 20]) == [False, True, True, True, True]
    assert active([20, 20, None, None, None]) == [False, True, True, True, False]


def test_a_fading_anomaly_still_costs_what_a_warning_costs():
    seen, _ = replay([300, 0])
    assert seen[1].anomalies[0].severity is Severity.WARNING
    assert seen[1].health_score == 92.5


def test_a_signal_that_trembles_around_the_threshold_changes_at_most_once_in_an_hour():
    noise = random.Random(7)
    _, memory = replay([10 + noise.uniform(-0.9, 0.9) for _ in range(60)])
    assert memory.transitions <= 1


@given(
    st.lists(st.floats(9.01, 1000), min_size=60, max_size=60),
    st.sampled_from([(1, 1), (2, 3), (3, 5)]),
)
def test_a_noisy_hour_above_the_clearing_threshold_changes_at_most_once(values, numbers):
    _, memory = replay(values, Damping(*numbers, 120.0))
    assert memory.transitions <= 1


@given(st.lists(st.floats(0, 1000), min_size=60, max_size=60))
def test_whatever_an_hour_brings_it_changes_seven_times_at_most(values):
    _, memory = replay(values)
    assert memory.transitions <= 7


def test_what_keeps_coming_back_is_held_longer_each_time():
    seen = active([20, 20, 0, 0] * 40)
    lengths = [len(list(group)) for on, group in groupby(seen) if on]
    assert lengths[:4] == [2, 10, 34, 34]


def test_what_comes_back_after_an_hour_is_another_one():
    quiet = [0] * 58
    seen, memory = replay([20, 20, 0, 0, *quiet, 20, 20, 0, 0])
    assert memory.returns == 0
    assert [bool(j.anomalies) for j in seen][-4:] == [False, True, True, False]
    _, soon = replay([20, 20, 0, 0, *quiet[1:], 20, 20])
    assert soon.returns == 1


def test_a_gate_that_trembles_is_no_alarm_every_few_minutes():
    noise = random.Random(3)
    values = [20 if noise.random() < 0.5 else 0 for _ in range(60)]
    _, memory = replay(values)
    assert memory.transitions <= 7


@given(st.lists(st.floats(0, 9.99), min_size=1, max_size=60))
def test_below_the_threshold_nothing_is_ever_raised(values):
    assert not any(active(values))


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_so_many_of_the_last_so_many_raise_and_not_one_less(bad, needed, more):
    damping = Damping(needed, needed + more, 1e9)
    seen = active([20 if b else 0 for b in bad], damping=damping)
    window = [sum(bad[max(0, n - needed - more + 1) : n + 1]) for n in range(len(bad))]
    raised = [n for n, b in enumerate(bad) if b and window[n] >= needed]
    first = raised[0] if raised else len(bad)
    assert seen == [n >= first for n in range(len(bad))]


@pytest.mark.parametrize(("hold", "cleared"), [(60.0, 3), (120.0, 3), (180.0, 4), (241.0, 6)])
def test_it_lives_as_long_as_it_is_held_at_least(hold, cleared):
    seen = active([20, 20, 0, 0, 0, 0, 0], damping=Damping(2, 3, hold))
    assert seen.index(False, 1) == cleared


@pytest.mark.parametrize(("value", "cleared"), [(9.0, None), (8.99, 12), (5.0, 12), (4.99, 3)])
def test_near_its_threshold_only_a_long_calm_ends_it(value, cleared):
    seen = active([20, 20, *[value] * 20])
    assert (seen.index(False, 1) if False in seen[1:] else None) == cleared


def test_what_only_long_windows_see_stands_until_the_next_one():
    long = [20, *[None] * 9, 20, *[None] * 9]
    assert all(active(long, window=30.0, at_once=True))  # sweeps of 10 s do not look at it
    assert not active(long, at_once=True)[-1]
    assert active([*long, 0], window=30.0, at_once=True)[-1] is False


def test_a_calm_that_is_broken_begins_anew():
    assert all(active([20, 20, *[8] * 9, 9.5, *[8] * 9])[1:])


def test_calm_has_to_last_as_well():
    assert all(active([20, 20, 0, 20, 20, 0, 20])[1:])
    assert active([20, 20, 20, 0, 20, 0])[-1] is False


def test_what_was_calm_before_it_was_raised_does_not_clear_it():
    assert active([0, 0, 500, 9.5, 9.5], damping=Damping(2, 3, 0.0)) == [False, False] + [True] * 3


@pytest.mark.parametrize(("value", "raised"), [(0.19, False), (0.2, True)])
def test_a_small_share_raises_at_once_at_twice_its_threshold(value, raised):
    assert active([value], unit="ratio", warning=0.02, critical=0.1) == [raised]


def test_other_units_are_not_bounded_by_one_and_a_share_that_ends_at_its_threshold_is_not_either():
    assert active([0.9], unit="1/s", warning=0.1, critical=0.5) == [False]
    assert active([1.0], unit="1/s", warning=0.1, critical=0.5) == [True]
    assert active([1.9], unit="ratio", warning=0.1, critical=1.0) == [False]
    assert active([2.0], unit="ratio", warning=0.1, critical=1.0) == [True]


def test_what_only_warns_never_raises_at_once():
    assert active([1e9], critical=None) == [False]
    assert active([1e9], kind=Kind.UTILIZATION) == [False]


def test_unknown_sweeps_in_a_row_make_what_was_before_them_forgotten():
    assert active([20, None, None, 20])[-1] is True
    assert active([20, None, None, None, 20])[-1] is False
    assert active([20, None, 0, None, 20])[-1] is True
    seen, _ = replay([20, None, None, None, 20, 20])
    assert seen[-1].anomalies[0].since == 1e9 + 4 * 60


def test_what_cannot_be_seen_for_a_moment_gets_no_cheaper():
    seen, _ = replay([300, None, None])
    assert len({j.health_score for j in seen}) == 1
    assert [j.anomalies[0].severity for j in seen] == [Severity.CRITICAL] * 3
    assert seen[-1].rules == {"r": "active"}


def test_a_fading_anomaly_tells_what_was_found_and_the_value_of_now():
    seen, _ = replay([300, 5])
    now = seen[1].anomalies[0]
    assert (now.message, now.value) == ("message; eased since", 5)
    seen, _ = replay([20, 0], at_once=True)
    assert [j.anomalies[0].message for j in seen] == ["message", "message; not again since"]


def test_an_anomaly_that_returns_while_it_fades_is_the_same_one():
    seen, memory = replay([300, 0, 20])
    assert seen[2].anomalies[0].since == 1e9
    assert seen[2].anomalies[0].message == "message"
    assert memory.transitions == 1


def test_the_onset_is_forgotten_when_calm_went_between():
    seen, _ = replay([20, 0, 0, 0, 20, 20])
    assert seen[-1].anomalies[0].since == 1e9 + 4 * 60
    seen, _ = replay([20, 20, 0, 0, 20, 20])
    assert seen[-1].anomalies[0].since == 1e9 + 4 * 60


def test_everything_of_the_rule_and_the_signal_is_told():
    culprit, evidence = Culprit("process", "hog", "7"), Evidence("e", 1.0, "x", "file")
    words = {"next_steps": ("top -p PID",), "explanation": "E"}
    rule = Rule(**SETTINGS | words, evaluate=lambda _: None)
    signal = Signal(50.0, "m", "sda", (evidence,), (culprit,))
    told = describe(Finding(rule, signal, Severity.WARNING, 9.0), 7.0)
    assert told == Anomaly(
        "r", "cpu", "c", Severity.WARNING, "m", "sda", 50.0, "1/s", 10.0, 100.0, 7.0, "E",
        ("top -p 7",), (evidence,), (culprit,),
    )  # fmt: skip


def sweeps(values, times):
    """Replay values at pairs of wall and monotonic times."""
    state, seen = State(), []
    for value, (wall, monotonic) in zip(values, times, strict=True):
        rule = Rule(**SETTINGS, evaluate=lambda _, v=value: Signal(v, "message"))
        sweep = Sweep("quick", wall, monotonic, 10.0, 10.0, outcomes={"cpu": CPU})
        judged, state = assess(sweep, state, Policy({"r": rule}, {}, DAMPING))
        seen.append(bool(judged.anomalies))
    return seen


def test_a_clock_that_is_set_and_a_suspend_neither_raise_nor_end_anything():
    even = [(1e9 + n * 60, n * 60.0) for n in range(5)]
    values = [20, 20, 0, 0, 0]
    stepped = [(w + (1e6 if n % 2 else -1e6), m) for n, (w, m) in enumerate(even)]
    assert sweeps(values, stepped) == sweeps(values, even) == [False, True, True, False, False]
    # Monotonic time stands still in a suspend, so nothing has been held meanwhile.
    slept = [(1e9 + n * 9e4, n * 30.0) for n in range(5)]
    assert sweeps(values, slept) == [False, True, True, True, True]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1000)), min_size=1, max_size=30))
def test_transitions_count_raises_and_clears(values):
    seen, memory = replay(values)
    states = [False, *(bool(j.anomalies) for j in seen)]
    changes = sum(a != b for a, b in pairwise(states))
    assert memory.transitions == changes


def replay_probe(steps, **changes):
    """Replay sweeps of which some run the probe: (runs, value)."""
    settings = SETTINGS | {"probe": "runqlat", "at_once": True} | changes
    state, seen = State(), []
    watched = Outcome("runqlat", "cpu", "standard", False, Status.OK, None, None, 0.0, 0.0, 1)
    for number, (runs, value) in enumerate(steps):
        signal = None if value is None else Signal(value, "message")
        rule = Rule(**settings, evaluate=lambda _, s=signal: s)
        at = number * 600.0
        outcomes = {"cpu": CPU} | ({"runqlat": watched} if runs else {})
        sweep = Sweep("quick", 1e9 + at, at, 10.0, 10.0, outcomes=outcomes)
        judged, state = assess(sweep, state, Policy({"r": rule}, {}, DAMPING))
        seen.append(bool(judged.anomalies))
    return seen


QUIET, BAD, NOT_ASKED, FAILED = (True, 0.0), (True, 50.0), (False, None), (True, None)


def test_what_a_probe_saw_stands_until_the_probe_looks_again():
    assert replay_probe([BAD, *[NOT_ASKED] * 9, QUIET]) == [True] * 10 + [False]


def test_sweeps_without_the_probe_do_not_age_what_it_saw():
    assert replay_probe([QUIET, NOT_ASKED, NOT_ASKED, NOT_ASKED, BAD])[-1]


def test_a_probe_that_never_looks_again_is_not_believed_for_ever():
    steps = [BAD, *[NOT_ASKED] * 50]
    assert replay_probe(steps)[40]
    assert not replay_probe(steps)[-1]


def test_a_probe_that_fails_again_and_again_is_unknown():
    assert replay_probe([BAD, FAILED, FAILED, FAILED]) == [True, True, True, False]
