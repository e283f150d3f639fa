"""Pages of a whole fleet: recorded from the real daemon in several states, served as many hosts."""

from __future__ import annotations

import gzip
import http.server
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.programs import fetch, ms, sysdx

# A state to the load that makes it and its share of the fleet.
LOADS: Mapping[str, tuple[Sequence[str], float]] = {
    "idle": ((), 0.9),
    "CPU overload": (("stress-ng", "--cpu", "8", "--quiet"), 0.06),
    "direct writes": (
        ("stress-ng", "--hdd", "4", "--hdd-opts", "direct,fsync", "--hdd-bytes", "64m", "--quiet"),
        0.04,
    ),
}  # fmt: skip
SWEEP = 60.0  # [s] as by default: so long a host shows the same page
_WINDOW, _EVERY = 2.0, 3.0  # [s] while pages are recorded
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def record(folder: Path, count: int) -> dict[str, list[bytes]]:
    """
    Let the daemon examine this host in each state, all three profiles, and keep its pages.

    Args:
        folder: Takes what the daemons write.
        count: Pages of each state, one after each quick sweep.

    Returns:
        dict state -> pages in the order in which they were made.

    """
    return {
        state: _recorded(folder / state.replace(" ", "-"), load, count)
        for state, (load, _) in LOADS.items()
    }


def _recorded(folder: Path, load: Sequence[str], count: int) -> list[bytes]:
    """Record one state, from when each profile has been swept once."""
    names = ("quick", "standard", "deep")
    profiles = {
        name: {
            "duration": ms(_WINDOW),
            "sample_interval": ms(_WINDOW / 10),
            "timeout": "60s",
            "schedule": {"every": ms(_EVERY if name == "quick" else 1_800.0)},
        }
        for name in names
    }
    folder.mkdir(parents=True)
    with _loaded(load, folder), sysdx(folder, {"profiles": profiles}, profiles=names) as daemon:
        index = 0
        while b"sysdx_off_cpu_seconds_count" not in fetch(daemon.port):
            daemon.report(index, 120)
            index += 1
        pages = []
        for number in range(index, index + count):
            daemon.report(number, 120)
            pages.append(fetch(daemon.port))
        return pages


@contextmanager
def _loaded(command: Sequence[str], folder: Path) -> Iterator[None]:
    """Run a load meanwhile, where it may write."""
    if not command:
        yield
        return
    with subprocess.Popen(command, cwd=folder) as load:
        try:
            yield
        finally:
            load.terminate()


@contextmanager
def serving(pages: Mapping[str, Sequence[bytes]], hosts: int) -> Iterator[int]:
    """
    Serve each host's page at /NUMBER/metrics, a new one each minute.

    Args:
        pages: State to its pages.
        hosts: How many hosts there are.

    Yields:
        The port on loopback.

    """
    packed = {state: [gzip.compress(page, 1) for page in group] for state, group in pages.items()}
    states = spread(hosts)
    began = time.monotonic()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # Prometheus keeps its connections

        def do_GET(self) -> None:
            group = packed[states[int(self.path.split("/")[1])]]
            body = group[min(int((time.monotonic() - began) / SWEEP), len(group) - 1)]
            self.send_response(200)
            self.send_header("Content-Type", _TYPE)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: there are thousands."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def spread(hosts: int) -> list[str]:
    """
    Give each host a state.

    Args:
        hosts: How many there are.

    Returns:
        States, as often as their share says, the rest idle.

    """
    ill = [state for state, (_, share) in LOADS.items() if state != "idle"
           for _ in range(round(hosts * share))]  # fmt: skip
    return [*ill, *["idle"] * (hosts - len(ill))]
