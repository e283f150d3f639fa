"""All concurrency of a sweep: collectors in parallel, one deadline, each fenced off."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

from collectors.base import Collector, Context, Paths
from collectors.model import Cause, Outcome, Problem, Status, Unavailable
from exporter import clock

log = logging.getLogger(__name__)

# How long collectors may take to notice that the sweep was cancelled [s].
CANCEL_GRACE = 0.7
# A look ten times a second took a twentieth of a quick sweep's CPU time [s].
_POLL = 0.25


@dataclass(frozen=True, slots=True)
class Window:
    """
    What is asked of the collectors in one sweep.

    Attributes:
        profile: The profile's name.
        duration: How long to observe [s].
        interval: Time between two samples [s].
        deadline: When the sweep ends at the latest, on the monotonic clock [s].
        cancelled: Set to end it now.
        options: Settings for the collectors.

    """

    profile: str
    duration: float
    interval: float
    deadline: float
    cancelled: threading.Event
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Turn:
    """One collector's thread, kept as long as it lives."""

    thread: threading.Thread
    started_at: float
    started: float


Done = Callable[[str], None]


class Orchestrator:
    """
    Run collectors in parallel threads, at most one per collector at any time.

    A collector that outlives its sweep keeps its thread; later sweeps say that
    it is still stuck, and where, instead of starting another. Threads are
    daemons, not a pool: a pool's exit hook would wait for the stuck one.

    Args:
        collectors: Name to collector.
        paths: Where procfs, sysfs and the root are.

    """

    def __init__(self, collectors: Mapping[str, Collector], paths: Paths) -> None:
        self.collectors = collectors
        self.paths = paths
        self._memories: dict[str, dict[str, Any]] = {name: {} for name in collectors}
        self._stuck: dict[str, _Turn] = {}

    def collect(self, window: Window, done: Done = lambda _: None) -> dict[str, Outcome]:
        """
        Give every collector its turn.

        Args:
            window: What is asked, and the deadline.
            done: Called with a collector's name when its turn has ended.

        Returns:
            dict collector -> outcome, with one for every collector whatever
            happened, at the deadline at the latest.

        """
        results: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        outcomes: dict[str, Outcome] = {}
        turns: dict[str, _Turn] = {}
        for name in self.collectors:
            stuck = self._stuck.get(name)
            if stuck is not None and stuck.thread.is_alive():
                outcomes[name] = self._still_stuck(name, stuck)
            else:
                self._stuck.pop(name, None)
                turns[name] = self._start(name, window, results)
        self._await(turns, outcomes, results, window, done)
        for name, turn in turns.items():
            self._stuck[name] = turn
            outcomes[name] = self._late(name, turn, cancelled=window.cancelled.is_set())
        return dict(sorted(outcomes.items()))

    def renewed(self, collectors: Mapping[str, Collector], paths: Paths) -> Orchestrator:
        """
        Make an orchestrator for a new configuration that knows what this one knew.

        Args:
            collectors: Name to collector.
            paths: Where procfs, sysfs and the root are.

        Returns:
            The orchestrator, with the notes of all collectors and the stuck threads.

        """
        new = Orchestrator(collectors, paths)
        new._memories |= {n: m for n, m in self._memories.items() if n in collectors}
        new._stuck = self._stuck
        return new

    def _start(self, name: str, window: Window, results: queue.SimpleQueue[Outcome]) -> _Turn:
        """Start a collector's thread."""
        context = Context(
            paths=self.paths,
            duration=window.duration,
            interval=window.interval,
            cancelled=window.cancelled,
            memory=self._memories[name],
            options=dict(window.options),
        )
        target = self.collectors[name]
        started_at, started = clock.wall(), time.monotonic()
        blank = _blank(target, started_at)

        def run() -> None:
            outcome = _fenced(target, context, blank)
            results.put(replace(outcome, seconds=time.monotonic() - started))

        thread = threading.Thread(target=run, name=f"collect-{name}", daemon=True)
        thread.start()
        return _Turn(thread, started_at, started)

    def _await(
        self,
        turns: dict[str, _Turn],
        outcomes: dict[str, Outcome],
        results: queue.SimpleQueue[Outcome],
        window: Window,
        done: Done,
    ) -> None:
        """Take results until all are in, the deadline is reached or the sweep is cancelled."""
        deadline = window.deadline
        while turns:
            if window.cancelled.is_set():
                deadline = min(deadline, time.monotonic() + CANCEL_GRACE)
            left = deadline - time.monotonic()
            if left <= 0:
                return
            try:
                # A short wait, because nothing wakes a queue when the sweep is cancelled.
                outcome = results.get(timeout=min(left, _POLL))
            except queue.Empty:
                continue
            if turns.pop(outcome.collector, None) is not None:
                outcomes[outcome.collector] = outcome
                done(outcome.collector)

    def _late(self, name: str, turn: _Turn, *, cancelled: bool) -> Outcome:
        """Describe a collector that did not answer in time."""
        where = _waits_in(turn.thread)
        cause = Cause.CANCELLED if cancelled else Cause.TIMEOUT
        reason = f"no answer {'when the sweep was cancelled' if cancelled else 'by the deadline'}"
        return replace(
            _blank(self.collectors[name], turn.started_at),
            status=Status.TIMEOUT,
            cause=cause,
            reason=reason + (f", waits in {where}" if where else ""),
            seconds=time.monotonic() - turn.started,
        )

    def _still_stuck(self, name: str, turn: _Turn) -> Outcome:
        """Describe a collector that hangs since an earlier sweep."""
        where = _waits_in(turn.thread)
        since = clock.rfc3339(turn.started_at)
        reason = f"still stuck since {since}" + (f", waits in {where}" if where else "")
        blank = _blank(self.collectors[name], clock.wall())
        return replace(blank, status=Status.TIMEOUT, cause=Cause.TIMEOUT, reason=reason)


def _blank(target: Collector, started_at: float) -> Outcome:
    """Begin an outcome."""
    return Outcome(
        collector=target.name,
        category=target.category,
        tier="quick",
        essential=target.essential,
        status=Status.OK,
        reason=None,
        cause=None,
        started_at=started_at,
        seconds=0.0,
    )


def _fenced(target: Collector, context: Context, blank: Outcome) -> Outcome:
    """Run one collector so that whatever it does ends as an outcome."""
    try:
        data = target.collect(context)
    except Unavailable as answer:
        status, cause, reason = Status.UNAVAILABLE, answer.cause, str(answer)
    except ValueError as error:
        status, cause, reason = Status.ERROR, Cause.GARBLED, f"not understood: {error}"
    except Exception as error:  # the fence: one collector must never cost the sweep
        log.exception("collector %s crashed", target.name)
        status, cause, reason = Status.ERROR, Cause.CRASH, f"{type(error).__name__}: {error}"
    else:
        return _answered(data, tuple(context.problems), blank)
    return replace(blank, status=status, cause=cause, reason=reason)


def _answered(data: Any, problems: tuple[Problem, ...], blank: Outcome) -> Outcome:
    """Judge what a collector returned."""
    if not is_dataclass(data) or isinstance(data, type):
        reason = f"returned {type(data).__name__} instead of a sample"
        return replace(blank, status=Status.ERROR, cause=Cause.GARBLED, reason=reason)
    if not problems:
        return replace(blank, data=data)
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return replace(
        blank,
        status=Status.PARTIAL,
        cause=first.cause,
        reason=first.text + more,
        data=data,
        problems=problems,
    )


def _waits_in(thread: threading.Thread) -> str:
    """Name the kernel function a thread sleeps in; empty when the kernel does not tell."""
    try:
        where = Path(f"/proc/self/task/{thread.native_id}/wchan").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if where == "0" else where
