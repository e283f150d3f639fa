"""How a sweep from the command line shows that it is under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Show = Callable[[str, str], None]


@contextmanager
def progress(profile: str, duration: float, collectors: int, stream: TextIO) -> Iterator[Show]:
    """
    Show a sweep's progress: a moving bar on a terminal, plain lines otherwise.

    Args:
        profile: The profile's name.
        duration: Length of the window [s].
        collectors: How many collectors will answer.
        stream: Where to show it.

    Yields:
        What to call with ("phase", name) or ("collector", name).

    """
    if not stream.isatty():
        yield _lines(stream)
        return
    # The library draws well, but the service has no use for it: imported only here.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task(f"{profile}: initialize", total=duration)
        with _advancing(lambda seconds: bar.update(task, completed=seconds)):
            answered: list[str] = []

            def show(kind: str, name: str) -> None:
                if kind == "collector":
                    answered.append(name)
                state = f"{len(answered)}/{collectors} collectors" if answered else "observing"
                text = f"{profile}: {name if kind == 'phase' else state}"
                bar.update(task, description=text)

            yield show


@contextmanager
def _advancing(update: Callable[[float], None]) -> Iterator[None]:
    """Tell the seconds that have passed, a few times a second, until the block ends."""
    import threading

    ended = threading.Event()
    start = time.monotonic()

    def tell() -> None:
        while not ended.wait(0.2):
            update(time.monotonic() - start)

    thread = threading.Thread(target=tell, daemon=True)
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
