"""The programs under test: started, watched from outside, ended by their process id."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SYSDX = (str(Path(sys.executable).with_name("sysdx")), "serve")
PEER = "prometheus-node-exporter"
_STARTING = 30.0  # [s] a program has before it must answer
_POLL = 0.005
_TICK = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2


@dataclass(frozen=True, slots=True)
class Program:
    """
    A running server.

    Attributes:
        process: Its process.
        port: Where it listens on loopback.
        began: When it was started, on the monotonic clock [s].
        answered: When its first page came [s].
        folder: Where it keeps what it writes.

    """

    process: subprocess.Popen[bytes]
    port: int
    began: float
    answered: float
    folder: Path

    @property
    def cpu(self) -> float:
        """CPU time so far, with that of children it has waited for [ms]."""
        fields = self._stat()
        # The clock counts nanoseconds; of children only ticks are told.
        own = time.clock_gettime_ns(~self.process.pid << 3 | _CPUCLOCK_SCHED) / 1e6
        return own + (int(fields[13]) + int(fields[14])) / _TICK * 1000

    @property
    def threads(self) -> int:
        """Its threads."""
        return int(self._stat()[17])

    @property
    def descriptors(self) -> int:
        """Its open files."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    @property
    def memory(self) -> float:
        """Resident memory, counted page by page [MB]."""
        return memory(self.process.pid)

    def _stat(self) -> list[bytes]:
        raw = Path(f"/proc/{self.process.pid}/stat").read_bytes()
        return raw.rpartition(b")")[2].split()

    def reports(self) -> list[Path]:
        """
        List the reports it has written.

        Returns:
            Their files, oldest first.

        """
        return sorted((self.folder / "reports").glob("[!.]*.json.gz"))

    def report(self, index: int, timeout: float) -> Path:
        """
        Wait for a report without asking the program, which would cost it time.

        Args:
            index: Which, from 0.
            timeout: Longest wait [s].

        Returns:
            Its file.

        """
        deadline = time.monotonic() + timeout
        while len(found := self.reports()) <= index:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"no report {index} within {timeout} s; see {self.folder}/log")
            time.sleep(_POLL)
        return found[index]

    def stop(self) -> float:
        """
        End it as a service manager does.

        Returns:
            How long that took [s].

        """
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(20)
        return time.monotonic() - began


def quick(window: float, *, every: float, timeout: float) -> dict[str, Any]:
    """
    Write a configuration for quick sweeps of eleven readings.

    Args:
        window: Their duration [s].
        every: Time between two starts [s].
        timeout: When they end at the latest [s].

    Returns:
        The settings.

    """
    profile = {
        "duration": ms(window),
        "sample_interval": ms(window / 10),
        "timeout": ms(timeout),
        "schedule": {"every": ms(every)},
    }
    return {"profiles": {"quick": profile}}


def ms(seconds: float) -> str:
    """
    Write a duration as a configuration has it.

    Args:
        seconds: The duration [s].

    Returns:
        Such as "1500ms".

    """
    return f"{seconds * 1000:.0f}ms"


def memory(pid: int) -> float:
    """
    Read a process's resident memory, counted page by page.

    Args:
        pid: Its id.

    Returns:
        The memory [MB].

    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"no resident memory of {pid}")


@contextlib.contextmanager
def sysdx(
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    command: Sequence[str] = SYSDX,
    profiles: Sequence[str] = ("quick",),
) -> Iterator[Program]:
    """
    Run the daemon.

    Args:
        folder: Takes its configuration, reports and log.
        settings: Configuration beyond address, store and enabled profiles.
        command: How it is started, without the configuration.
        profiles: The profiles that are enabled.

    Yields:
        The program, once it answers; it is ended afterwards.

    """
    port = free_port()
    config: dict[str, Any] = json.loads(json.dumps(settings or {}))
    config["web"] = {"listen_address": f"127.0.0.1:{port}"}
    config["store"] = {"directory": str(folder / "reports")}
    config["schedule"] = {"splay": False}
    for name in ("quick", "standard", "deep"):
        config.setdefault("profiles", {}).setdefault(name, {})["enabled"] = name in profiles
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML too
    with _running([*command, "--config", str(folder / "config.yaml")], port, folder) as program:
        yield program


@contextlib.contextmanager
def peer(
    folder: Path, *flags: str, prefix: Sequence[str] = (), ready: str = "/metrics"
) -> Iterator[Program]:
    """
    Run the peer.

    Args:
        folder: Takes its log.
        flags: Beyond the address.
        prefix: Command that starts it.
        ready: The page that must answer before anything is measured.

    Yields:
        The program; it is ended afterwards.

    """
    port = free_port()
    command = [*prefix, PEER, f"--web.listen-address=127.0.0.1:{port}", *flags]
    with _running(command, port, folder, ready) as program:
        yield program


@contextlib.contextmanager
def _running(
    command: Sequence[str], port: int, folder: Path, ready: str = "/metrics"
) -> Iterator[Program]:
    """Run a server, its log beside what it writes."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        _await(process, port, folder, ready)
        yield Program(process, port, began, time.monotonic(), folder)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int, folder: Path, ready: str) -> None:
    """Wait for the first page."""
    deadline = time.monotonic() + _STARTING
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            fetch(port, ready)
            return
        time.sleep(_POLL)
    raise RuntimeError(f"it does not answer: {(folder / 'log').read_text()[-2000:]}")


def fetch(port: int, path: str = "/metrics", timeout: float = 20.0) -> bytes:
    """
    Fetch a page as Prometheus does, on a connection of its own.

    Args:
        port: Where, on loopback.
        path: The page.
        timeout: Longest wait [s].

    Returns:
        The page, unpacked.

    Raises:
        OSError: When there is no answer, or none of status 200.

    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"{path}: {answer.status}")
        return gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body
    finally:
        connection.close()


def series(page: bytes) -> int:
    """
    Count the series of a page.

    Args:
        page: The page.

    Returns:
        Its lines that are no comment.

    """
    return sum(1 for line in page.splitlines() if line and not line.startswith(b"#"))


def metadata(report: Path) -> dict[str, Any]:
    """
    Read what a report says of its own sweep.

    Args:
        report: Its file.

    Returns:
        Its metadata.

    """
    found: dict[str, Any] = json.loads(gzip.decompress(report.read_bytes()))["metadata"]
    return found


def took(report: Path) -> float:
    """
    Tell how long a sweep took, until its report was on disk.

    Args:
        report: Its file, whose time of writing is the kernel's.

    Returns:
        The time since its start [s].

    """
    started = datetime.fromisoformat(metadata(report)["started_at"])
    return report.stat().st_mtime - started.timestamp()


def free_port() -> int:
    """
    Find a port that nobody listens on.

    Returns:
        The port.

    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def allow_files(count: int) -> None:
    """
    Let this process, and those it starts, open so many files.

    Args:
        count: So many.

    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
