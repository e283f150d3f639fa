"""What the deadline costs when a collector hangs, and how fast the daemon ends."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import hosts
from benchmarks.page import Budget, Figure, Section, Table
from benchmarks.programs import SYSDX, Program, metadata, quick, sysdx, took
from benchmarks.scrapes import hanging

WINDOW, TIMEOUT, EVERY = 2.0, 4.0, 5.0  # [s]
_PUBLISH = 0.4  # [s] after a report is on disk


def run(small: bool) -> Section:
    """
    Let a collector hang, and end the daemon in the middle of a sweep.

    Args:
        small: Whether to do with fewer rounds.

    Returns:
        What was found.

    """
    found = hosts.inside("hang", {"rounds": 1 if small else 3})
    figures = {name: Figure(tuple(values), unit) for name, (unit, values) in found.items()}
    rows = [[name, str(figure)] for name, figure in figures.items()]
    late, ended, hung = (figures[name] for name in (_LATE, _ENDED, _ENDED_HUNG))
    return Section(
        "A collector that hangs, and the end",
        f"A quick sweep of {WINDOW:.0f} s with a deadline of {TIMEOUT:.0f} s, with and without a "
        "collector that hangs in the kernel for ever. SIGTERM comes in the middle of a sweep.",
        [Table(("what", "measured"), rows)],
        [
            Budget("a sweep beyond its deadline, a collector hangs", 0.5, late, late.most),
            Budget("SIGTERM in a sweep until the end", 5, ended, ended.most),
            Budget("the same while a collector hangs", 5, hung, hung.most),
        ],
    )


_LATE = "first sweep with a hang: beyond the deadline"
_NEXT = "later sweep with a hang: beyond its duration"
_SOUND = "sweep without a hang: beyond its duration"
_CPU_FIRST = "first sweep with a hang: CPU, start of the daemon included"
_CPU_FIRST_SOUND = "first sweep without a hang: the same"
_CPU_NEXT = "later sweep with a hang: CPU"
_CPU_SOUND = "later sweep without a hang: CPU"
_THREADS = "threads more after a later sweep with a hang"
_ENDED = "SIGTERM in a sweep until the end"
_ENDED_HUNG = "SIGTERM in a sweep until the end, with a hang"


def measure(rounds: int) -> dict[str, tuple[str, list[float]]]:
    """
    Measure; it is run in namespaces of its own.

    Args:
        rounds: Daemons to start with and without a hang.

    Returns:
        dict name -> unit and values.

    """
    hosts.interfaces(2)
    hosts.processes(100)
    with tempfile.TemporaryDirectory() as folder:
        hang = hanging(Path(folder))
        hung = [_lifetime(Path(folder, f"hung{n}"), hang) for n in range(rounds)]
        sound = [_lifetime(Path(folder, f"sound{n}"), ()) for n in range(rounds)]
    return {
        _LATE: ("s", [one["first"] - TIMEOUT for one in hung]),
        _NEXT: ("s", [one["next"] - WINDOW for one in hung]),
        _SOUND: ("s", [one["next"] - WINDOW for one in sound]),
        _CPU_FIRST: ("ms", [one["first_cpu"] for one in hung]),
        _CPU_FIRST_SOUND: ("ms", [one["first_cpu"] for one in sound]),
        _CPU_NEXT: ("ms", [one["next_cpu"] for one in hung]),
        _CPU_SOUND: ("ms", [one["next_cpu"] for one in sound]),
        _THREADS: ("threads", [one["threads"] for one in hung]),
        _ENDED: ("s", [one["ended"] for one in sound]),
        _ENDED_HUNG: ("s", [one["ended"] for one in hung]),
    }


def _lifetime(folder: Path, prefix: tuple[str, ...]) -> dict[str, Any]:
    """Watch two sweeps of a daemon, and end it in the third."""
    settings = quick(WINDOW, every=EVERY, timeout=TIMEOUT)
    with sysdx(folder, settings, (*prefix, *SYSDX)) as daemon:
        started = time.monotonic()
        cpu, threads = zip(*(_after(daemon, n) for n in range(2)), strict=True)
        first, later = daemon.reports()[:2]
        if metadata(first)["complete"] is bool(prefix):
            raise RuntimeError(f"not what was to be measured: {metadata(first)['partial_reasons']}")
        # The third sweep begins two intervals after the first.
        time.sleep(max(started + 2 * EVERY + WINDOW / 2 - time.monotonic(), 0))
        return {
            "first": took(first),
            "next": took(later),
            "first_cpu": cpu[0],
            "next_cpu": cpu[1] - cpu[0],
            "threads": threads[1] - threads[0],
            "ended": daemon.stop(),
        }


def _after(daemon: Program, index: int) -> tuple[float, int]:
    """Wait for a sweep's end; give CPU time [ms] and threads."""
    daemon.report(index, TIMEOUT + EVERY)
    time.sleep(_PUBLISH)
    return daemon.cpu, daemon.threads
