"""Resident memory over hundreds of sweeps."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import hosts, short
from benchmarks.page import Budget, Figure, Section, Table, number
from benchmarks.programs import SYSDX, Program, fetch, peer, sysdx

_SHORT = (sys.executable, "-m", "benchmarks.short", "serve")
_SWEEPS = re.compile(rb'^sysdx_sweeps_total\{[^}]*profile="quick"[^}]*\} ([0-9.]+)$', re.MULTILINE)
_PAUSE = 0.25  # [s] between two scrapes: about one for each sweep
_LOOKS = 10
_HOST = {"processes": 100, "interfaces": 2}


def run(small: bool) -> Section:
    """
    Watch memory.

    Args:
        small: Whether to do with fewer sweeps.

    Returns:
        What was found.

    """
    marks = [1, 10, 30] if small else [1, 100, 200, 300, 400, 500]
    found = hosts.inside("memory", {"marks": marks})
    header = ("sweeps", "memory of sysdx", "threads", "open files", "scrapes", "memory of the peer")
    steps = zip(found["sysdx"], found["peer"], strict=True)
    rows = [
        [str(ours["sweeps"]), str(Figure(tuple(ours["memory"]), "MB")), str(ours["threads"]),
         str(ours["files"]), str(theirs["scrapes"]), f"{number(theirs['memory'])} MB"]
        for ours, theirs in steps
    ]  # fmt: skip
    used = [min(step["memory"]) for step in found["sysdx"][1:]]
    peaks = [max(step["memory"]) for step in found["sysdx"][1:]]
    theirs = [step["memory"] for step in found["peer"][1:]]
    growth = (used[-1] - used[0], theirs[-1] - theirs[0])
    last = f"{marks[-1]} sweeps"
    return Section(
        f"Memory over {marks[-1]} sweeps",
        f"The daemon itself, scheduler to store, with 100 processes; only its window is shortened "
        f"to {short.WINDOW} s with 11 readings, a sweep every {short.EVERY} s, and /metrics is "
        "scraped once a sweep. The first row is before the first sweep. Beside it the peer after "
        "as many scrapes. It is looked at ten times over two sweeps, for threads come and go; "
        "growth is that of the least.",
        [Table(header, rows)],
        [
            Budget(f"memory, most in {last}", 60, Figure(tuple(peaks), "MB"), max(peaks),
                   Figure((max(theirs),), "MB")),
            Budget(f"growth from the first to the last of {last}", 2, Figure((growth[0],), "MB"),
                   growth[0], Figure((growth[1],), "MB")),
        ],
        [(f"Since sweep {marks[1]} it has grown by {number(used[-1] - used[1])} MB. The daemon as "
         f"it is started by default uses {number(found['default'])} MB after its first sweep.")],
    )  # fmt: skip


def measure(marks: list[int]) -> dict[str, Any]:
    """
    Watch the daemon and the peer; it is run in namespaces of its own.

    Args:
        marks: After how many sweeps to look.

    Returns:
        For both, what they used at each mark, and before it.

    """
    hosts.interfaces(_HOST["interfaces"])
    hosts.processes(_HOST["processes"])
    with tempfile.TemporaryDirectory() as folder:
        with sysdx(Path(folder, "short"), command=_SHORT) as daemon:
            ours = [_step(daemon, n) for n in _passing(daemon, [0, *marks])]
        with peer(Path(folder, "peer")) as program:
            theirs = [
                {"scrapes": n, "memory": program.memory} for n in _scraped(program, [0, *marks])
            ]
        with sysdx(Path(folder, "default"), command=SYSDX) as daemon:
            daemon.report(0, 30)
            time.sleep(0.5)
            default = daemon.memory
    return {"sysdx": ours, "peer": theirs, "default": default}


def _step(daemon: Program, sweeps: int) -> dict[str, Any]:
    """Look at the daemon in all phases of a sweep."""
    looks = []
    for _ in range(_LOOKS):
        looks.append((daemon.memory, daemon.threads, daemon.descriptors))
        time.sleep(2 * short.EVERY / _LOOKS)
    memory, threads, files = zip(*looks, strict=True)
    return {"sweeps": sweeps, "memory": memory, "threads": min(threads), "files": min(files)}


def _passing(daemon: Program, marks: list[int]) -> Iterator[int]:
    """Scrape along; stop at each mark, with the number of sweeps so far."""
    for mark in marks:
        while (sweeps := _sweeps(fetch(daemon.port))) < mark:
            time.sleep(_PAUSE)
        yield sweeps


def _sweeps(page: bytes) -> int:
    """Read how many sweeps there were."""
    return sum(int(float(value)) for value in _SWEEPS.findall(page))


def _scraped(program: Program, marks: list[int]) -> Iterator[int]:
    """Scrape the peer; stop at each mark, with the number of scrapes so far."""
    done = 0
    for mark in marks:
        while done < mark:
            fetch(program.port)
            done += 1
        yield done
