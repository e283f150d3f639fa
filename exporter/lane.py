"""
One sweep at a time: who runs, who is next, and how many due sweeps were skipped.

Sweeps run in a daemon thread, so a hung one cannot keep the process from ending.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from exporter.timetable import ORDER

SCHEDULE, CATCH_UP, REQUEST = "schedule", "catch-up", "request"

_log = logging.getLogger(__name__)


class Lane:
    """
    Run what is offered, one sweep after the other, keeping at most one in line.

    One is enough: a larger profile contains the smaller ones, so it takes their place.

    Args:
        run: Called as run(profile, trigger), runs one sweep to its end. It should not raise; when
            it does, the error is logged and a new thread goes on.

    """

    def __init__(self, run: Callable[[str, str], None]) -> None:
        self._run = run
        self._changed = threading.Condition()
        self._running: str | None = None
        self._pending: tuple[str, str] | None = None
        self._skipped = dict.fromkeys(ORDER, 0)
        self._closed = False

    def start(self) -> None:
        """Begin to run what is in line."""
        threading.Thread(target=self._work, name="sweep", daemon=True).start()

    def offer(self, profile: str, trigger: str) -> bool:
        """
        Put a sweep next in line unless one that contains it runs or waits.

        Each scheduled sweep that does not start in its own turn is counted as skipped, once.

        Args:
            profile: One of ORDER.
            trigger: SCHEDULE, which becomes CATCH_UP behind a running sweep, or REQUEST.

        Returns:
            Whether it will run.

        Raises:
            ValueError: On an unknown profile.

        """
        if profile not in ORDER:
            raise ValueError(f"unknown profile {profile!r}, expected one of {ORDER}")
        with self._changed:
            if self._closed:
                return False
            covered = self._covers(profile)
            if trigger == SCHEDULE and (self._running or covered):
                self._skipped[profile] += 1
                trigger = CATCH_UP
            if not covered:
                self._put(profile, trigger)
            return not covered

    def close(self, timeout: float) -> bool:
        """
        Begin no more sweeps, and wait for the running one.

        Args:
            timeout: Longest wait [s].

        Returns:
            Whether no sweep runs any more.

        """
        with self._changed:
            self._closed, self._pending = True, None
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._running is None, timeout)

    @property
    def running(self) -> str | None:
        """The profile whose sweep runs now."""
        return self._running

    @property
    def skipped(self) -> Mapping[str, int]:
        """Due sweeps that did not start in their own turn: dict profile -> count."""
        with self._changed:
            return dict(self._skipped)

    def _covers(self, profile: str) -> bool:
        ahead = (self._running, self._pending and self._pending[0])
        return any(ORDER.index(other) >= ORDER.index(profile) for other in ahead if other)

    def _put(self, profile: str, trigger: str) -> None:
        if self._pending and self._pending[1] == SCHEDULE:
            self._skipped[self._pending[0]] += 1  # not begun yet, and contained in this one
        self._pending = (profile, trigger)
        self._changed.notify_all()

    def _work(self) -> None:
        """Run sweeps, and leave a successor behind when one of them raises."""
        try:
            while turn := self._take():
                self._sweep(*turn)
        finally:
            if not self._closed:
                _log.critical("a sweep raised, which it must never do", exc_info=True)
                self.start()

    def _take(self) -> tuple[str, str] | None:
        """Wait for the next sweep and make it the running one; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._pending)
            turn, self._pending = self._pending, None
            self._running = turn and turn[0]
            return turn

    def _sweep(self, profile: str, trigger: str) -> None:
        try:
            self._run(profile, trigger)
        finally:
            with self._changed:
                self._running = None
                self._changed.notify_all()
