"""
Start sweeps when they are due, with APScheduler as the alarm clock.

APScheduler 3 thinks in wall time. When the wall clock is set back by an hour, its thread wakes
after the old delay, finds the job still an hour away and waits on; when it is set far ahead, an
interval trigger lists every fire time that it believes to have missed. So it is trusted with no
more than "ring once, about then": each job is a one-shot date, a ring only puts the profile on a
queue, and the thread behind the queue asks the profile's own clock (`exporter.timetable`)
whether the sweep is due. An early ring is armed again, and a second ring for the same moment
finds nothing due. Once a second that thread compares wall with monotonic time; when they have
moved apart by more than two seconds (a set clock, or a suspend, in which only monotonic time
stands still) every job is armed again, which also wakes APScheduler out of a delay that it
computed by the old clock.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from exporter.lane import CATCH_UP, REQUEST, SCHEDULE, Lane
from exporter.timetable import ORDER, Agenda, Clocks, Grid, Schedule, by_profile, splay

__all__ = [
    "CATCH_UP",
    "ORDER",
    "REQUEST",
    "SCHEDULE",
    "SPLAY_CAP",
    "SYSTEM_CLOCKS",
    "Clocks",
    "Schedule",
    "Scheduler",
]

SYSTEM_CLOCKS = Clocks()
SPLAY_CAP = 300.0  # [s]: spreads a fleet, and still shows a first deep sweep soon after a start

_TICK = 1.0  # [s] between two looks at the clocks
_STEP = 2.0  # [s] of wall against monotonic time; a smaller step makes rings late by no more
_EARLY = 0.01  # [s] that a ring may come before its time
_FAR = 86_400.0  # [s] until the latest alarm: keeps dates in range, and an early ring is harmless


class Scheduler:
    """
    Start the sweeps of all profiles, one at a time.

    Thread-safe. The lock here is taken before the lane's and before APScheduler's; a ring, which
    comes under APScheduler's, takes none.

    Args:
        schedules: At most one for each profile.
        run: Called as run(profile, trigger) in the lane's thread, runs one sweep to its end.
        splay_seed: The machine id; empty for no splay.
        splay_cap: Upper limit of the splay [s].
        clocks: Replaced in tests.

    Raises:
        ValueError: When a profile has two schedules.

    """

    def __init__(
        self,
        schedules: Sequence[Schedule],
        run: Callable[[str, str], None],
        *,
        splay_seed: bytes = b"",
        splay_cap: float = SPLAY_CAP,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self._schedules = by_profile(schedules)
        self._clocks, self._seed, self._cap = clocks, splay_seed, splay_cap
        self._lock = threading.Lock()
        self._lane = Lane(run)
        self._dues: dict[str, Grid | Agenda] = {}
        self._rings: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._alarm = BackgroundScheduler(
            timezone=UTC,
            executors={"default": DebugExecutor()},  # a ring needs no pool, and pools join at exit
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._conductor = threading.Thread(target=self._conduct, name="schedule", daemon=True)
        self._stopping = False
        self._apart = 0.0
        self._steps = 0

    def start(self) -> None:
        """Begin the schedule, with a quick sweep at once."""
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it reports each job twice
        with self._lock:
            self._apart = self._clocks.wall() - self._clocks.monotonic()
            self._alarm.start()
            self._plan({})
            if ORDER[0] in self._dues:
                self._lane.offer(ORDER[0], SCHEDULE)
            self._conductor.start()
            self._lane.start()

    def stop(self, timeout: float) -> bool:
        """
        Begin no more sweeps, and wait for the running one, which the caller has cancelled.

        Args:
            timeout: Longest wait [s].

        Returns:
            Whether no sweep runs any more.

        """
        deadline = time.monotonic() + timeout
        self._stopping = True
        self._rings.put("")
        ended = self._lane.close(timeout)
        if self._conductor.is_alive():
            self._conductor.join(max(0.0, deadline - time.monotonic()))
        return ended

    def replace(self, schedules: Sequence[Schedule]) -> None:
        """
        Apply a new schedule; a running sweep goes on.

        A profile whose schedule stays the same keeps its due times, or a host that reloads often
        would never sweep.

        Args:
            schedules: At most one for each profile.

        Raises:
            ValueError: When a profile has two schedules; the old ones stay.

        """
        new = by_profile(schedules)
        with self._lock:
            old, self._schedules = self._schedules, new
            if self._conductor.is_alive():
                self._plan({p: due for p, due in self._dues.items() if old[p] == new.get(p)})

    def request(self, profile: str) -> bool:
        """
        Run a sweep soon.

        Args:
            profile: One of ORDER.

        Returns:
            False when it or one that contains it runs or waits already, or after `stop`.

        """
        return self._lane.offer(profile, REQUEST)

    def next_due(self, profile: str | None = None) -> float | None:
        """
        Return the time until the next due sweep [s].

        Args:
            profile: Of which profile; of any when None.

        Returns:
            At least 0; None when nothing is scheduled.

        """
        with self._lock:
            waits = [due.wait() for p, due in self._dues.items() if profile in (None, p)]
        return max(0.0, min(waits)) if waits else None

    def interval(self, profile: str) -> float | None:
        """Return the expected time between two sweeps [s], None if unscheduled."""
        with self._lock:
            schedule = self._schedules.get(profile)
            due = self._dues.get(profile) or (schedule and self._due(schedule))
            return due.gap() if due else None

    @property
    def running(self) -> str | None:
        """The profile whose sweep runs now."""
        return self._lane.running

    @property
    def skipped(self) -> Mapping[str, int]:
        """Due sweeps that did not start in their own turn: dict profile -> count."""
        return self._lane.skipped

    @property
    def clock_steps(self) -> int:
        """Steps of the wall clock against the monotonic one; a suspend counts as one."""
        with self._lock:
            return self._steps

    def _plan(self, kept: Mapping[str, Grid | Agenda]) -> None:
        """Make the due times follow the schedules, except for those that are kept."""
        made = {p: kept.get(p) or self._due(s) for p, s in self._schedules.items()}
        self._dues = {profile: due for profile, due in made.items() if due is not None}
        for profile in ORDER:
            self._arm(profile)

    def _due(self, schedule: Schedule) -> Grid | Agenda | None:
        share = partial(splay, self._seed, schedule.profile)
        if schedule.cron is not None:
            return Agenda(self._clocks, schedule.cron, lambda gap: share(min(gap, self._cap)))
        if schedule.every is None:
            return None
        delay = share(min(schedule.every, self._cap))
        if schedule.profile == ORDER[0] and delay < schedule.every / 2:
            delay += schedule.every  # the sweep at the start has just been
        return Grid(self._clocks, schedule.every, delay)

    def _arm(self, profile: str) -> None:
        """Set the alarm of a profile to its due time, or remove it."""
        due = self._dues.get(profile)
        if due is None:
            with contextlib.suppress(JobLookupError):
                self._alarm.remove_job(profile)
            return
        at = self._clocks.wall() + min(max(0.0, due.wait()), _FAR)
        date = datetime.fromtimestamp(at, UTC)
        put = partial(self._rings.put, profile)
        self._alarm.add_job(put, "date", run_date=date, id=profile, replace_existing=True)

    def _conduct(self) -> None:
        """Answer the rings and watch the clocks, in a thread of its own."""
        while not self._stopping:
            with contextlib.suppress(queue.Empty):
                self._answer(self._rings.get(timeout=_TICK))
            self._watch()
        self._alarm.shutdown(wait=False)

    def _answer(self, profile: str) -> None:
        """Offer the sweep if it is really due, and set the next alarm."""
        with self._lock:
            due = self._dues.get(profile)
            if due is None or self._stopping:
                return
            if due.wait() <= _EARLY:
                self._lane.offer(profile, SCHEDULE)
                due.advance()
            self._arm(profile)

    def _watch(self) -> None:
        """Set all alarms anew when the wall clock was set, or the host slept."""
        with self._lock:
            apart = self._clocks.wall() - self._clocks.monotonic()
            if abs(apart - self._apart) <= _STEP:
                return
            self._apart = apart
            self._steps += 1
            for profile, due in self._dues.items():
                due.resync()
                self._arm(profile)
