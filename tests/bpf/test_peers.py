"""
Probes against Debian's libbpf-tools, which watch the same load at the same time.

Those of these tools that need kprobes or fentry are not here, as the kernels of small virtual
machines have neither: tcpconnlat, tcprtt, cachestat, biosnoop, oomkill, klockstat; runqlen needs
a structure of another kernel. runqlat has its test with the probe's others.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest

from collectors.bpf.model import Bucket, quantile
from tests.bpf import programs, workloads
from tests.bpf.net import V4, every_record, net, told_of
from tests.bpf.peers import beside, histograms, needs_peers, slots, table
from tests.bpf.untold import nearly

__all__ = ["beside", "every_record", "net"]

pytestmark = needs_peers

NANOSECOND, MICROSECOND, KILOBYTE = 1e-9, 1e-6, 1024


def quantiles(counts):
    """Estimate the median and the ninth decile, as the reports do."""
    buckets = tuple(Bucket(le, count) for le, count in sorted(counts.items()) if count)
    return [quantile(buckets, share) for share in (0.5, 0.9)]


def alike(ours, theirs, unit, factor=1.5):
    """Whether both quantiles are near: a histogram that is one bucket off differs by 2."""
    pairs = zip(quantiles(slots(ours)), quantiles(theirs), strict=True)
    return all(1 / factor < mine / (other * unit) < factor for mine, other in pairs)


SIZES = {4096: 300, 16384: 200, 65536: 100, 262144: 50}
READ = """
handle = os.open(device, os.O_RDONLY | os.O_DIRECT)
for size, times in sizes.items():
    block = mmap.mmap(-1, size)
    for number in range(times):
        os.preadv(handle, [block], number * size)
"""


def test_block_requests_take_and_ask_for_what_others_see(observe, beside, tmp_path):
    with workloads.loop_device(tmp_path / "image") as device:
        disk = Path(device).name
        reader = workloads.Program("peer-reads", READ, device=device, sizes=SIZES)
        tools = (f"biolatency -d {disk}", f"bitesize -d {disk}")
        seen = observe("biolatency", "bitesize", load=lambda: beside(reader.run, *tools))
    _, took, asked = seen.told
    wanted = {"device": disk, "operation": "read"}
    latency, size = (
        next(h for h in seen[name].histograms if h.labels == wanted)
        for name in ("biolatency", "bitesize")
    )
    theirs = histograms(took)[""]
    assert latency.count == sum(theirs.values()) >= sum(SIZES.values())
    assert alike(latency, theirs, MICROSECOND)
    # All sizes are powers of two, which are the upper edge of our buckets, the lower of theirs.
    counts = {e // 2 * KILOBYTE: n for e, n in histograms(asked)["peer-reads"].items() if n}
    assert slots(size) == counts


def test_a_burner_among_sleepers_runs_as_long_as_others_see(observe, beside, native):
    burners = [native("burn", 2.0, cpu=0) for _ in range(2)]
    sleeper = native("sleep", 100_000, 500, cpu=0)
    pid = burners[0].pid

    def load():
        for one in (sleeper, *burners):
            one.go()
        for one in burners:
            one.took()
        sleeper.process.kill()

    # The peer has only the stretches that ended by force, which are all that a burner has.
    seen = observe("cpudist", pid=pid, load=lambda: beside(load, f"cpudist -p {pid}"))
    (ours,), theirs = seen["cpudist"].histograms, histograms(seen.told[1])[""]
    assert sum(theirs.values()) > 300
    assert ours.count == pytest.approx(sum(theirs.values()), rel=0.02, abs=5)
    assert alike(ours, theirs, MICROSECOND)


def test_slow_waits_are_those_that_others_see(observe, beside, native, every_record):
    burners = [native("burn", 1.5, cpu=0) for _ in range(7)]
    pid = burners[0].pid

    def load():
        for one in burners:
            one.go()
        for one in burners:
            one.took()

    seen = observe("runqslower", pid=pid, load=lambda: beside(load, f"runqslower -p {pid}"))
    ours = [r["waited_seconds"] for r in seen["runqslower"].records]
    theirs = [float(row[3]) * MICROSECOND for row in table(seen.told[1], 4) if row[2] == str(pid)]
    assert len(theirs) > 20
    # Under a filter, ours does not know the wait before the first turn.
    assert ours == pytest.approx(theirs[-len(ours) :], abs=1e-3)
    assert len(ours) >= len(theirs) - 1


def asleep(text, function=""):
    """Add up the stacks with a function that offcputime or wakeuptime wrote, sums below [us]."""
    blocks = [block for block in text.split("\n\n") if function in block]
    return (
        sum(int(n) for b in blocks for n in re.findall(r"^\s+(\d+)$", b, re.MULTILINE))
        * MICROSECOND
    )


NAPS = """
for _ in range(97):
    time.sleep(0.005)
for _ in range(7):
    try:
        os.rmdir("/none")
    except FileNotFoundError:
        pass
"""


def test_a_sleeper_sleeps_and_calls_as_others_see(observe, beside):
    program = workloads.Program("peer-naps", NAPS)
    pid = program.pid
    tools = (f"offcputime -p {pid}", f"wakeuptime -p {pid}", f"syscount -p {pid} -L -T 100")
    names = ("offcputime", "wakeuptime", "syscount")
    seen = observe(*names, pid=pid, top=100, load=lambda: beside(program.run, *tools))
    _, off, woken, calls = seen.told
    naps = [s.value for s in seen["offcputime"].stacks if any("nanosleep" in f for f in s.frames)]
    assert sum(naps) * MICROSECOND > nearly(97) * 0.005
    # The tool counts waits of the preempted too, in stacks of their own.
    assert sum(naps) * MICROSECOND == pytest.approx(asleep(off, "nanosleep"), rel=0.01)
    # Ours misses a wake-up that comes while another of our programs runs, theirs does not.
    assert 0.9 < seen["wakeuptime"].values["asleep_seconds"] / asleep(woken) < 1.02
    theirs = {name: (int(n), float(us)) for name, n, us in table(calls, 3)[1:]}
    rows = {r["syscall"]: r for r in seen["syscount"].tops["count"]}
    # The tool comes into a call of reading that had begun before.
    assert {n: r["count"] for n, r in rows.items()} == {n: c for n, (c, _) in theirs.items()}
    nap, (_, microseconds) = rows["clock_nanosleep"], theirs["clock_nanosleep"]
    assert nap["seconds"] == pytest.approx(microseconds * MICROSECOND, rel=0.02)


@pytest.fixture
def disk_and_network(tmp_path):
    """Make a load that reads from a real disk, and receives packets."""
    file = tmp_path / "data"
    file.write_bytes(os.urandom(4096 * 499))
    os.sync()
    handle = os.open(file, os.O_RDONLY | os.O_DIRECT)
    block = mmap.mmap(-1, 4096)

    def load():
        for number in range(499):
            os.preadv(handle, [block], 4096 * number)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            for _ in range(1997):
                one.sendto(b"x", one.getsockname())
                one.recv(1)

    yield load
    os.close(handle)


def test_interrupts_take_as_long_as_others_see(observe, beside, disk_and_network):
    tools = ("hardirqs -d -N", "softirqs -d -N")
    seen = observe("hardirqs", "softirqs", load=lambda: beside(disk_and_network, *tools))
    theirs = {n.upper(): h for text in seen.told[1:] for n, h in histograms(text).items()}
    disk = seen["hardirqs"].histograms[0]
    (packets,) = [
        h
        for h in seen["softirqs"].histograms
        if (h.family, h.labels["vector"]) == ("sysdx_softirq_seconds", "NET_RX")
    ]
    for ours, peer in ((disk, theirs[disk.labels["irq"].upper()]), (packets, theirs["NET_RX"])):
        assert ours.count == pytest.approx(sum(peer.values()), rel=0.1)
        # Each of the two programs adds to the few microseconds that the other one sees.
        assert alike(ours, peer, NANOSECOND, 1.7), (slots(ours), peer)


EVENTS = """
import subprocess
for code in (0, 0, 0, 3, 3, 42):
    subprocess.run(["/bin/sh", "-c", f"exit {code}"])
for _ in range(17):
    os.close(os.open("/etc/passwd", os.O_RDONLY))
for _ in range(5):
    try:
        os.open("/none", os.O_RDONLY)
    except FileNotFoundError:
        pass
for _ in range(2):
    try:
        os.posix_spawn("/none/missing", ["missing"], {})
    except FileNotFoundError:
        pass
child = subprocess.Popen(["/bin/sleep", "9"])
for _ in range(11):
    os.kill(child.pid, signal.SIGCONT)
child.kill()
child.wait()
"""


def test_single_events_are_those_that_others_see(observe, beside, every_record):
    with programs.Program(EVENTS) as one:
        pid = one.pid
        tools = ("execsnoop -x", "exitsnoop", f"opensnoop -p {pid}", f"killsnoop -p {pid}")
        names = ("execsnoop", "exitsnoop", "opensnoop", "killsnoop")
        seen = observe(*names, load=lambda: beside(one.work, *tools))
    _, started, ended, opened, sent = seen.told
    _same_starts(told_of(seen["execsnoop"].records, parent_pid=pid), started, pid)
    _same_ends(told_of(seen["exitsnoop"].records, parent_pid=pid), ended, pid)
    ours = [
        (r["file"], number_of(r["error"])) for r in seen["opensnoop"].records if r["pid"] == pid
    ]
    theirs = [(path, int(error)) for _, _, _, error, path in table(opened, 5)]
    assert sorted(ours) == sorted(theirs)
    assert Counter(error for _, error in ours)[errno.ENOENT] == 5
    ours = [(r["signal"], r["target_pid"]) for r in seen["killsnoop"].records if r["pid"] == pid]
    theirs = [(signal.Signals(int(n)).name, int(to)) for _, _, _, n, to, _ in table(sent, 6)]
    assert sorted(ours) == sorted(theirs)
    assert len(ours) == 12


def number_of(error):
    return 0 if error is None else getattr(errno, error)


def _same_starts(ours, text, parent):
    rows = [row for row in table(text, 5) if row[2] == str(parent)]
    theirs = [(int(pid), -int(result)) for _, pid, _, result, _ in rows]
    assert sorted((r["pid"], number_of(r["error"])) for r in ours) == sorted(theirs)
    assert len(theirs) == 9


def _same_ends(ours, text, parent):
    rows = [row for row in table(text, 6) if row[2] == str(parent)]
    told = {int(pid): (float(age), how) for _, pid, _, _, age, how in rows}
    assert len(told) == 9
    for row in ours:
        age, how = told.pop(row["pid"])
        assert row["seconds"] == pytest.approx(age, abs=0.0051)
        number = row["code"] if row["signal"] is None else getattr(signal, row["signal"])
        assert str(int(number)) in how.split()
        assert ("signal" in how) == (row["signal"] is not None)
    assert not told


SERVER = """
listener = listen(7000)
def accept():
    while True:
        s, _ = listener.accept()
        drain(s); s.sendall(b"y" * 300_007); s.close()
threading.Thread(target=accept, daemon=True).start()
ready()
sys.stdin.readline()
"""
CLIENT = """
ready()
for number in range(11):
    s = dial(to, 7000)
    s.sendall(b"x" * 10_007)
    time.sleep(0.01 * number)
    s.shutdown(1)
    drain(s); s.close()
time.sleep(0.2)
"""


def test_connections_are_those_that_others_see(observe, beside, net, every_record):
    net.start("b", SERVER)
    client = net.start("a", CLIENT, to=V4["b"])
    tools = ("tcplife -D 7000", "tcpstates -D 7000")
    seen = observe("tcplife", "tcpstates", load=lambda: beside(client.run, *tools))
    _, lives, states = seen.told
    rows = {int(row[3]): row for row in table(lives, 9)}
    ours = told_of(seen["tcplife"].records, remote=V4["b"], remote_port=7000)
    assert len(rows) == len(ours) == 11
    for row in ours:
        pid, _, _, _, _, _, sent, received, milliseconds = rows[row["local_port"]]
        assert row["pid"] == int(pid) == client.pid
        assert row["sent_bytes"] == pytest.approx(float(sent) * KILOBYTE, abs=6)
        assert row["received_bytes"] == pytest.approx(float(received) * KILOBYTE, abs=6)
        assert row["seconds"] == pytest.approx(float(milliseconds) / 1000, abs=1e-3)
    ours = told_of(seen["tcpstates"].records, remote=V4["b"], remote_port=7000)
    mine = [(r["local_port"], r["from"], r["to"]) for r in ours]
    theirs = [(int(row[4]), row[7], row[9]) for row in table(states, 11)]
    # What two CPUs told at once may come in either order.
    assert sorted(mine) == sorted(theirs)
    assert len(mine) == 55
