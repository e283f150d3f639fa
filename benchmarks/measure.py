"""Measuring: programs under test, scrapes, CPU time, resident memory."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PEER = "prometheus-node-exporter"


@dataclass
class Latency:
    """Milliseconds of many scrapes."""

    p50: float
    p99: float
    count: int


def cpu_seconds(pid: int) -> float:
    """Read a process's user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def resident(pid: int) -> float:
    """Read a process's resident memory [MB]."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise ValueError(f"no resident memory of {pid}")


@contextlib.contextmanager
def running(command: list[str], port: int, path: str = "/metrics") -> Iterator[int]:
    """Run a server until it answers; give its process id."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                if fetch(port, path)[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.1)
        else:
            raise RuntimeError(f"{command[0]} did not answer")
        yield server.pid
    finally:
        server.terminate()
        server.wait(20)


def fetch(port: int, path: str) -> tuple[int, bytes]:
    """Fetch a page as Prometheus does, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def scrape(port: int, clients: int, each: int, pause: float) -> Latency:
    """Scrape with several clients at once, each of them pausing between its scrapes."""
    taken: list[float] = []
    lock = threading.Lock()

    def client(number: int) -> None:
        time.sleep(pause * number / clients)
        mine = []
        for _ in range(each):
            began = time.perf_counter()
            status, _ = fetch(port, "/metrics")
            mine.append((time.perf_counter() - began) * 1000)
            assert status == 200
            time.sleep(pause)
        with lock:
            taken.extend(mine)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken.sort()
    return Latency(statistics.median(taken), taken[int(len(taken) * 0.99)], len(taken))


def sweeps(
    prefix: list[str], count: int, duration: float, root: str = ""
) -> list[dict[str, float]]:
    """Run sweeps in a child of their own; give what each cost."""
    child = [*prefix, sys.executable, "-m", "benchmarks.child", str(count), str(duration), root]
    done = subprocess.run(child, capture_output=True, check=True, text=True)
    rows: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def peer_cpu(prefix: list[str], scrapes: int) -> float:
    """Give the CPU time that one scrape costs the peer [ms]; first scrape not counted."""
    from benchmarks.hosts import free_port

    port = free_port()
    code = (
        "import subprocess,sys,time;from benchmarks.measure import *\n"
        f"p={port};n={scrapes}\n"
        f"with running([{_PEER!r},'--web.listen-address=127.0.0.1:%d'%p,"
        "'--collector.processes'],p) as pid:\n"
        "  before=cpu_seconds(pid)\n"
        "  for _ in range(n): fetch(p,'/metrics')\n"
        "  print((cpu_seconds(pid)-before)/n*1000)\n"
    )
    child = [*prefix, sys.executable, "-c", code]
    done = subprocess.run(child, capture_output=True, check=True, text=True)
    return float(done.stdout.splitlines()[-1])


def running_sweep(port: int) -> None:
    """Wait until the service has something to show and is at work on the next."""
    for _ in range(600):
        if b"\nsysdx_health_coverage_ratio " in _plain(port):
            return
        time.sleep(0.1)
    raise RuntimeError("no sweep was published in a minute")


def _plain(port: int) -> bytes:
    """Fetch the metrics without compression."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    finally:
        connection.close()
