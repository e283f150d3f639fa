"""How soon after its start the daemon answers."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks import hosts
from benchmarks.page import Figure, Section, Table, ratio
from benchmarks.programs import fetch, peer, sysdx

_LONGEST = 60.0  # [s] until a first report


def run(small: bool) -> Section:
    """
    Start both programs several times.

    Args:
        small: Whether to do with fewer starts.

    Returns:
        What was found.

    """
    starts, reports = (3, 1) if small else (5, 2)
    found = hosts.inside("start", {"starts": starts, "reports": reports})
    page, cpu, other = (
        Figure(tuple(found[name]), unit)
        for name, unit in (("page", "s"), ("cpu", "ms"), ("peer", "s"))
    )
    report = Figure(tuple(found["report"]), "s")
    rows = [
        ["first page of /metrics, with its own metrics", str(page), str(other),
         ratio(page.median, other.median)],
        ["CPU until then", str(cpu), "-", "-"],
        ["first report, of a sweep of 10 s", str(report), "-", "-"],
    ]  # fmt: skip
    return Section(
        "Start",
        "From the start of the process, with the default settings.",
        [Table(("until", "sysdx", "peer", "sysdx to peer"), rows)],
    )


def measure(starts: int, reports: int) -> dict[str, list[float]]:
    """
    Start both; it is run in namespaces of its own.

    Args:
        starts: How often.
        reports: How many of these until the first report.

    Returns:
        Times until the first page and report [s], CPU time until then [ms].

    """
    hosts.interfaces(2)
    hosts.processes(100)
    found: dict[str, list[float]] = {"page": [], "cpu": [], "report": [], "peer": []}
    with tempfile.TemporaryDirectory() as folder:
        for n in range(starts):
            with peer(Path(folder, f"peer{n}")) as other:
                found["peer"].append(other.answered - other.began)
            with sysdx(Path(folder, f"sysdx{n}")) as daemon:
                found["page"].append(daemon.answered - daemon.began)
                found["cpu"].append(daemon.cpu)
                if b"sysdx_build_info{" not in fetch(daemon.port):
                    raise RuntimeError("the first page lacks the program's own metrics")
                if n < reports:
                    found["report"].append(_report(daemon.port, daemon.began))
    return found


def _report(port: int, began: float) -> float:
    """Wait for the first report to be served; give how long after the start it was [s]."""
    while time.monotonic() < began + _LONGEST:
        try:
            fetch(port, "/report")
        except OSError:
            time.sleep(0.02)
        else:
            return time.monotonic() - began
    raise RuntimeError("there is no report")
