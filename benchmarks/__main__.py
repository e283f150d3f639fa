"""Run the benchmarks and write benchmarks/RESULTS.md: `./dev bench [--fast]`."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import hosts, measure

_RESULTS = Path(__file__).with_name("RESULTS.md")
Row = tuple[str, ...]


def main() -> None:
    """Measure every line and write the page."""
    fast = "--fast" in sys.argv
    parts = [_head(), *(part(fast) for part in (_cost, _memory, _scrapes))]
    _RESULTS.write_text("\n".join(parts))
    print(_RESULTS.read_text())


def _head() -> str:
    """Say what was measured on what."""
    model = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines()
         if x.startswith("model name")), "unknown processor",
    )  # fmt: skip
    peer = subprocess.run(
        ["prometheus-node-exporter", "--version"], capture_output=True, text=True, check=True
    )
    version = (peer.stdout or peer.stderr).split("(")[0].strip()
    return (
        "# Results of a run of `./dev bench`\n\n"
        f"{hosts.os.cpu_count()} CPUs ({model}), kernel {platform.release()}, "
        f"Python {platform.python_version()}. Peer in the same run: {version}, with "
        "`--collector.processes`. Times differ from machine to machine; the ratios are what "
        "counts.\n"
    )


def _table(header: Row, rows: list[Row]) -> str:
    """Write a table."""
    lines = ["| " + " | ".join(row) + " |" for row in (header, ("---",) * len(header), *rows)]
    return "\n".join(lines) + "\n"


def _cost(fast: bool) -> str:
    """Measure the CPU time of quick sweeps on hosts of different size."""
    rows: list[Row] = []
    base: list[float] = []

    def add(name: str, prefix: list[str], root: str = "", peer: bool = True) -> None:
        done = measure.sweeps(prefix, 2 if fast else 4, 10.0, root)[1:]
        cpu = statistics.median(r["cpu_ms"] for r in done)
        beyond = max(r["beyond_s"] for r in done)
        base.append(cpu)
        other = measure.peer_cpu(prefix, 10) if peer else 0.0
        rows.append(
            (name, f"{cpu:.0f} ms", f"{cpu / base[0]:.1f}", f"{beyond:.2f} s",
             f"{done[-1]['series']:.0f}", f"{other:.1f} ms" if peer else "-",
             f"{cpu / 10 / other:.2f}" if peer else "-")
        )  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)

    running = sum(1 for p in Path("/proc").iterdir() if p.name.isdigit())
    with hosts.processes(max(100 - running, 0)):
        add("100 processes", [])
    with hosts.processes(max(2_000 - running, 0)):
        add("2,000 processes", [])
    with hosts.sockets(10_000):
        add("10,000 sockets", [])
    with hosts.interfaces(500) as inside:
        add("500 interfaces", inside)
    with tempfile.TemporaryDirectory() as folder:
        add("1,024 CPUs (written tables)", [], str(hosts.many_cpus(Path(folder), 1024)), peer=False)
    header = ("host", "CPU of a quick sweep", "against the first", "longer than its window",
              "series", "one scrape of the peer", "one of 11 samples against it")  # fmt: skip
    share = base[0] / 1000 / 60 * 100
    return (
        "## CPU of a quick sweep (10 s, eleven samples; report and metrics rendered)\n\n"
        f"{_table(header, rows)}\n"
        f"Every 60 s that is {share:.2f} % of one core on the first host. "
        "Budgets: 60 ms, 1 % of one core, 1.5 s beyond the window.\n"
    )


def _memory(fast: bool) -> str:
    """Measure how resident memory grows over many sweeps."""
    count = 60 if fast else 500
    done = measure.sweeps([], count, 0.2)
    early, last = done[count // 10]["rss_mb"], done[-1]["rss_mb"]
    rows = [(str(count), f"{done[0]['rss_mb']:.1f} MB", f"{early:.1f} MB", f"{last:.1f} MB",
             f"{last - early:.2f} MB")]  # fmt: skip
    header = ("sweeps", "after the first", f"after {count // 10}", "after the last", "growth")
    return f"## Resident memory\n\n{_table(header, rows)}\nBudgets: 60 MB, growth 2 MB.\n"


def _scrapes(fast: bool) -> str:
    """Measure scrapes of the running service while one of its collectors hangs."""
    each = 100 if fast else 400
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, hosts.hanging_file(Path(folder, "x")) as proc:
        port, other = hosts.free_port(), hosts.free_port()
        sysdx = [str(Path(sys.executable).with_name("sysdx")), "serve", "--path.procfs", str(proc),
                 "--web.listen-address", f"127.0.0.1:{port}"]  # fmt: skip
        peer = ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{other}"]
        with measure.running(sysdx, port) as pid, measure.running(peer, other) as peer_pid:
            measure.running_sweep(port)
            for clients in (1, 40):
                row: list[str] = [str(clients)]
                found = []
                for where in (port, other):
                    pause = 0.02 if clients == 1 else 0.5
                    latency = measure.scrape(
                        where, clients, each // (1 if clients == 1 else 10), pause
                    )
                    found.append(latency)
                    row += [f"{latency.p50:.2f} ms", f"{latency.p99:.2f} ms"]
                row.append(f"{found[0].p50 / found[1].p50:.2f}")
                rows.append(tuple(row))
                print(row, file=sys.stderr, flush=True)
            memory = (measure.resident(pid), measure.resident(peer_pid))
    header = ("clients", "sysdx p50", "p99", "peer p50", "p99", "p50 against the peer")
    return (
        "## Scrapes of /metrics while a collector hangs\n\n"
        "One client scrapes every 20 ms; forty scrape every 500 ms each.\n\n"
        f"{_table(header, rows)}\n"
        f"Resident: sysdx {memory[0]:.1f} MB, peer {memory[1]:.1f} MB. "
        "Budgets: p50 2 ms, p99 10 ms.\n"
    )


Part = Callable[[bool], str]

if __name__ == "__main__":
    main()
