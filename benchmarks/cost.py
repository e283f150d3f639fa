"""CPU time of quick sweeps on hosts of known size, and how it grows."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import hosts
from benchmarks.page import Budget, Figure, Section, Table, number, ratio
from benchmarks.programs import Program, fetch, metadata, peer, quick, series, sysdx, took
from benchmarks.wide import WideHost

SCRAPES = 10  # of the peer, for the samples that one sweep takes
_WARM_UP = 3  # scrapes that are not counted
_PAUSE = 0.05  # [s] between two scrapes
_LIKE = ("--collector.processes", "--collector.tcpstat")
_METHOD = f"""
The daemon under its scheduler, a sweep of {{window}} s with 11 readings after the other; the
first, in which programs and memories are loaded, is left out. This host has {{processes}}
processes, threads of the kernel among them. Every other one is a set of namespaces with so many
sleeping processes, none of the kernel, idle connections or virtual interfaces, and as the base
where nothing else is said. The written root has tables of 1,024 CPUs, 1,000 interrupts and 16
memory nodes, and moves on by a second every second.

Of the peer, CPU of {SCRAPES} scrapes, which give as many readings: as Debian runs it, and with
{" and ".join(_LIKE)}, which read tables that sysdx reads too.
""".strip()


@dataclass(frozen=True, slots=True)
class Host:
    """
    A host to measure on.

    Attributes:
        name: As the page calls it.
        size: Arguments of `measure` that differ from the base's; None for this host as it is.
        more: What there is more of than on the base; 0 where nothing is.
        unit: What it is counted in.

    """

    name: str
    size: Mapping[str, int] | None
    more: int = 0
    unit: str = ""


HOSTS = (
    Host("this host as it is", None),
    Host("base: 100 processes, 2 interfaces", {}),
    Host("2,000 processes", {"processes": 2000}, 1900, "process"),
    Host("10,000 TCP sockets", {"sockets": 10_000}, 10_000, "socket"),
    Host("500 interfaces", {"interfaces": 500}, 498, "interface"),
    Host("1,024 CPUs (written root)", {"cpus": 1024}, 1022, "CPU"),
)


def run(small: bool) -> Section:
    """
    Measure on every host.

    Args:
        small: Whether to do with short windows.

    Returns:
        What was found.

    """
    window, count, rounds = (1.0, 1, 1) if small else (10.0, 3, 3)
    found = [_found(host, window, count, rounds) for host in HOSTS]
    header = ("host", "CPU of a quick sweep", "to the base", "for each one more",
              f"{SCRAPES} scrapes of the peer", "to the base", "sysdx to peer",
              "peer that reads as much", "sysdx to that", "series", "memory")  # fmt: skip
    here, base = found[:2]
    rows = [_row(host, one, base) for host, one in zip(HOSTS, found, strict=True)]
    beyond = tuple(value for one in found for value in one["beyond"])
    late = Figure(beyond, "s")
    return Section(
        "CPU of a quick sweep",
        _METHOD.format(window=number(window), processes=here["processes"]),
        [Table(header, rows)],
        [
            *(Budget(f"CPU of a quick sweep, {name}", 60, _cpu(one), _cpu(one).median,
                     Figure(tuple(one["peer"]), "ms"))
              for name, one in (("this host", here), ("100 processes of users", base))),
            Budget("a sweep beyond its duration, all hosts", 1.5, late, late.most),
        ],
    )  # fmt: skip


def _found(host: Host, window: float, count: int, rounds: int) -> dict[str, Any]:
    """Measure on a host."""
    if host.size is None:
        return measure(window, count, rounds, processes=0, interfaces=0)
    often = {"window": window, "count": count, "rounds": rounds}
    found: dict[str, Any] = hosts.inside("cost", {**often, **host.size})
    return found


def _cpu(one: Mapping[str, Any]) -> Figure:
    return Figure(tuple(one["cpu"]), "ms")


def _row(host: Host, one: Mapping[str, Any], first: Mapping[str, Any]) -> list[str]:
    """Write what was found on a host."""
    cpu, base = _cpu(one), _cpu(first)
    scrapes, like = (Figure(tuple(one[name]), "ms") for name in ("peer", "like"))
    start = Figure(tuple(first["peer"]), "ms")
    each = (cpu.median - base.median) * 1000 / host.more if host.more else 0.0
    return [
        host.name,
        str(cpu),
        ratio(cpu.median, base.median),
        f"{number(each)} µs per {host.unit}" if host.more else "-",
        str(scrapes),
        ratio(scrapes.median, start.median),
        ratio(cpu.median, scrapes.median),
        str(like),
        ratio(cpu.median, like.median),
        str(one["series"]),
        f"{number(one['memory'])} MB",
    ]


def measure(
    window: float,
    count: int,
    rounds: int,
    processes: int = 100,
    sockets: int = 0,
    interfaces: int = 2,
    cpus: int = 0,
) -> dict[str, Any]:
    """
    Measure on the host that this runs on, when it has got what it is to have.

    Args:
        window: Duration of a sweep [s].
        count: Sweeps.
        rounds: Rounds of scrapes.
        processes: Processes of the host.
        sockets: Established connections' sockets.
        interfaces: Virtual interfaces.
        cpus: CPUs of the written root; 0 for the real one.

    Returns:
        CPU per sweep and of so many scrapes [ms], time beyond the window [s],
        series of the page, resident memory [MB] and the number of processes.

    """
    held = hosts.sockets(sockets)
    hosts.interfaces(interfaces)
    hosts.processes(processes)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, contextlib.ExitStack() as stack:
        root = Path(folder, "root")
        if cpus:
            wide = WideHost(root, cpus)
            stack.callback(wide.stop)
        found = _sweeps(Path(folder, "sysdx"), window, count, root if cpus else None)
        where = _peer_paths(root) if cpus else []
        found["peer"] = _scrapes(Path(folder, "peer"), rounds, where)
        found["like"] = _scrapes(Path(folder, "like"), rounds, [*where, *_LIKE])
    for connection in held:
        connection.close()
    return found


def _sweeps(folder: Path, window: float, count: int, root: Path | None) -> dict[str, Any]:
    """Watch sweeps of the daemon, one to warm up and so many to count."""
    settings = quick(window, every=window + 1.5, timeout=window + 20)
    if root:
        settings["paths"] = {"procfs": f"{root}/proc", "sysfs": f"{root}/sys"}
    with sysdx(folder, settings) as daemon:
        marks = [_settled(daemon, n, window) for n in range(count + 1)]
        page = fetch(daemon.port)
        reports = daemon.reports()[1 : count + 1]
        if not all(metadata(report)["complete"] for report in reports):
            raise RuntimeError(f"a sweep was late: {metadata(reports[-1])['partial_reasons']}")
        return {
            "cpu": [after - before for before, after in pairwise(marks)],
            "beyond": [took(report) - window for report in reports],
            "series": series(page),
            "memory": daemon.memory,
            "processes": hosts.running(),
        }


def _settled(daemon: Program, index: int, window: float) -> float:
    """Wait until a sweep is over and published; give the daemon's CPU time so far [ms]."""
    daemon.report(index, window + 30)
    time.sleep(0.4)
    return daemon.cpu


def _scrapes(folder: Path, rounds: int, flags: Sequence[str]) -> list[float]:
    """Measure the peer's CPU of ten scrapes [ms], a few times after a first round."""
    cost = []
    with peer(folder, *flags) as program:
        for count in (_WARM_UP, *[SCRAPES] * rounds):
            before = program.cpu
            for _ in range(count):
                fetch(program.port)
                time.sleep(_PAUSE)
            cost.append(program.cpu - before)
    return cost[1:]


def _peer_paths(root: Path) -> list[str]:
    return [f"--path.procfs={root}/proc", f"--path.sysfs={root}/sys"]
