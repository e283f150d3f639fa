"""Histograms by powers of two, and fair samples."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.bpf.model import Bucket, ProbeSample, histogram, quantile, with_skipped
from collectors.bpf.sampling import Ranking, Reservoir


def slot(value):
    return value.bit_length()


@given(st.lists(st.integers(1, 2**40), min_size=1))
def test_quantiles_are_within_a_factor_of_two_and_in_order(values):
    counts = Counter(map(slot, values))
    sut = histogram("x", counts, sum(values), unit=1.0)
    assert sut.count == len(values)
    assert sut.sum == sum(values)
    assert sut.p50 <= sut.p90 <= sut.p99
    for share, told in ((0.5, sut.p50), (0.9, sut.p90), (0.99, sut.p99)):
        true = sorted(values)[max(0, -(-share * len(values) // 1) - 1).__int__()]
        assert true / 2 <= told <= true * 2


def test_edges_are_upper_edges_in_the_unit():
    sut = histogram("x", [0, 0, 5, 0, 7], 40)
    assert sut.buckets == (Bucket(4e-9, 5), Bucket(1.6e-08, 7))


def test_nothing_seen_has_no_quantile():
    assert histogram("x", [], 0).p99 is None
    assert quantile((), 0.5) is None


def test_a_reservoir_keeps_all_while_there_is_room():
    sut = Reservoir(3)
    for number in range(3):
        sut.add({"n": number})
    assert [r["n"] for r in sut.records()] == [0, 1, 2]


def test_a_reservoir_is_fair_to_late_events_and_keeps_their_order():
    early = 0
    for seed in range(200):
        sut = Reservoir(10, seed)
        for number in range(100):
            sut.add({"n": number})
        kept = [r["n"] for r in sut.records()]
        assert kept == sorted(kept)
        assert (len(kept), sut.seen) == (10, 100)
        early += sum(n < 50 for n in kept)
    assert early == pytest.approx(1000, abs=120)


def test_a_ranking_adds_up_all_events_in_bounded_memory():
    sut = Ranking(limit=2)
    for key, value in (("a", 1), ("b", 5), ("a", 2), ("c", 9), ("d", 9)):
        sut.add(key, value)
    assert sut.top(5, "name", value="bytes") == (
        {"name": "b", "count": 1, "bytes": 5, "max_bytes": 5},
        {"name": "a", "count": 2, "bytes": 3, "max_bytes": 2},
    )
    assert sut.top(1, "name") == ({"name": "a", "count": 2},)
    assert (sut.other.count, sut.other.total) == (2, 18)


def test_calls_that_were_left_out_are_lost_and_said():
    seen = ProbeSample("x", 1.0, events=7, lost=2, notes=("as it was",))
    told = with_skipped(seen, 53)
    assert (told.events, told.lost, told.notes[0]) == (7, 55, "as it was")
    assert told.notes[1].startswith("53 of the lost are calls that the kernel left out")
    assert with_skipped(seen, 0) == seen
    unknown = with_skipped(seen, None)
    assert (unknown.lost, unknown.notes[0]) == (2, "as it was")
    assert unknown.notes[1].startswith("this kernel does not count the calls")
