"""What the default schedule costs on average, on this host as it is."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.hosts import running
from benchmarks.page import Budget, Figure, Section, Table, number
from benchmarks.programs import fetch, ms, peer, sysdx

_PUBLISH = 0.4  # [s] after a report is on disk
_SCRAPE = 15.0  # [s] between two scrapes, as is common


@dataclass(frozen=True, slots=True)
class Plan:
    """
    How a profile is measured.

    Attributes:
        duration: Its duration [s].
        default: Time between two starts by default [s].
        every: The same here [s].
        count: Sweeps to measure, after the first.

    """

    duration: float
    default: float
    every: float
    count: int


PLANS = {
    "quick": Plan(10, 60, 60, 2),
    "standard": Plan(30, 900, 36, 3),
    "deep": Plan(60, 21_600, 66, 1),
}


def run(small: bool) -> Section:
    """
    Run each profile in a daemon of its own, all at the same time.

    Args:
        small: Whether to do with a tenth of all times.

    Returns:
        What was found.

    """
    faster = 10 if small else 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        other = pool.submit(_peer, Path(folder, "peer"), faster)
        sweeps = {
            name: pool.submit(_sweeps, Path(folder, name), name, plan, faster)
            for name, plan in PLANS.items()
        }
        found = {name: Figure(tuple(one.result()), "ms") for name, one in sweeps.items()}
        return _section(found, Figure((other.result(),), "%"), faster)


def _section(cpu: dict[str, Figure], other: Figure, faster: int) -> Section:
    """Average over the schedule."""
    shares = {name: figure.median / 10 / PLANS[name].default for name, figure in cpu.items()}
    rows = [
        [name, f"{number(PLANS[name].default)} s", str(figure), f"{number(shares[name])} %"]
        for name, figure in cpu.items()
    ]
    total = Figure((sum(shares.values()),), "%")
    hurried = f" This run was hurried: all times are a {faster}th." if faster > 1 else ""
    return Section(
        "The default schedule, averaged",
        f"On this host as it is, with {running()} processes: a daemon for each profile, all at the "
        "same time. Quick runs as by default, and its figure is all CPU from one report to the "
        f"next, idle time and a scrape every {number(_SCRAPE)} s included; standard and deep "
        "sweeps follow each other. Each daemon's first sweep is left out. Beside it the peer, "
        f"scraped as often.{hurried}",
        [Table(("profile", "every", "CPU of one", "of one core"), rows)],
        [Budget("default schedule, share of one core", 1, total, total.median, other)],
    )


def _sweeps(folder: Path, name: str, plan: Plan, faster: int) -> list[float]:
    """Give the CPU time of sweeps of a profile, each from report to report [ms]."""
    profile = {
        "duration": ms(plan.duration / faster),
        "sample_interval": ms(1 / faster),
        "schedule": {"every": ms(plan.every / faster)},
    }
    marks = []
    with (
        sysdx(folder, {"profiles": {name: profile}}, profiles=(name,)) as daemon,
        _scraped(daemon.port, faster) if name == "quick" else contextlib.nullcontext(),
    ):
        for n in range(plan.count + 1):
            daemon.report(n, plan.every + 30)
            time.sleep(_PUBLISH)
            marks.append(daemon.cpu)
    return [after - before for before, after in pairwise(marks)]


def _peer(folder: Path, faster: int) -> float:
    """Give the share of a core that the peer takes when it is scraped as often [%]."""
    with peer(folder) as program, _scraped(program.port, faster):
        began, before = time.monotonic(), program.cpu
        time.sleep(120 / faster)
        return (program.cpu - before) / 10 / (time.monotonic() - began) / faster


@contextlib.contextmanager
def _scraped(port: int, faster: int) -> Iterator[None]:
    """Scrape as Prometheus does, meanwhile."""
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(_SCRAPE / faster):
            fetch(port)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
