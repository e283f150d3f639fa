"""What eBPF probes cost: to compile and attach, in memory, and in speed while they watch."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.page import Budget, Figure, Section, Table, number
from benchmarks.programs import ROOT
from exporter.config import Config

# The budgets are for these; the profiles have one more each.
FOUR = ("runqlat", "biolatency", "tcpconnlat", "tcpretrans")
ELEVEN = (
    *FOUR, "runqlen", "biosnoop", "tcprtt", "profile", "offcputime", "cachestat", "execsnoop",
)  # fmt: skip
_PROFILES = Config().profiles
GROUPS: dict[str, tuple[str, ...]] = {
    "four of standard": FOUR,
    "eleven of deep": ELEVEN,
    "all of standard": tuple(_PROFILES.standard.probes),
    "all of deep": tuple(_PROFILES.deep.probes),
}
_LIBBPF = Path("/usr/sbin")
_STOCK = ("runqlat-bpfcc", "biolatency-bpfcc", "tcpconnlat-bpfcc", "offcputime-bpfcc")
_BLOCK = 4096
_SETTLE = 1.0  # [s] until a peer is attached

Load = Callable[[], float]


class Worker:
    """A worker with its probes attached; it waits for a word to open its window."""

    def __init__(self, probes: Sequence[str], duration: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "collectors.bpf.worker"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._say(json.dumps({"probes": list(probes), "duration": duration, "own": []}))
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def _say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def open(self) -> None:
        """Open the window."""
        self._say("open")


@contextlib.contextmanager
def watching(probes: Sequence[str]) -> Iterator[None]:
    """Keep probes attached, with their window open."""
    worker = Worker(probes, 600.0)
    worker.open()
    time.sleep(0.2)
    try:
        yield
    finally:
        worker.process.kill()
        worker.process.communicate()


@contextlib.contextmanager
def peers(*tools: str) -> Iterator[None]:
    """Keep Debian's libbpf tools attached."""
    running = [
        subprocess.Popen([_LIBBPF / tool, "600"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        for tool in tools
    ]  # fmt: skip
    time.sleep(_SETTLE)
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def compiled(probes: Sequence[str]) -> tuple[float, float]:
    """Compile, load and attach once: CPU time [s], and the worker's largest memory [MB]."""
    worker = Worker(probes, 0.2)
    fields = Path(f"/proc/{worker.process.pid}/schedstat").read_text().split()
    worker.open()
    assert worker.process.stdout is not None
    done = [json.loads(line) for line in worker.process.stdout][-1]
    worker.process.communicate()
    return int(fields[0]) / 1e9, done["peak_memory_bytes"] / 1e6


def stock(tool: str) -> tuple[float, float] | None:
    """Run a stock BCC tool for a second: CPU time [s] and memory [MB]; None when it cannot."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([tool, "1", "1"], stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        return None
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def switches(program: Path, rounds: int) -> float:
    """Nanoseconds of one round of the ping-pong."""
    return float(subprocess.check_output([program, str(rounds)]))


def reads(device: str, count: int) -> float:
    """Nanoseconds of one direct read of a block."""
    block = mmap.mmap(-1, _BLOCK)
    handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
    began = time.perf_counter()
    for number_ in range(count):
        os.preadv(handle, [block], _BLOCK * (number_ % 4000))
    took = time.perf_counter() - began
    os.close(handle)
    return took / count * 1e9


def requests(port: int, count: int) -> float:
    """Nanoseconds of one connection on loopback with a small answer."""
    began = time.perf_counter()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"x")
            connection.recv(64)
    return (time.perf_counter() - began) / count * 1e9


@contextlib.contextmanager
def loads(small: bool) -> Iterator[dict[str, Load]]:
    """Prepare the three loads."""
    scale = 1 if small else 4
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        program, image = Path(folder, "pingpong"), Path(folder, "image")
        source = Path(__file__).with_name("pingpong.c")
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True)
        with image.open("wb") as file:
            file.truncate(16 << 20)
        losetup = ["losetup", "--find", "--show", str(image)]
        device = subprocess.check_output(losetup, text=True).strip()
        threading.Thread(target=_answer, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        try:
            yield {
                "context switches": lambda: switches(program, 40_000 * scale),
                "direct reads": lambda: reads(device, 5_000 * scale),
                "requests": lambda: requests(port, 1_000 * scale),
            }
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)


def _answer(server: socket.socket) -> None:
    """Answer connections until the socket is closed."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(64)
                connection.sendall(b"y")


_VARIANTS: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "nothing": contextlib.nullcontext,
    "runqlat": lambda: watching(("runqlat",)),
    "peer: runqlat": lambda: peers("runqlat"),
    "runqlat, offcputime": lambda: watching(("runqlat", "offcputime")),
    "peer: runqlat, offcputime": lambda: peers("runqlat", "offcputime"),
    "biolatency": lambda: watching(("biolatency",)),
    "peer: biolatency": lambda: peers("biolatency"),
    "all of standard": lambda: watching(GROUPS["all of standard"]),
    "all of deep": lambda: watching(GROUPS["all of deep"]),
}


def slowed(small: bool) -> dict[str, dict[str, float]]:
    """Run the loads under every variant, in turns: variant to load to its best time [ns]."""
    best: dict[str, dict[str, float]] = {name: {} for name in _VARIANTS}
    with loads(small) as prepared:
        for _ in range(2 if small else 5):
            for name, variant in _VARIANTS.items():
                with variant():
                    for load, run_load in prepared.items():
                        took = run_load()
                        best[name][load] = min(took, best[name].get(load, took))
    return best


_SWEEPS = """
import os, sys, threading
from benchmarks.programs import memory
from exporter.app import Source, collectors, options, paths
from exporter.examine import Examiner
from exporter.orchestrator import Orchestrator
from exporter.policy import policy

config = Source().read()
profile = config.profiles.deep.model_copy(update={"duration": 0.3, "sample_interval": 0.1})
sut = Examiner(Orchestrator(collectors(config), paths(config)), policy(config), lambda _: None,
               options=options(config))
for number in range(1, int(sys.argv[1]) + 1):
    sut.examine("deep", profile, "benchmark", threading.Event())
    if number in (1, 10, int(sys.argv[1])):
        print(number, memory(os.getpid()), flush=True)
"""


def remembered(sweeps: int) -> list[tuple[int, float]]:
    """Run deep sweeps in one process: pairs of sweeps and its memory [MB]."""
    told = subprocess.check_output(
        [sys.executable, "-c", _SWEEPS, str(sweeps)], cwd=ROOT, text=True
    )
    return [(int(n), float(mb)) for n, mb in map(str.split, told.splitlines())]


def run(small: bool) -> Section:
    """
    Measure the probes.

    Args:
        small: Whether to do with fewer runs.

    Returns:
        What was found.

    """
    times = 2 if small else 5
    groups = {
        name: list(zip(*(compiled(probes) for _ in range(times)), strict=True))
        for name, probes in GROUPS.items()
    }
    eleven = groups["eleven of deep"]
    best, sweeps = slowed(small), remembered(10 if small else 100)
    base = best["nothing"]
    cost = {v: {k: 100 * (ns / base[k] - 1) for k, ns in row.items()} for v, row in best.items()}
    switch = {v: row["context switches"] for v, row in cost.items()}
    grown = sweeps[-1][1] - sweeps[0][1]
    return Section(
        "eBPF probes",
        "The worker itself compiles, loads and attaches: CPU time up to its word that all is "
        "attached. Slow-down: the best of several runs in turns, against the best with nothing "
        "attached; the ping-pong of two processes on one CPU is the worst there is for a probe on "
        "context switches. Peers are Debian's libbpf-tools, and its bpfcc-tools where they run "
        "without kernel headers.",
        [_compile_table(groups), _slow_table(best, cost), _memory_table(sweeps)],
        [
            Budget("eleven probes compiled, loaded, attached", 0.5, Figure(tuple(eleven[0]), "s"),
                   Figure(tuple(eleven[0]), "s").median),
            Budget("worker's largest memory, eleven probes", 160, Figure(tuple(eleven[1]), "MB"),
                   max(eleven[1])),
            Budget("context switches under runqlat", 25, Figure((switch["runqlat"],), "%"),
                   switch["runqlat"], Figure((switch["peer: runqlat"],), "%")),
            Budget("context switches under runqlat and offcputime", 110,
                   Figure((switch["runqlat, offcputime"],), "%"), switch["runqlat, offcputime"],
                   Figure((switch["peer: runqlat, offcputime"],), "%")),
            Budget(f"daemon's growth over {sweeps[-1][0]} deep sweeps", 5, Figure((grown,), "MB"),
                   grown),
        ],
    )  # fmt: skip


def _compile_table(groups: Mapping[str, list[tuple[float, ...]]]) -> Table:
    """Show what it takes to attach."""
    rows = [
        [f"{name}: {len(GROUPS[name])}", str(Figure(seconds, "s")), str(Figure(memory, "MB"))]
        for name, (seconds, memory) in groups.items()
    ]
    for tool in _STOCK:
        found = stock(tool)
        told = (
            [f"{number(found[0])} s", f"{number(found[1])} MB"] if found else ["does not run"] * 2
        )
        rows.append([f"peer: {tool} alone", *told])
    return Table(("attached", "CPU time", "largest memory"), rows)


def _slow_table(best: dict[str, dict[str, float]], cost: dict[str, dict[str, float]]) -> Table:
    """Show how loads slow down."""
    names = list(best["nothing"])
    rows = [
        [variant, *(f"{number(row[n] / 1000)} us, {cost[variant][n]:+.0f} %" for n in names)]
        for variant, row in best.items()
    ]
    return Table(("attached", *names), rows)


def _memory_table(sweeps: list[tuple[int, float]]) -> Table:
    """Show the daemon's memory."""
    return Table(
        ("deep sweeps", "daemon's memory"), [[str(n), f"{number(mb)} MB"] for n, mb in sweeps]
    )
