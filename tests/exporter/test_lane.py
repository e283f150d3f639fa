import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.lane import CATCH_UP, REQUEST, SCHEDULE, Lane
from exporter.timetable import ORDER


class Sweeps:
    """Sweeps that end when they are told to."""

    def __init__(self):
        self.begun = []
        self.gate = threading.Semaphore(0)
        self.lane = Lane(self.run)

    def run(self, profile, trigger):
        self.begun.append((profile, trigger))
        self.gate.acquire()

    def finish(self, count=1):
        self.gate.release(count)

    def wait_for(self, count):
        wait_until(lambda: len(self.begun) == count)


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


@pytest.fixture
def sweeps():
    made = Sweeps()
    made.lane.start()
    yield made
    made.finish(1000)
    assert made.lane.close(20)


def running(sweeps, profile):
    assert sweeps.lane.offer(profile, SCHEDULE)
    wait_until(lambda: sweeps.lane.running == profile)


def test_a_larger_due_sweep_is_counted_and_runs_right_after(sweeps):
    running(sweeps, "quick")

    assert sweeps.lane.offer("deep", SCHEDULE)
    sweeps.finish()
    sweeps.wait_for(2)

    assert sweeps.begun == [("quick", SCHEDULE), ("deep", CATCH_UP)]
    assert sweeps.lane.skipped == {"quick": 0, "standard": 0, "deep": 1}


@pytest.mark.parametrize("due", ["quick", "standard"])
def test_a_due_sweep_that_the_running_one_contains_is_only_counted(sweeps, due):
    running(sweeps, "standard")

    assert not sweeps.lane.offer(due, SCHEDULE)
    sweeps.finish()
    wait_until(lambda: sweeps.lane.running is None)

    assert sweeps.begun == [("standard", SCHEDULE)]
    assert sweeps.lane.skipped[due] == 1


def test_the_largest_in_line_covers_the_smaller(sweeps):
    running(sweeps, "quick")

    assert sweeps.lane.offer("standard", SCHEDULE)
    assert sweeps.lane.offer("deep", SCHEDULE)
    assert not sweeps.lane.offer("standard", SCHEDULE)
    assert not sweeps.lane.offer("deep", SCHEDULE)
    sweeps.finish(2)
    wait_until(lambda: len(sweeps.begun) == 2 and sweeps.lane.running is None)

    assert sweeps.begun[1:] == [("deep", CATCH_UP)]
    assert sweeps.lane.skipped == {"quick": 0, "standard": 2, "deep": 2}


def test_a_request_is_refused_when_it_or_a_larger_one_runs_or_waits(sweeps):
    running(sweeps, "standard")

    assert not sweeps.lane.offer("quick", REQUEST)
    assert not sweeps.lane.offer("standard", REQUEST)
    assert sweeps.lane.offer("deep", REQUEST)
    assert not sweeps.lane.offer("deep", REQUEST)
    sweeps.finish()
    sweeps.wait_for(2)

    assert sweeps.begun[1] == ("deep", REQUEST)
    assert set(sweeps.lane.skipped.values()) == {0}


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="huge"):
        Sweeps().lane.offer("huge", REQUEST)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_sweep_that_raises_is_logged_and_the_next_one_runs(error, caplog):
    begun = []

    def run(profile, _trigger):
        begun.append(profile)
        if profile == "quick":
            raise error

    lane = Lane(run)
    before = threading.active_count()
    lane.start()
    for count in range(1, 6):
        lane.offer("quick", SCHEDULE)
        wait_until(lambda c=count: len(begun) == c and lane.running is None)
    lane.offer("standard", SCHEDULE)
    wait_until(lambda: len(begun) == 6)
    wait_until(lambda: threading.active_count() <= before + 1)

    assert lane.close(20)
    assert len([r for r in caplog.records if r.exc_info and r.exc_info[0] is error]) == 5
    wait_until(lambda: threading.active_count() == before)


@pytest.mark.parametrize("timeout", [0, 0.2])
def test_closing_waits_no_longer_than_told_for_a_hung_sweep(timeout):
    sweeps = Sweeps()
    sweeps.lane.start()
    running(sweeps, "quick")
    start = time.monotonic()

    assert not sweeps.lane.close(timeout)
    assert time.monotonic() - start < timeout + 2
    sweeps.finish()
    assert sweeps.lane.close(20)


def test_nothing_begins_after_closing(sweeps):
    running(sweeps, "quick")
    sweeps.lane.offer("deep", SCHEDULE)
    sweeps.lane.close(0)
    sweeps.finish(5)

    assert sweeps.lane.close(20)
    assert not sweeps.lane.offer("deep", REQUEST)
    assert sweeps.begun == [("quick", SCHEDULE)]


@given(st.lists(st.one_of(st.sampled_from(ORDER), st.sampled_from(["take", "end"])), max_size=60))
def test_each_due_sweep_either_starts_in_its_turn_or_is_counted_once(actions):
    lane = Lane(lambda *_: None)
    due, taken = dict.fromkeys(ORDER, 0), []
    for action in actions:
        if action == "end":
            lane._running = None
        elif action == "take":
            if lane._running is None and lane._pending:
                taken.append(lane._take())
        else:
            due[action] += 1
            lane.offer(action, SCHEDULE)
            coming = [lane._running, *(lane._pending or ())]
            assert any(profile in coming for profile in ORDER[ORDER.index(action) :])

    waiting = [lane._pending] if lane._pending else []
    for profile in ORDER:
        in_turn = (taken + waiting).count((profile, SCHEDULE))
        assert in_turn + lane.skipped[profile] == due[profile]
