"""Hosts of different size: processes, sockets, interfaces, CPUs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 2_000


@contextlib.contextmanager
def processes(count: int) -> Iterator[None]:
    """Run so many sleeping processes more."""
    sleepers = [subprocess.Popen(["sleep", "3600"]) for _ in range(count)]
    try:
        yield
    finally:
        for sleeper in sleepers:
            sleeper.kill()
        for sleeper in sleepers:
            sleeper.wait()


_HOLD = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0), backlog=1024)
held = []
for _ in range(int(sys.argv[1])):
    held.append(socket.create_connection(server.getsockname()))
    held.append(server.accept()[0])
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def sockets(count: int) -> Iterator[None]:
    """Hold so many established TCP sockets on loopback."""
    holders = []
    for _ in range(0, count, _CHUNK):
        holder = subprocess.Popen(
            ["sh", "-c", 'ulimit -n 20000; exec "$@"', "sh", sys.executable, "-c", _HOLD,
             str(_CHUNK // 2)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert holder.stdout is not None
        holder.stdout.readline()
        holders.append(holder)
    try:
        yield
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


@contextlib.contextmanager
def interfaces(count: int) -> Iterator[list[str]]:
    """Make a network namespace with so many interfaces; give the command prefix to run in it."""
    name = f"sysdx-bench-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    inside = ["ip", "netns", "exec", name]
    lines = ["link set lo up"]
    lines += [f"link add v{n}a type veth peer name v{n}b" for n in range(count // 2)]
    lines += [f"link set v{n}{side} up" for n in range(count // 2) for side in "ab"]
    try:
        batch = "\n".join(lines).encode()
        subprocess.run([*inside, "ip", "-batch", "-"], input=batch, check=True)
        yield inside
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def many_cpus(root: Path, count: int) -> Path:
    """Build a root that is this host's, but with so many CPUs in its tables."""
    proc, system = root / "proc", root / "sys"
    proc.mkdir(parents=True)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            (proc / entry.name).symlink_to(entry)
    for name in ("stat", "interrupts", "softirqs"):
        raw = Path("/proc", name).read_text()
        (proc / name).unlink()
        (proc / name).write_text(_widen(name, raw, count))
    (system / "devices/system/cpu").mkdir(parents=True)
    (system / "devices/system/cpu/online").write_text(f"0-{count - 1}\n")
    for name in ("block", "class", "fs", "kernel"):
        (system / name).symlink_to(Path("/sys") / name)
    for entry in Path("/sys/devices").iterdir():
        if entry.name != "system":
            (system / "devices" / entry.name).symlink_to(entry)
    return root


def _widen(name: str, raw: str, count: int) -> str:
    """Write a table of this host as one with more CPUs has it."""
    lines = raw.splitlines()
    if name == "stat":
        rest = [line for line in lines if not line.startswith("cpu")]
        ticks = next(line for line in lines if line.startswith("cpu0")).split()[1:]
        cpus = [f"cpu{n} " + " ".join(ticks) for n in range(count)]
        return "\n".join([lines[0], *cpus, *rest]) + "\n"
    header = " " * 12 + " ".join(f"CPU{n}" for n in range(count))
    old = len(lines[0].split())
    rows = []
    for line in lines[1:]:
        head, *fields = line.split()
        if len(fields) >= old:
            fields = [fields[0]] * count + fields[old:]
        rows.append(" ".join([head, *fields]))
    return "\n".join([header, *rows]) + "\n"


@contextlib.contextmanager
def hanging_file(root: Path) -> Iterator[Path]:
    """Build a procfs in which one collector's file never answers; give its path."""
    proc = root / "proc"
    proc.mkdir(parents=True)
    for entry in Path("/proc").iterdir():
        if entry.name != "pressure" and not entry.name.isdigit():
            (proc / entry.name).symlink_to(entry)
    (proc / "pressure").mkdir()
    for name in ("cpu", "memory", "io"):
        os.mkfifo(proc / "pressure" / name)
    try:
        yield proc
    finally:
        shutil.rmtree(root)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
