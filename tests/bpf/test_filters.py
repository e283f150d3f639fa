"""Filters by process and control group: the same load within and beside, and only one counts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from collectors.bpf.probe import discover
from tests.bpf import workloads
from tests.bpf.net import every_record
from tests.bpf.untold import nearly

__all__ = ["every_record"]

ROOT = Path(__file__).parents[2]
NAPS, OPENS, CHILDREN, CONNECTS, CALLS, SIGNALS, SYNCS = 31, 13, 7, 5, 10_007, 11, 3
PROBES = (
    "cpudist", "execsnoop", "exitsnoop", "fsync", "killsnoop", "offcputime", "opensnoop", "profile",
    "runqlat", "runqslower", "syscount", "tcpconnlat", "tcplife", "wakeuptime",
)  # fmt: skip
FILE = "/etc/hostname"

# On one CPU with all its likes, so that it waits for most of its time.
LOAD = """
import signal, socket, subprocess, tempfile
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
def waited():
    return int(open("/proc/self/schedstat").read().split()[1]) / 1e9
before, cpu = waited(), time.process_time()
until = time.process_time() + 0.3
while time.process_time() < until: pass
for _ in range(naps): time.sleep(0.002)
told["waited"] = waited() - before
told["cpu"] = time.process_time() - cpu
for _ in range(opens): os.close(os.open(file, os.O_RDONLY))
for _ in range(children): os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
for _ in range(connects):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
for _ in range(calls): os.getppid()
for _ in range(signals): os.kill(os.getpid(), signal.SIGUSR1)
with tempfile.TemporaryFile(dir=folder) as kept:
    for _ in range(syncs): os.fsync(kept.fileno())
"""


def unified():
    """Ask another program where the hierarchy of version 2 is mounted."""
    command = ["findmnt", "--noheadings", "--first-only", "--output", "TARGET", "-t", "cgroup2"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return Path(found or "/sys/fs/cgroup")


@pytest.fixture
def group():
    """Make two control groups (v2) one below the other; gives the lower one's path."""
    base = unified()
    upper = base / f"sysdx-test-{os.getpid()}"
    lower = upper / "inner"
    try:
        lower.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    if not (lower / "cgroup.procs").exists():
        pytest.skip("control groups of version 2 are not mounted")
    yield lower
    for one in (lower, upper):
        _remove(one)


def _answer(server):
    """Close each connection when the other side has, until there is no server any more."""
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)


def _remove(group):
    deadline = time.monotonic() + 10
    while group.exists():
        try:
            group.rmdir()
        except OSError:  # what ended may not have left yet
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0), backlog=64) as made:
        answering = threading.Thread(target=_answer, args=(made,))
        answering.start()
        yield made
        made.shutdown(socket.SHUT_RDWR)
        answering.join()


@pytest.fixture
def crowd(tmp_path, server):
    """Prepare the load four times: the first one is to be told of."""
    known = {
        "naps": NAPS, "opens": OPENS, "children": CHILDREN, "connects": CONNECTS, "calls": CALLS,
        "signals": SIGNALS, "syncs": SYNCS, "file": FILE, "folder": str(tmp_path),
        "port": server.getsockname()[1],
    }  # fmt: skip
    programs = [workloads.Program(name, LOAD, **known) for name in ("within", *["beside"] * 3)]
    for one in programs:
        os.sched_setaffinity(one.pid, {min(os.sched_getaffinity(0))})
    yield programs
    for one in programs:
        one.end()


def run_all(programs):
    with ThreadPoolExecutor(len(programs)) as pool:
        return list(pool.map(lambda one: one.run(), programs))


def options(by, pid, group):
    """Give the filter as the command line does; a group holds what is in the groups below it."""
    (group / "cgroup.procs").write_text(str(pid))
    paths = {"mounted path": str(group.parent), "path": "/" + str(group.relative_to(unified()))}
    return {"pid": pid} if by == "pid" else {"cgroup": paths[by]}


@pytest.mark.parametrize("by", ["pid", "mounted path", "path"])
def test_only_what_is_within_counts(observe, every_record, group, crowd, by):
    pid = crowd[0].pid
    chosen = options(by, pid, group)
    seen = observe(*PROBES, load=lambda: run_all(crowd), top=1000, **chosen)
    # Children are other processes, but of the same group.
    children = 0 if by == "pid" else CHILDREN
    started, ended = seen["execsnoop"].records, seen["exitsnoop"].records
    assert [r["parent_pid"] for r in started] == [pid] * children
    assert [r["comm"] for r in ended] == ["true"] * children + ["within"]
    _counts_are_those_of_one(seen)
    _times_are_those_of_one(seen)
    _names_are_those_of_one(seen, {"within", "true"} if children else {"within"})


def _row(rows, **wanted):
    (found,) = workloads.of(rows, **wanted)
    return found


def _counts_are_those_of_one(seen):
    assert _row(seen["opensnoop"].tops["file"], file=FILE)["count"] == OPENS
    assert _row(seen["syscount"].tops["count"], syscall="getppid")["count"] == CALLS
    assert _row(seen["killsnoop"].tops["signal"], signal="SIGUSR1")["count"] == SIGNALS
    assert seen["fsync"].events == SYNCS
    assert seen["tcpconnlat"].values["attempts"] == CONNECTS
    assert seen["tcplife"].values["connections"] == CONNECTS


def _times_are_those_of_one(seen):
    within, *_ = seen.told
    for name, kind in (("runqlat", "waited"), ("cpudist", "cpu")):
        (spread,) = seen[name].histograms
        assert 0.9 * within[kind] <= spread.sum <= 0.5 * sum(one[kind] for one in seen.told)


def _names_are_those_of_one(seen, names):
    pairs = seen["wakeuptime"].tops["pairs"]
    found = {
        "offcputime": {row["comm"] for row in seen["offcputime"].tops["processes"]},
        "profile": {row["comm"] for row in seen["profile"].tops["processes"]},
        "runqslower": {row["comm"] for row in seen["runqslower"].records},
        "opensnoop": {row["comm"] for row in seen["opensnoop"].records},
        "wakeuptime": {row["woken"] for row in pairs},
    }
    assert [n for n, seen_names in found.items() if not {"within"} <= seen_names <= names] == []
    assert seen["offcputime"].histograms[0].count >= nearly(NAPS)


def test_a_probe_says_that_it_filters_exactly_when_it_does():
    def does(probe):
        text = probe.shared + "".join(part.body for part in probe.parts)
        return "alien_(" in text

    assert [n for n, probe in discover().items() if does(probe) != bool(probe.filters)] == []
    assert {probe.filters for probe in discover().values()} == {(), ("pid", "cgroup")}


def test_a_probe_that_cannot_filter_says_that_it_tells_of_the_whole_host(observe):
    seen = observe("biolatency", "runqlat", pid=os.getpid())
    (said,) = seen["biolatency"].notes
    assert said == "it tells of the whole host: its events cannot be told by pid"
    assert seen["runqlat"].notes == ()


def test_a_control_group_that_is_not_there_is_said_before_anything_is_done():
    command = [sys.executable, "-m", "exporter", "sweep", "--profile", "standard"]
    done = subprocess.run(
        [*command, "--cgroup", "/no/such.slice"], capture_output=True, text=True, check=False,
        cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (64, "")
    assert "there is no control group /no/such.slice" in done.stderr
