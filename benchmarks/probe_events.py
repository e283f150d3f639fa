"""
What one event costs in each eBPF program: `python -m benchmarks.probe_events [PROBE...]`.

The kernel itself measures it (kernel.bpf_stats_enabled, set for that time only): the time within
the program, without the way into it. One probe at a time is attached, and sees a load that makes
many of its events.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.page import Table
from benchmarks.probes import Worker, loads
from benchmarks.programs import ROOT

_STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
_BLOCK = 4096
_BURN = 3.0  # [s]
_PAUSE = 0.06  # [s]: the worker looks into its buffers every 50 ms
# The programs of each probe that this kernel can run, in the order in which they are loaded.
_PLANS = """
import json, sys
from collectors.bpf import probe, process, source
from collectors.bpf.btf import VMLINUX, Btf
host = source.Host(process.Place().tracefs, Btf(VMLINUX.read_bytes()))
plans = {name: source.plan(probe.load(name), host) for name in sys.argv[1:]}
print(json.dumps({name: [p.part.on for p in getattr(plan, "programs", ())]
                  for name, plan in plans.items()}))
"""
# Four processes write to one file in turns.
_CONTEND = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
forks = [os.fork() for _ in range(2)]
for _ in range(20_000): os.pwrite(file, b"x" * 4096, 0)
"""


def _starts() -> None:
    """Start programs that end at once."""
    for _ in range(300):
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def _paced(times: int, do: Callable[[], object]) -> None:
    """Do something so slowly that no ring buffer is full, which would be cheaper."""
    for number in range(times):
        do()
        if number % 100 == 0:
            time.sleep(_PAUSE)


def _opens() -> None:
    """Open a file."""
    _paced(2_000, lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)))


def _calls() -> None:
    """Make a system call that does nothing."""
    for _ in range(200_000):
        os.getppid()


def _signals() -> None:
    """Send signals that are ignored."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    _paced(2_000, lambda: os.kill(os.getpid(), signal.SIGUSR1))


def _syncs() -> None:
    """Have a file in memory written back."""
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        for _ in range(20_000):
            os.fsync(file.fileno())


def _packets() -> None:
    """Receive packets, and send as many to nobody."""
    with socket.socket(type=socket.SOCK_DGRAM) as here, socket.socket(type=socket.SOCK_DGRAM) as to:
        here.bind(("127.0.0.1", 0))
        for _ in range(10_000):
            to.sendto(b"x", here.getsockname())
            here.recv(1)
            to.sendto(b"x", ("127.0.0.1", 9))


def _cached_reads() -> None:
    """Read from the page cache, and write a file into it."""
    with tempfile.TemporaryFile() as file:
        for number in range(20_000):
            os.pwrite(file.fileno(), b"x", _BLOCK * number)
        for number in range(20_000):
            os.pread(file.fileno(), _BLOCK, _BLOCK * number)


def _disk_reads() -> None:
    """Read from the disk itself."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x" * _BLOCK * 2000)
        file.flush()
        os.fsync(file.fileno())
        handle, block = os.open(file.name, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, _BLOCK)
        for number in range(2000):
            os.preadv(handle, [block], _BLOCK * number)
        os.close(handle)


def _contend() -> None:
    """Let programs wait for a lock of the kernel."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        subprocess.run([sys.executable, "-c", _CONTEND, file.name], check=True)


def _compact() -> None:
    """Ask for compaction."""
    for _ in range(30):
        Path("/proc/sys/vm/compact_memory").write_text("1")


def _burn() -> None:
    """Use a CPU."""
    until = time.process_time() + _BURN
    while time.process_time() < until:
        pass


def _names() -> None:
    """Ask a name server, and have its answer; half of it is the server's, which leaves at once."""
    kind = socket.SOCK_DGRAM
    with socket.socket(type=kind) as server, socket.socket(type=kind) as client:
        server.bind(("127.0.0.1", 53))
        client.connect(("127.0.0.1", 53))
        for _ in range(10_000):
            client.send(b"x" * 30)
            server.sendto(*server.recvfrom(64))
            client.recv(64)


_OWN: dict[str, Callable[[], None]] = {
    "cachestat": _cached_reads, "compaction": _compact, "contention": _contend, "dnslat": _names,
    "execsnoop": _starts, "exitsnoop": _starts, "fsync": _syncs, "hardirqs": _disk_reads,
    "killsnoop": _signals, "opensnoop": _opens, "profile": _burn, "runqlen": _burn,
    "softirqs": _packets, "syscount": _calls, "tcpdrop": _packets,
}  # fmt: skip
_SHARED = {
    "context switches": ("cpudist", "offcputime", "runqlat", "runqslower", "wakeuptime"),
    "direct reads": ("biolatency", "biosnoop", "bitesize"),
    "requests": ("tcpconnlat", "tcplife", "tcprtt", "tcpstates"),
}


@contextlib.contextmanager
def _counting() -> Iterator[None]:
    """Have the kernel measure its programs; that costs each a little, so not for ever."""
    before = _STATS.read_text()
    try:
        _STATS.write_text("1")
        yield
    finally:
        _STATS.write_text(before)


def _read(pid: int) -> list[tuple[int, int]]:
    """Read for each program how often it ran and how long [ns], in the order of loading."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if link.readlink().name == "anon_inode:bpf-prog":
            lines = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().splitlines()
            known = {name: word for name, _, word in (line.partition(":\t") for line in lines)}
            times = int(known["run_cnt"]), int(known["run_time_ns"])
            found[int(known["prog_id"])] = times
    return [found[number] for number in sorted(found)]


def _measure(probe: str, load: Callable[[], object]) -> list[tuple[int, float]]:
    """Attach one probe and let a load run: for each program its runs and the time of each [ns]."""
    worker = Worker((probe,), 600.0)
    try:
        worker.open()
        time.sleep(0.2)
        before = _read(worker.process.pid)
        load()
        after = _read(worker.process.pid)
    finally:
        worker.process.kill()
        worker.process.communicate()
    pairs = ((b[0] - a[0], b[1] - a[1]) for a, b in zip(before, after, strict=True))
    return [(runs, ns / runs if runs else 0.0) for runs, ns in pairs]


def measured(wanted: Sequence[str] = ()) -> Table:
    """
    Measure probes.

    Args:
        wanted: Their names; all that have a load when there are none.

    Returns:
        One row for each program.

    """
    rows = []
    with _counting(), loads(small=True) as prepared:
        all_loads: dict[str, Callable[[], object]] = dict(_OWN)
        all_loads |= {name: prepared[kind] for kind, names in _SHARED.items() for name in names}
        names = [name for name in sorted(all_loads) if not wanted or name in wanted]
        command = [sys.executable, "-c", _PLANS, *names]
        plans = json.loads(subprocess.check_output(command, cwd=ROOT, text=True))
        for name in names:
            found = _measure(name, all_loads[name])
            for on, (runs, ns) in zip(plans[name], found, strict=True):
                rows.append([name, on, f"{runs:,}", f"{ns:.0f}"])
    return Table(("probe", "program on", "runs", "ns per run"), rows)


if __name__ == "__main__":
    sys.stdout.write(f"{measured(sys.argv[1:])}\n")
