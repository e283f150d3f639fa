"""Laws of differences and rates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collectors.model import UNKNOWN
from collectors.rates import Track, delta, distribution, rate, ratio

COUNTER = st.integers(0, 2**64)


@given(COUNTER, COUNTER)
def test_a_difference_is_never_negative(old, new):
    change = delta(old, new)
    assert change is None if new < old else change == new - old


@given(st.one_of(st.none(), COUNTER), st.one_of(st.none(), COUNTER), st.floats(-1, 10))
def test_a_rate_is_unknown_or_not_negative(old, new, seconds):
    value = rate(old, new, seconds)
    assert value is None or value >= 0


@given(st.lists(COUNTER, min_size=2, max_size=8))
def test_a_counter_that_went_back_anywhere_is_unknown_for_the_window(values):
    track = Track()
    for at, value in enumerate(values):
        track.add(float(at), {"x": value})
    expected = values[-1] - values[0] if values == sorted(values) else None
    assert track.increase("x") == expected
    assert (track.rate("x") == UNKNOWN) == (expected is None)


def test_what_came_or_went_is_unknown():
    track = Track()
    track.add(0.0, {"old": 1, "both": 1})
    track.add(2.0, {"new": 1, "both": 5})
    assert [track.increase(k) for k in ("old", "new", "both")] == [None, None, 4]
    assert track.rate("both").mean == 2.0


def test_one_reading_gives_no_rate():
    track = Track()
    track.add(0.0, {"x": 1})
    assert track.rate("x") == UNKNOWN


def test_a_rate_has_a_mean_over_the_window_and_a_peak():
    track = Track()
    for at, value in ((0.0, 0), (1.0, 10), (3.0, 12)):
        track.add(at, {"x": value})
    spread = track.rate("x")
    assert (spread.mean, spread.peak, spread.samples) == (4.0, 10.0, (10.0, 1.0))


def test_nothing_of_nothing_is_unknown():
    assert [ratio(1, 0), ratio(None, 1), ratio(1, None), ratio(1, 4)] == [None, None, None, 0.25]
    assert distribution([None, None]) == UNKNOWN
