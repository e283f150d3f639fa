import threading
import time
from datetime import datetime

import apscheduler.schedulers.base
import pytest

from exporter import scheduler as module
from exporter.scheduler import CATCH_UP, REQUEST, SCHEDULE, Clocks, Schedule, Scheduler

STEPS = [-3600.0, 3600.0]


class Host:
    """A host whose wall clock can be set, with sweeps that take as long as they are told to."""

    def __init__(self):
        self.offset = 0.0
        self.clocks = Clocks(time.monotonic, lambda: time.time() + self.offset)
        self.sweeps = []
        self.at_once = 0
        self.overlaps = 0
        self.hold = dict.fromkeys(("quick", "standard", "deep"), 0.0)
        self.hang = threading.Event()
        self.hang.set()

    def run(self, profile, trigger):
        self.at_once += 1
        self.overlaps += self.at_once > 1
        self.sweeps.append((profile, trigger, time.monotonic()))
        time.sleep(self.hold[profile])
        self.hang.wait(30)
        self.at_once -= 1

    def started(self, profile="quick", trigger=None):
        return [t for p, g, t in self.sweeps if p == profile and trigger in (None, g)]

    def wait_for(self, count, profile="quick", trigger=None):
        wait_until(lambda: len(self.started(profile, trigger)) >= count)


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def at_most_one_per_turn(starts, every):
    return len(starts) <= (starts[-1] - starts[0]) / every + 2


@pytest.fixture
def host(monkeypatch):
    made = Host()

    class SettableTime(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(made.clocks.wall(), tz)

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", SettableTime)
    monkeypatch.setattr(module, "_TICK", 0.05)
    return made


@pytest.fixture
def begin(host):
    begun = []

    def start(*schedules, **options):
        made = Scheduler(schedules, host.run, clocks=host.clocks, **options)
        made.start()
        begun.append(made)
        return made

    yield start
    host.hang.set()
    for made in begun:
        assert made.stop(20)
    wait_until(lambda: not leftovers())


def leftovers():
    names = ("APScheduler", "schedule", "sweep")
    return [t for t in threading.enumerate() if t.name in names]


def test_the_first_quick_sweep_starts_at_once_and_the_others_by_their_splay(host, begin):
    scheduler = begin(
        Schedule("quick", every=600.0),
        Schedule("standard", every=600.0),
        Schedule("deep", every=6000.0),
        splay_seed=b"this machine",
    )
    host.wait_for(1)

    assert [sweep[:2] for sweep in host.sweeps] == [("quick", SCHEDULE)]
    assert 0 < scheduler.next_due("standard") < module.SPLAY_CAP
    assert 0 < scheduler.next_due("deep") < module.SPLAY_CAP
    assert scheduler.next_due("quick") >= 300 - 1
    assert scheduler.next_due() == pytest.approx(
        min(scheduler.next_due(p) for p in ("quick", "standard", "deep")), abs=1
    )


def test_two_machines_do_not_sweep_in_step_and_one_always_does(host):
    def dues(seed):
        fixed = Clocks(lambda: 0.0, time.time)
        made = Scheduler([Schedule("deep", every=600.0)], host.run, splay_seed=seed, clocks=fixed)
        made.start()
        assert made.stop(20)
        return made.next_due("deep")

    assert dues(b"a") == dues(b"a") != dues(b"b")


def test_a_short_interval_bounds_the_splay(begin):
    scheduler = begin(Schedule("deep", every=30.0), splay_seed=b"\x01")

    assert scheduler.next_due("deep") < 30


def test_starts_stay_on_the_grid_whatever_a_sweep_takes(host, begin):
    host.hold["quick"] = 0.15
    scheduler = begin(Schedule("quick", every=0.4))
    host.wait_for(6)

    # Counted from the end of the last sweep the period would be 0.55 s.
    epoch = scheduler._dues["quick"]._epoch - module._EARLY
    late = [(start - epoch) % 0.4 for start in host.started()[1:]]
    assert sorted(late)[2] < 0.1


def test_sweeps_never_overlap_and_every_due_one_ran_or_was_counted(host, begin):
    host.hold |= {"quick": 0.03, "standard": 0.25, "deep": 0.45}
    scheduler = begin(
        Schedule("quick", every=0.1), Schedule("standard", every=0.5), Schedule("deep", every=1.3)
    )
    host.wait_for(3, "deep")

    assert host.overlaps == 0
    skipped = dict(scheduler.skipped)
    assert skipped["quick"] >= 3, "a deep sweep outlasts several quick ones"
    assert len(host.started("quick", CATCH_UP)) == 0, "every larger sweep contains quick"
    offered = len(host.started("quick")) + skipped["quick"]
    assert offered <= (host.sweeps[-1][2] - host.sweeps[0][2] + 0.45) / 0.1 + 2


def test_a_larger_due_sweep_runs_right_after_the_running_one(host, begin):
    host.hang.clear()
    scheduler = begin(Schedule("quick", every=0.1), Schedule("deep", every=30.0))
    host.wait_for(1)
    wait_until(lambda: scheduler.skipped["deep"] == 1 and scheduler.skipped["quick"] >= 2)
    host.hang.set()
    host.wait_for(1, "deep")

    assert [sweep[:2] for sweep in host.sweeps[:2]] == [("quick", SCHEDULE), ("deep", CATCH_UP)]


def test_a_hung_sweep_does_not_pile_up_work_or_threads(host, begin):
    host.hang.clear()
    scheduler = begin(Schedule("quick", every=0.02))
    wait_until(lambda: scheduler.skipped["quick"] >= 50)

    assert len(leftovers()) == 3
    assert len(host.sweeps) == 1
    assert scheduler.running == "quick"


def test_many_sweeps_need_no_more_threads_than_the_first(host, begin):
    before = threading.active_count()
    begin(Schedule("quick", every=0.01))
    host.wait_for(100)

    assert threading.active_count() == before + 3


@pytest.mark.parametrize("step", STEPS)
def test_a_set_clock_neither_stalls_nor_multiplies_sweeps(host, begin, step):
    scheduler = begin(Schedule("quick", every=0.2))
    host.wait_for(2)
    host.offset = step
    host.wait_for(8)

    assert scheduler.clock_steps == 1
    assert at_most_one_per_turn(host.started(), 0.2)


@pytest.mark.parametrize("step", STEPS)
def test_a_clock_that_is_set_again_and_again_does_no_more_harm(host, begin, step):
    scheduler = begin(Schedule("quick", every=0.2))
    for count in range(1, 6):
        host.offset += step
        wait_until(lambda c=count: scheduler.clock_steps == c)
        host.wait_for(len(host.sweeps) + 1)

    assert at_most_one_per_turn(host.started(), 0.2)


def test_a_ring_before_its_time_starts_nothing(host, begin):
    scheduler = begin(Schedule("quick", every=600.0))
    host.wait_for(1)
    host.offset = 3600.0
    scheduler._alarm.wakeup()  # rings before the step is seen
    wait_until(lambda: scheduler.clock_steps == 1)
    scheduler._rings.put("quick")
    scheduler._rings.put("deep")
    wait_until(scheduler._rings.empty)

    assert len(host.sweeps) == 1
    assert scheduler.next_due("quick") == pytest.approx(600, abs=20)


def test_small_corrections_of_the_clock_are_no_step(host, begin):
    scheduler = begin(Schedule("quick", every=0.2))
    host.offset = -1.0
    host.wait_for(4)

    assert scheduler.clock_steps == 0


def test_after_a_suspend_what_is_due_next_runs_once(host, begin):
    scheduler = begin(Schedule("quick", every=0.2), Schedule("deep", cron="0 0 29 2 *"))
    host.wait_for(2)
    host.offset = 10 * 365 * 86400.0  # wall time went on without us, past two leap days
    host.wait_for(1, "deep")
    host.wait_for(5)

    assert scheduler.clock_steps == 1
    assert len(host.started("deep")) == 1
    assert at_most_one_per_turn(host.started(), 0.2)


@pytest.mark.parametrize("step", STEPS)
def test_a_crontab_line_follows_the_wall_clock(host, begin, step):
    host.offset = 30 - time.time() % 60  # half a minute to go
    scheduler = begin(Schedule("deep", cron="* * * * *"))
    assert 20 < scheduler.next_due("deep") <= 30
    assert scheduler.interval("deep") == 60
    host.offset += step
    wait_until(lambda: scheduler.clock_steps == 1)
    passed = int(step > 0)  # a time that was stepped over is served once
    host.wait_for(passed, "deep")
    assert 0 < scheduler.next_due("deep") <= 60
    host.offset += scheduler.next_due("deep") - 0.5  # almost there, by a second step
    host.wait_for(passed + 1, "deep")
    wait_until(lambda: scheduler.next_due("deep") > 40)

    assert len(host.started("deep")) == passed + 1


def test_a_new_schedule_applies_and_the_running_sweep_goes_on(host, begin):
    host.hang.clear()
    scheduler = begin(
        Schedule("quick", every=600.0), Schedule("standard", every=600.0), splay_seed=b"x"
    )
    host.wait_for(1)
    scheduler.replace([Schedule("quick", every=600.0), Schedule("deep", every=900.0)])

    assert scheduler.running == "quick"
    assert scheduler.interval("standard") is None
    assert scheduler.next_due("standard") is None
    assert scheduler.interval("deep") == 900
    assert {job.id for job in scheduler._alarm.get_jobs()} == {"quick", "deep"}


def test_a_reload_that_changes_nothing_does_not_put_sweeps_off(host, begin):
    schedule = Schedule("quick", every=0.3)
    scheduler = begin(schedule)
    wait_until(lambda: scheduler.replace([schedule]) or len(host.sweeps) >= 4)

    assert at_most_one_per_turn(host.started(), 0.3)


def test_a_bad_new_schedule_leaves_the_old_one(begin):
    scheduler = begin(Schedule("quick", every=600.0))
    with pytest.raises(ValueError, match="more than one"):
        scheduler.replace([Schedule("deep", every=1.0), Schedule("deep", every=2.0)])

    assert scheduler.interval("quick") == 600


def test_a_request_runs_soon_and_is_refused_while_it_is_contained(host, begin):
    host.hang.clear()
    scheduler = begin(Schedule("deep", every=600.0), splay_seed=b"x")

    assert scheduler.request("standard")
    host.wait_for(1, "standard", REQUEST)
    assert not scheduler.request("quick")
    assert not scheduler.request("standard")
    assert scheduler.request("deep")
    host.hang.set()
    host.wait_for(1, "deep", REQUEST)
    assert set(scheduler.skipped.values()) == {0}


def test_a_profile_without_a_schedule_runs_only_on_request(host, begin):
    scheduler = begin(Schedule("quick"))

    assert scheduler.next_due() is None
    assert scheduler.interval("quick") is None
    assert host.sweeps == []
    assert scheduler.request("quick")
    host.wait_for(1, "quick", REQUEST)


@pytest.mark.parametrize("timeout", [0.0, 0.3])
def test_stop_is_bounded_while_a_sweep_hangs(host, begin, timeout):
    host.hang.clear()
    scheduler = begin(Schedule("quick", every=0.05))
    host.wait_for(1)
    start = time.monotonic()

    assert not scheduler.stop(timeout)
    assert time.monotonic() - start < timeout + 2
    host.hang.set()
    assert scheduler.stop(20)
    assert not scheduler.request("deep")
    time.sleep(0.2)
    assert len(host.sweeps) == 1, "no sweep begins after stop"


def test_the_interval_is_known_before_the_start(host):
    scheduler = Scheduler(
        [Schedule("quick", every=60.0), Schedule("deep", cron="* * * * *")], host.run
    )

    assert [scheduler.interval(p) for p in ("quick", "standard", "deep")] == [60, None, 60]
    assert scheduler.next_due() is None


def test_stop_before_start_is_no_error(host):
    assert Scheduler([Schedule("quick", every=1.0)], host.run).stop(0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_schedule_goes_on_after_a_sweep_that_raised(host, caplog):
    def run(profile, trigger):
        host.run(profile, trigger)
        if len(host.sweeps) == 1:
            raise RuntimeError("garbage")

    scheduler = Scheduler([Schedule("quick", every=0.1)], run, clocks=host.clocks)
    scheduler.start()
    host.wait_for(4)

    assert scheduler.stop(20)
    assert [r.exc_info[1].args for r in caplog.records if r.exc_info] == [("garbage",)]
