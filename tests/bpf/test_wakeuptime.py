"""Wake-ups against a program that wakes another a known number of times."""

from __future__ import annotations

import pytest

from tests.bpf.untold import nearly

TIMES, MICROSECONDS = 53, 20_000


@pytest.fixture
def woken(observe, native):
    program = native("wake", TIMES, MICROSECONDS)

    def load():
        program.go()
        return program.took()

    return observe("wakeuptime", load=load)


def test_a_writer_wakes_its_reader(woken):
    wall, _ = woken.told
    found = [s for s in woken["wakeuptime"].stacks if s.frames[-1] == "wakes native-reader"]
    written = [s for s in found if "writes_here" in s.frames]
    assert {s.frames[0] for s in written} == {"native"}
    total = sum(s.value for s in written)
    assert 0.5 * TIMES * MICROSECONDS <= total <= wall * 1e6
    assert total >= 0.9 * sum(s.value for s in found)


def test_a_timer_is_an_interrupt_and_no_process(woken):
    timers = [s for s in woken["wakeuptime"].stacks if s.frames[-1] == "wakes native"]
    told = sum(s.value for s in timers if s.frames[0] == "[interrupt]")
    assert told >= nearly(TIMES) * MICROSECONDS
    for stack in timers:
        assert (stack.frames[0] == "[interrupt]") == ("hrtimer_interrupt_[k]" in stack.frames)


def test_pairs_are_ranked(woken):
    seen = woken["wakeuptime"]
    pairs = {(r["waker"], r["woken"]): r["asleep_seconds"] for r in seen.tops["pairs"]}
    assert list(pairs.values()) == sorted(pairs.values(), reverse=True)
    total = sum(s.value for s in seen.stacks)
    assert total == pytest.approx(seen.values["asleep_seconds"] * 1e6, rel=0.01)


def test_a_filter_chooses_whose_sleep_counts(observe, native):
    program = native("wake", TIMES, MICROSECONDS)

    def load():
        program.go()
        return program.took()

    seen = observe("wakeuptime", load=load, pid=program.pid)["wakeuptime"]
    assert {s.frames[-1] for s in seen.stacks} == {"wakes native"}
    # One for each nap, and none for the reader.
    assert nearly(TIMES) <= seen.events <= TIMES + 1
