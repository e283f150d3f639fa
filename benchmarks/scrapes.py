"""Scrapes of /metrics while a collector hangs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import hosts
from benchmarks.load import percentile, scrape
from benchmarks.page import Budget, Figure, Section, Table, number, ratio
from benchmarks.programs import SYSDX, fetch, peer, quick, series, sysdx

# Clients, and each one's time between two scrapes [s]: 0 is a request always on its way.
LOADS = {"1 client": (1, 0.0), "40 clients, each every 0.5 s": (40, 0.5),
         "40 requests always on their way": (40, 0.0)}  # fmt: skip
_UNJUDGED = "40 requests always on their way"  # measures how many are answered, not how soon
_LIMITS = {"p50": 2.0, "p99": 10.0}  # [ms]
# What reads the file hangs in the kernel, for nobody ever writes into the pipe.
_HANG = ("unshare", "--mount", "sh", "-ec", 'mount --bind "$0" /proc/diskstats; exec "$@"')
_HUNG = b'sysdx_collector_success{collector="disk"} 0'
_SILENCE = 5.0  # [s] the peer is given
Latencies = list[list[float]]


def run(small: bool) -> Section:
    """
    Scrape sysdx and the peer in turn.

    Args:
        small: Whether to do with fewer scrapes.

    Returns:
        What was found.

    """
    rounds, each = (2, 80) if small else (3, 400)
    found = hosts.inside("scrapes", {"rounds": rounds, "each": each})
    header = ("load", "", "sysdx", "peer, healthy", "sysdx to peer")
    rows, budgets = [], []
    for load, (name, limit) in product(LOADS, _LIMITS.items()):
        ours, theirs = (_figure(found[who][load], name) for who in ("sysdx", "peer"))
        rows.append([load, name, str(ours), str(theirs), ratio(ours.median, theirs.median)])
        if load != _UNJUDGED:
            what = f"scrape while a collector hangs, {load}: {name}"
            budgets.append(Budget(what, limit, ours, ours.median, theirs))
    return Section(
        "Scrapes while a collector hangs",
        "For sysdx, /proc/diskstats is a pipe that nobody writes into, so the collector of disks "
        "hangs in the kernel for ever, while one sweep after the other runs. Each scrape has a "
        f"connection of its own, with gzip; {rounds} rounds of {each} scrapes, sysdx and the peer "
        "taking turns, the peer without the pipe. With 40 requests always on their way the time is "
        "that of 40 answers one after the other, so it tells how many a second there can be, and "
        "is held against no budget.",
        [Table(header, rows)],
        budgets,
        [(f"sysdx answers with {found['series']} series, the peer with {found['peer_series']}. "
         f"With the same pipe the peer {found['peer_hung']}.")],
    )  # fmt: skip


def hanging(folder: Path) -> tuple[str, ...]:
    """
    Give a prefix for commands that makes every reader of disk statistics hang.

    Args:
        folder: Takes the pipe that stands in the file's place.

    Returns:
        The start of a command.

    """
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    return (*_HANG, str(pipe))


def _figure(rounds: Latencies, name: str) -> Figure:
    """Give a percentile of each round."""
    return Figure(tuple(percentile(r, int(name[1:]) / 100) for r in rounds), "ms")


def measure(rounds: int, each: int) -> dict[str, Any]:
    """
    Scrape both; it is run in namespaces of its own.

    Args:
        rounds: How often they take turns.
        each: Scrapes in a round.

    Returns:
        Latencies by program, load and round [ms].

    """
    hosts.interfaces(2)
    hosts.processes(100)
    with tempfile.TemporaryDirectory() as folder:
        hang = hanging(Path(folder))
        with (
            sysdx(
                Path(folder, "sysdx"), quick(10, every=11, timeout=12), (*hang, *SYSDX)
            ) as daemon,
            peer(Path(folder, "peer"), "--web.max-requests=0") as other,
        ):
            daemon.report(0, 30)
            page = fetch(daemon.port)
            if _HUNG not in page:
                raise RuntimeError("the collector does not hang")
            ports = {"sysdx": daemon.port, "peer": other.port}
            found: dict[str, Any] = {
                **_turns(ports, rounds, each),
                "series": series(page),
                "peer_series": series(fetch(other.port)),
            }
        found["peer_hung"] = _hung_peer(Path(folder, "hung"), hang)
    return found


def _turns(ports: Mapping[str, int], rounds: int, each: int) -> dict[str, dict[str, Latencies]]:
    """Let both answer in turn, after a few scrapes that are not counted."""
    found: dict[str, dict[str, Latencies]] = {n: {load: [] for load in LOADS} for n in ports}
    for port in ports.values():
        scrape(port, clients=1, count=50)
    for _, load, (name, port) in product(range(rounds), LOADS, ports.items()):
        clients, every = LOADS[load]
        found[name][load].append(scrape(port, clients, each, every))
    return found


def _hung_peer(folder: Path, hang: Sequence[str]) -> str:
    """See what the peer does when the file hangs."""
    with peer(folder, prefix=hang, ready="/") as program:
        try:
            fetch(program.port, timeout=_SILENCE)
        except OSError:
            return f"gave no answer in {number(_SILENCE)} s"
    return "answered"
