"""
When a profile is due: intervals on the monotonic clock, crontab lines on the wall clock.

No threads here; `exporter.scheduler` asks these objects and acts on the answers.
"""

import hashlib
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from apscheduler.triggers.cron import CronTrigger

from exporter import clock

ORDER = ("quick", "standard", "deep")  # each contains those before it

# APScheduler takes more than crontab does, and ignores what follows a name; so look first.
_PART = re.compile(r"(\*|[0-9]{1,2}(-[0-9]{1,2})?)(/[0-9]{1,2})?|[a-z]{3}(-[a-z]{3})?", re.ASCII)
_DAYS = re.compile(r"(?:(\*)|0?([0-7])(?:-0?([0-7]))?)(?:/0?([1-7]))?", re.ASCII)
_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Clocks:
    """
    The two clocks, replaceable in tests.

    Attributes:
        monotonic: Time that never steps and stands still in a suspend [s].
        wall: Time of day since the epoch, which anybody may set [s].

    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = clock.wall


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    When a profile runs: by interval, by crontab line, or (neither) only on request.

    Attributes:
        profile: One of ORDER.
        every: Interval between two starts [s].
        cron: Five fields of crontab(5), in local time.

    Raises:
        ValueError: On an unknown profile, an interval that is not positive, a bad crontab line,
            or both forms at once.

    """

    profile: str
    every: float | None = None
    cron: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could never run."""
        if self.profile not in ORDER:
            raise ValueError(f"unknown profile {self.profile!r}, expected one of {ORDER}")
        if self.every is not None and self.cron is not None:
            raise ValueError(f"{self.profile}: give an interval or a crontab line, not both")
        if self.every is not None and not 0 < self.every < math.inf:
            raise ValueError(f"{self.profile}: an interval must be positive, not {self.every}")
        if self.cron is not None:
            Crontab(self.cron)


def by_profile(schedules: Sequence[Schedule]) -> dict[str, Schedule]:
    """
    Return the schedules by their profile.

    Args:
        schedules: In any order.

    Returns:
        Dict profile -> schedule.

    Raises:
        ValueError: When a profile has two.

    """
    found = {schedule.profile: schedule for schedule in schedules}
    if len(found) != len(schedules):
        raise ValueError("a profile has more than one schedule")
    return found


def splay(seed: bytes, profile: str, span: float) -> float:
    """
    Return this machine's share of a span, the same at every start.

    Args:
        seed: The machine id; empty for no splay.
        profile: Gives each profile a share of its own.
        span: What to spread over [s].

    Returns:
        A delay in [0, span) [s].

    """
    if not seed:
        return 0.0
    digest = hashlib.blake2b(seed + b"\0" + profile.encode(), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32 * span


class Crontab:
    """
    The five time fields of a crontab line, in local time, with the meaning that cron gives them.

    APScheduler numbers weekdays from Monday and wants both the day of the month and the weekday
    to match; cron numbers them from Sunday (0 or 7), and either may match when both are given.

    Source: crontab(5); APScheduler issue 286.

    Args:
        line: For example "30 3 * * 1-5".

    Raises:
        ValueError: When the line is no crontab line, or can never come true.

    """

    def __init__(self, line: str) -> None:
        fields = line.lower().split()
        if len(fields) != 5:  # noqa: PLR2004 - said in the message
            raise ValueError(f"crontab line {line!r}: expected 5 fields, found {len(fields)}")
        bad = [f for f in fields if not all(_PART.fullmatch(part) for part in f.split(","))]
        if bad:
            raise ValueError(f"crontab line {line!r}: cannot read field {bad[0]!r}")
        self._triggers = [_trigger(fields)]
        if not any(field.startswith("*") for field in (fields[2], fields[4])):
            self._triggers = [
                _trigger([*fields[:4], "*"]),
                _trigger([*fields[:2], "*", *fields[3:]]),
            ]
        if math.isinf(self.after(0.0)):
            raise ValueError(f"crontab line {line!r}: this date never comes")

    def after(self, wall: float) -> float:
        """
        Return the first matching minute after a time.

        Args:
            wall: Time since the epoch [s].

        Returns:
            Time since the epoch [s], infinite when there is none.

        """
        times = []
        for trigger in self._triggers:
            # A trigger answers with the time itself when it matches: ask a millisecond later.
            start = datetime.fromtimestamp(wall + 0.001, trigger.timezone)
            found = trigger.get_next_fire_time(None, start)
            times.append(math.inf if found is None else found.timestamp())
        return min(times)

    def smallest_gap(self) -> float:
        """Return the shortest time between neighbours among the first 61 times of 1970 on [s]."""
        times = [self.after(0.0)]
        for _ in range(60):  # enough for every pattern of minutes
            times.append(self.after(times[-1]))
        return min(later - earlier for earlier, later in pairwise(times))


def _trigger(fields: Sequence[str]) -> CronTrigger:
    minute, hour, day, month, weekday = fields
    weekday = ",".join(_weekdays(part) for part in weekday.split(","))
    try:
        return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday)
    except LookupError as error:
        raise ValueError(f"cannot tell the local time zone: {error}") from error


def _weekdays(part: str) -> str:
    """Write numbered weekdays as names, which mean the same day to everybody."""
    found = _DAYS.fullmatch(part)
    if part == "*" or found is None:
        return part
    everyday, first, last, step = found.groups()
    if everyday:
        first, last = "0", "6"
    days = range(int(first), int(last or (6 if step else first)) + 1, int(step or 1))
    if not days:
        raise ValueError(f"weekdays {part!r} run backwards")
    return ",".join(_NAMES[day] for day in days)


class Grid:
    """
    Due at epoch + k * every on the monotonic clock, however long a sweep takes.

    Args:
        clocks: Only the monotonic one is read.
        every: Interval between two starts [s].
        delay: From now to the first start [s].

    """

    def __init__(self, clocks: Clocks, every: float, delay: float) -> None:
        self._now = clocks.monotonic
        self._every = every
        self._epoch = self._now() + delay
        self._turn = 0

    def wait(self) -> float:
        """Return the time until the next due sweep, negative when late [s]."""
        return self._epoch + self._turn * self._every - self._now()

    def advance(self) -> None:
        """Move to the first turn ahead; turns that nobody could serve are not made up for."""
        passed = math.floor((self._now() - self._epoch) / self._every)
        self._turn = max(self._turn, passed) + 1

    def resync(self) -> None:
        """Take note of a step of the wall clock, which does not move this one."""

    def gap(self) -> float:
        """Return the expected time between two starts [s]."""
        return self._every


class Agenda:
    """
    Due at the times of a crontab line by the wall clock, each later by the splay.

    A time that comes twice, because the clock was set back, is served twice.

    Args:
        clocks: Only the wall clock is read.
        line: The crontab line.
        share: Gives the splay for a span [s]; it is asked once, with the line's smallest gap.

    """

    def __init__(self, clocks: Clocks, line: str, share: Callable[[float], float]) -> None:
        self._now = clocks.wall
        self._crontab = Crontab(line)
        self._delay = share(self._crontab.smallest_gap())
        self._due = self._after(self._now())

    def _after(self, wall: float) -> float:
        return self._crontab.after(wall - self._delay) + self._delay

    def wait(self) -> float:
        """Return the time until the next due sweep, negative when late [s]."""
        return self._due - self._now()

    def advance(self) -> None:
        """Move to the first time ahead; those that passed in a suspend are not made up for."""
        self._due = self._after(max(self._now(), self._due))

    def resync(self) -> None:
        """After a step, keep a time that has come (it fires once), else look again from now."""
        if self.wait() > 0:
            self._due = self._after(self._now())

    def gap(self) -> float:
        """Return the time between the next two starts [s]."""
        first = self._after(self._now())
        return self._after(first) - first
