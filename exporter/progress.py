"""How far a sweep is: a moving bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TextIO

Show = Callable[[str, str], None]

_NAMED = 3  # collectors that are waited for are named when there are no more of them
_REDRAW = 0.25  # [s]


@contextmanager
def progress(
    profile: str, duration: float, collectors: Collection[str], stream: TextIO
) -> Iterator[Show]:
    """
    Show a sweep's progress until the block ends.

    Args:
        profile: The profile's name.
        duration: Length of the window [s].
        collectors: The collectors that will answer.
        stream: Where to show it: a bar that leaves nothing behind on a terminal
            that can move its cursor, one line per phase anywhere else.

    Yields:
        What to call with ("phase", name) or ("collector", name).

    """
    if not _can_draw(stream):
        yield _lines(stream)
        return
    # The library draws well, but the service has no use for it: imported only here.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30))
    console = Console(file=stream)
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task("", total=duration)
        told = _Told(profile, duration, set(collectors))

        def draw() -> None:
            done = min(told.elapsed(), duration)
            bar.update(task, completed=done, description=told.sentence(), refresh=True)

        with _repeating(draw):
            yield told.note


def _can_draw(stream: TextIO) -> bool:
    """Tell whether a moving bar is wanted and possible."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("dumb", "unknown", "")
    return stream.isatty() and not plain


class _Told:
    """
    What a sweep has told of itself.

    Args:
        profile: The profile's name.
        duration: Length of the window [s].
        waiting: The collectors that have not answered.

    """

    def __init__(self, profile: str, duration: float, waiting: set[str]) -> None:
        self._profile = profile
        self._duration = duration
        self._waiting = waiting
        self._phase = "initialize"
        self._start = time.monotonic()

    def note(self, kind: str, name: str) -> None:
        """Note a phase that has begun, or a collector that has answered."""
        if kind == "collector":
            self._waiting.discard(name)
            return
        self._phase = name
        if name == "collect":
            self._start = time.monotonic()

    def elapsed(self) -> float:
        """Return how long the window has been open [s]."""
        return time.monotonic() - self._start if self._phase != "initialize" else 0.0

    def sentence(self) -> str:
        """Say what is going on."""
        left = self._duration - self.elapsed()
        if self._phase != "collect":
            state = self._phase
        elif left > 0:
            state = f"observing, {left:.0f} s left"
        else:
            names = sorted(self._waiting)
            who = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} collectors"
            state = f"waiting for {who}"
        return f"{self._profile} sweep: {state}"


@contextmanager
def _repeating(draw: Callable[[], None]) -> Iterator[None]:
    """Draw a few times a second until the block ends."""
    ended = threading.Event()

    def repeat() -> None:
        draw()
        while not ended.wait(_REDRAW):
            draw()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(1.0)


def _lines(stream: TextIO) -> Show:
    """Write one line per phase."""
    start = time.monotonic()

    def show(kind: str, name: str) -> None:
        if kind == "phase":
            print(f"[{time.monotonic() - start:6.2f} s] {name}", file=stream, flush=True)

    return show
