import time
from datetime import UTC, datetime
from functools import partial

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from exporter import timetable
from exporter.timetable import Agenda, Clocks, Crontab, Grid, Schedule, by_profile, splay

NOON = datetime(2024, 3, 6, 12, 0, tzinfo=UTC).timestamp()  # a Wednesday


class FakeClocks:
    def __init__(self, monotonic=1000.0, wall=NOON):
        self.now = monotonic
        self.time = wall
        self.clocks = Clocks(lambda: self.now, lambda: self.time)

    def sleep(self, seconds):
        self.now += seconds
        self.time += seconds


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(timetable, "CronTrigger", partial(CronTrigger, timezone=UTC))


def no_splay(_span):
    return 0.0


def fires(line, count, start=NOON):
    crontab = Crontab(line)
    for _ in range(count):
        start = crontab.after(start)
        yield f"{datetime.fromtimestamp(start, UTC):%a %d %H:%M:%S}"


class TestSplay:
    @given(st.binary(min_size=1), st.sampled_from(timetable.ORDER), st.floats(0.001, 1e6))
    def test_lies_within_the_span_and_is_the_same_each_time(self, seed, profile, span):
        assert 0 <= splay(seed, profile, span) < span
        assert splay(seed, profile, span) == splay(seed, profile, span)

    def test_spreads_machines_evenly(self):
        delays = [splay(b"%032x" % machine, "deep", 10.0) for machine in range(1000)]

        counts = [sum(tenth <= d < tenth + 1 for d in delays) for tenth in range(10)]
        assert min(counts) > 50
        assert len(set(delays)) == 1000

    def test_differs_between_profiles_and_is_none_without_a_machine_id(self):
        assert splay(b"a", "quick", 60) != splay(b"a", "standard", 60)
        assert splay(b"", "quick", 60) == 0


class TestSchedule:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"profile": "huge", "every": 1.0},
            {"profile": "quick", "every": 0.0},
            {"profile": "quick", "every": -1.0},
            {"profile": "quick", "every": float("nan")},
            {"profile": "quick", "every": float("inf")},
            {"profile": "quick", "every": 60.0, "cron": "* * * * *"},
            {"profile": "quick", "cron": "often"},
        ],
    )
    def test_that_could_never_run_is_refused(self, wrong):
        with pytest.raises(ValueError, match=r"profile|quick|crontab"):
            Schedule(**wrong)

    def test_of_one_profile_cannot_be_given_twice(self):
        with pytest.raises(ValueError, match="more than one"):
            by_profile([Schedule("quick", 1.0), Schedule("quick", 2.0)])


class TestCrontab:
    def test_gives_the_times_after_a_time_not_the_time_itself(self):
        assert list(fires("0 12 * * *", 2)) == ["Thu 07 12:00:00", "Fri 08 12:00:00"]

    @pytest.mark.parametrize(
        ("field", "days"),
        [
            ("0", {"Sun"}),
            ("7", {"Sun"}),
            ("06", {"Sat"}),
            ("1-5", {"Mon", "Tue", "Wed", "Thu", "Fri"}),
            ("5-7", {"Fri", "Sat", "Sun"}),
            ("*/3", {"Sun", "Wed", "Sat"}),
            ("1,sat", {"Mon", "Sat"}),
            ("mon-wed", {"Mon", "Tue", "Wed"}),
        ],
    )
    def test_numbers_weekdays_from_sunday_as_cron_does(self, field, days):
        assert {fire[:3] for fire in fires(f"0 4 * * {field}", 7)} == days

    def test_takes_either_day_when_both_are_given_as_cron_does(self):
        assert list(fires("0 0 10 * 1", 3)) == [
            "Sun 10 00:00:00",
            "Mon 11 00:00:00",
            "Mon 18 00:00:00",
        ]

    @pytest.mark.parametrize(
        "line",
        [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "*/0 * * * *",
            "* * 0 * *",
            "* * * * 8",
            "* * * * 5-2",
            "* * * * mon!",
            "* * * * */9",
            "1_0 * * * *",
            "\u0661 * * * *",
            "0 0 30 2 *",
            "@daily",
            "nan * * * *",
        ],
    )
    def test_refuses_what_is_no_crontab_line_or_never_comes(self, line):
        with pytest.raises(ValueError, match=r"."):
            Crontab(line)

    def test_reports_an_unknown_time_zone_as_a_bad_value(self, monkeypatch):
        monkeypatch.setattr(timetable, "CronTrigger", CronTrigger)
        monkeypatch.setattr("tzlocal.unix._cache_tz", None)  # whoever asked before
        monkeypatch.setenv("TZ", "No/Where")

        with pytest.raises(ValueError, match="time zone"):
            Crontab("* * * * *")


class TestGrid:
    @given(
        st.floats(0.1, 1e5),
        st.floats(0, 300),
        st.lists(st.floats(0, 1e6), max_size=20),
    )
    def test_never_leaves_its_grid_and_never_fires_twice_for_one_time(self, every, delay, pauses):
        fake = FakeClocks()
        grid = Grid(fake.clocks, every, delay)
        start, last = fake.now + delay, -1
        for pause in pauses:
            fake.sleep(max(0.0, grid.wait()) + pause)
            grid.advance()

            assert -1e-6 < grid.wait() <= every + 1e-6
            turn = (fake.now + grid.wait() - start) / every
            assert turn == pytest.approx(round(turn), abs=1e-3)
            assert round(turn) > last
            last = round(turn)

    def test_moves_on_when_it_was_served_a_little_early(self):
        fake = FakeClocks()
        grid = Grid(fake.clocks, 60, 0)
        fake.sleep(59.995 - 60)
        grid.advance()

        assert grid.wait() == pytest.approx(60.005)

    @pytest.mark.parametrize("step", [-3600, 3600])
    def test_does_not_heed_the_wall_clock(self, step):
        fake = FakeClocks()
        grid = Grid(fake.clocks, 60, 10)
        fake.time += step
        grid.resync()

        assert grid.wait() == 10


class TestAgenda:
    def test_follows_the_crontab_line(self):
        fake = FakeClocks()
        agenda = Agenda(fake.clocks, "*/5 * * * *", no_splay)

        assert (agenda.wait(), agenda.gap()) == (300, 300)
        fake.sleep(299.995)
        agenda.advance()
        assert agenda.wait() == pytest.approx(300.005)

    def test_is_late_by_the_splay_of_the_smallest_gap(self):
        fake = FakeClocks()
        spans = []
        agenda = Agenda(fake.clocks, "*/7 * * * *", lambda span: spans.append(span) or 30.0)

        assert spans == [240]  # from minute 56 to the full hour
        waits = []
        for _ in range(3):
            waits.append(agenda.wait())
            fake.sleep(agenda.wait())
            agenda.advance()
        assert waits == [30, 420, 420]  # noon + 30 s was still ahead

    def test_set_back_it_looks_again_from_the_new_time(self):
        fake = FakeClocks()
        agenda = Agenda(fake.clocks, "0 * * * *", no_splay)
        fake.time -= 7200 - 60
        agenda.resync()

        assert agenda.wait() == 3600 - 60

    def test_set_ahead_it_is_due_once_however_many_times_were_passed(self):
        fake = FakeClocks()
        agenda = Agenda(fake.clocks, "* * * * *", no_splay)
        fake.time += 10 * 365 * 86400
        agenda.resync()

        assert agenda.wait() < 0
        agenda.advance()
        assert 0 < agenda.wait() <= 60


def test_the_default_clocks_are_the_systems():
    assert abs(Clocks().wall() - time.time()) < 5
    assert abs(Clocks().monotonic() - time.monotonic()) < 5
