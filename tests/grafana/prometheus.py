"""A real Prometheus on loopback, for as long as a test needs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
QUERY_SECONDS = 30.0
_ATTEMPTS = 5
_RETENTION = "50y"  # blocks with dates of long ago would be deleted at once
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class QueryError(Exception):
    """Prometheus refused a query, with what it said."""


@contextmanager
def running(
    data_dir: Path,
    config_text: str = "",
    binary: str = "prometheus",
    arguments: Sequence[str] = (),
) -> Iterator[str]:
    """
    Run Prometheus over a folder of blocks, until the block of code ends.

    Args:
        data_dir: The folder of its database; an empty one is filled by scrapes.
        config_text: The configuration, as YAML; paths in it must be absolute.
        binary: Which Prometheus to run.
        arguments: More arguments for it.

    Yields:
        Its address, such as "http://127.0.0.1:41234".

    """
    with tempfile.TemporaryDirectory(prefix="sysdx-prometheus-") as name:
        folder = Path(name)
        config = folder / "prometheus.yml"
        config.write_text(config_text or "global: {}\n")
        command = [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={data_dir}",
            f"--storage.tsdb.retention.time={_RETENTION}",
            "--log.level=warn",
            *arguments,
        ]
        program, url = _started(command, folder / "log")
        try:
            yield url
        finally:
            stop(program)


def _started(command: list[str], log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start on a free port; another program may take it first, so it is tried again."""
    for attempt in range(_ATTEMPTS):
        address = f"127.0.0.1:{free_port()}"
        with log.open("wb") as told:
            program = subprocess.Popen(
                [*command, f"--web.listen-address={address}"],
                cwd=log.parent,
                stdout=told,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        url = f"http://{address}"
        if wait_until_ready(program, url):
            return program, url
        stop(program)
        if b"address already in use" not in log.read_bytes() or attempt == _ATTEMPTS - 1:
            break
    said = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{command[0]} is not ready after {READY_SECONDS:g} s and said:\n{said}")


def free_port() -> int:
    """
    Find a port on loopback that nothing listens on.

    Returns:
        Its number.

    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(
    program: subprocess.Popen[bytes], url: str, seconds: float = READY_SECONDS
) -> bool:
    """
    Wait until a program answers at /-/ready.

    Args:
        program: The program; once it has ended there is nothing to wait for.
        url: Its address.
        seconds: How long to wait at most [s].

    Returns:
        Whether it answers.

    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and program.poll() is None:
        try:
            with _NO_PROXY.open(f"{url}/-/ready", timeout=2) as answer:
                if answer.status == 200:
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def stop(program: subprocess.Popen[bytes]) -> None:
    """
    End a program that was started here, and only this one.

    Args:
        program: The program.

    """
    if program.poll() is None:
        os.kill(program.pid, signal.SIGTERM)
    try:
        program.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def api(url: str, path: str, **parameters: Any) -> dict[str, Any]:
    """
    Ask Prometheus's HTTP interface.

    Args:
        url: Where it listens.
        path: Below /api/v1/, such as "query".
        parameters: Of the request; a list is sent once per element, "match" as "match[]".

    Returns:
        The whole answer, warnings included.

    Raises:
        QueryError: When it refuses.

    """
    pairs = {("match[]" if k == "match" else k): v for k, v in parameters.items() if v is not None}
    body = urllib.parse.urlencode(pairs, doseq=True)
    try:
        with _NO_PROXY.open(f"{url}/api/v1/{path}?{body}", timeout=QUERY_SECONDS) as answer:
            said: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            text = refusal.read().decode(errors="replace")
        raise QueryError(text) from None
    return said


def instant(url: str, query: str, at: float) -> list[dict[str, Any]]:
    """
    Evaluate a query at one moment.

    Args:
        url: Where Prometheus listens.
        query: PromQL.
        at: The moment [s since the epoch].

    Returns:
        The series, each with "metric" and "value".

    """
    found: list[dict[str, Any]] = api(url, "query", query=query, time=at)["data"]["result"]
    return found


def ranged(url: str, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
    """
    Evaluate a query over a time.

    Args:
        url: Where Prometheus listens.
        query: PromQL.
        start: From when [s since the epoch].
        end: Until when [s since the epoch].
        step: Between two points [s].

    Returns:
        The series, each with "metric" and "values".

    """
    answer = api(url, "query_range", query=query, start=start, end=end, step=step)
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found
