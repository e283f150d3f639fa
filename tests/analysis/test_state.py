"""How findings become anomalies and end again."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.assess import Policy, assess
from analysis.model import Kind, Rule, Scale, Severity, Signal
from analysis.state import Damping, State
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


@given(st.lists(st.one_of(st.none(), st.floats(0, 1000)), min_size=1, max_size=30))
def test_transitions_count_raises_and_clears(values):
    seen, memory = replay(values)
    states = [False, *(bool(j.anomalies) for j in seen)]
    changes = sum(a != b for a, b in pairwise(states))
    assert memory.transitions == changes
