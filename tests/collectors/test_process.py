"""Processes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time

import pytest

from collectors.base import Context
from collectors.command_line import shown
from collectors.model import Cause
from collectors.process import collect
from collectors.process_scan import parse_delay, parse_io, parse_stat

KERNEL_THREAD = 0x00200000


def line(
    pid, comm="sh", state="S", ticks=0, start=100, parent=1, threads=1, pages=10, faults=0, flags=0,
    minor=0,
):  # fmt: skip
    after = [
        state,
        parent,
        0,
        0,
        0,
        0,
        flags,
        minor,
        0,
        faults,
        0,
        ticks,
        0,
        0,
        0,
        20,
        0,
        threads,
        0,
    ]
    return f"{pid} ({comm}) " + " ".join(map(str, [*after, start, 0, pages, *[0] * 28])) + "\n"


def stats(*lines):
    return {f"proc/{text.split()[0]}/stat": text for text in lines}


def by_pid(processes):
    return {p.pid: p for p in processes}


def test_a_name_may_hold_anything_and_forges_nothing():
    row = parse_stat(line(7, comm="x) R 1\n8 (y").encode())
    assert (row.pid, row.state, row.comm) == (7, "S", b"x) R 1\n8 (y")


@pytest.mark.parametrize(
    "raw",
    [b"", b"7 (x", b"7 x) S 1", b"7 (x) S 1", b"7 (x) SS" + b" 1" * 30, b"7 (x) 5" + b" 1" * 30],
)
def test_what_is_no_process_is_refused(raw):
    with pytest.raises(ValueError, match="not a"):
        parse_stat(raw)


def test_cpu_time_is_of_the_window(host):
    ticks = os.sysconf("SC_CLK_TCK")
    sample = collect(
        host(stats(line(7, ticks=1000)), stats(line(7, ticks=1000 + 2 * ticks)), step=4)
    )
    assert by_pid(sample.top_cpu)[7].cpu == pytest.approx(0.5)


def test_a_reused_pid_is_another_process(host):
    sample = collect(host(stats(line(7, ticks=9000)), stats(line(7, ticks=50, start=999))))
    new = by_pid(p for p in sample.top_cpu if p.state != "X")[7]
    assert new.cpu == pytest.approx(50 / os.sysconf("SC_CLK_TCK"))
    assert (sample.started, sample.exited, sample.total) == (1, 1, 1)


def test_a_process_that_ended_is_still_listed_with_what_it_used(host):
    gone = {"proc/7/stat": None, **stats(line(8))}
    sample = collect(host(stats(line(7)), stats(line(7, ticks=80), line(8)), gone))
    assert [(p.pid, p.state) for p in sample.top_cpu] == [(7, "X")]


def test_memory_asked_for_is_faults_of_both_kinds_or_growth_where_that_is_more(host):
    first = stats(line(7, minor=50, faults=5), line(8, pages=100), line(9, pages=900))
    last = stats(line(7, minor=150, faults=25), line(8, minor=3, pages=1124), line(9, pages=20))
    new = stats(line(10, start=900, minor=40, pages=600))
    told = collect(host(first, last | new, step=2)).top_taken
    rates = [(p.pid, p.pages_taken_per_second) for p in told]
    assert rates == [(8, 512), (10, 300), (7, 60)]


def test_a_process_that_the_first_scan_missed_asked_for_nobody_knows_what(host):
    young, old = line(7, start=500), line(8, minor=9000, start=300)
    assert collect(host(stats(young), stats(young, old))).top_taken == ()


def test_blocked_means_uninterruptible_twice_in_a_row(host):
    once, twice = line(7, state="D"), line(8, state="D")
    sample = collect(host(stats(line(7), twice), stats(once, twice)))
    assert [p.pid for p in sample.blocked] == [8]


def test_a_blocked_kernel_thread_is_none_of_the_blocked(host):
    files = stats(line(7, state="D", flags=KERNEL_THREAD), line(8, state="D", parent=2))
    assert [p.pid for p in collect(host(files, files)).blocked] == [8]


def test_how_long_a_process_is_stuck_is_known_across_sweeps(host):
    stuck, moving = line(7, state="D"), [line(8, state="D", ticks=n) for n in (5, 5, 6)]
    ctx = host(*(stats(stuck, m) for m in moving), step=10)
    found = by_pid(collect(ctx).blocked)
    assert (found[7].blocked_seconds, found[8].blocked_seconds) == (20, 0)
    memory = ctx.memory
    ctx = host(stats(stuck), stats(stuck), step=10)
    ctx.memory = memory
    ctx.ticks = lambda: iter([1060.0, 1070.0])
    assert by_pid(collect(ctx).blocked)[7].blocked_seconds == 70


def test_a_process_that_the_first_scan_missed_has_unknown_cpu_time(host):
    young, old = line(7, start=500), line(8, ticks=9000, start=300)
    sample = collect(host(stats(young), stats(young, old)))
    assert [p.cpu for p in sample.top_memory if p.pid == 8] == [None]
    assert 8 not in by_pid(sample.top_cpu)


def test_bytes_of_a_process_that_began_in_the_window_count_from_zero(host):
    born = stats(line(8, start=900)) | {"proc/8/io": "read_bytes: 0\nwrite_bytes: 8192\n"}
    sample = collect(host(stats(line(7)), born, step=2))
    assert by_pid(sample.top_io)[8].write_bytes_per_second == 4096


def test_among_too_many_processes_those_that_run_are_looked_at_closely(host):
    lazy = [line(n, ticks=5) for n in range(1, 600)]
    start = stats(*lazy, line(700), line(701, ticks=900))
    for n in (700, 701):
        start |= {f"proc/{n}/io": "read_bytes: 0\n"}
    moved = {"proc/700/io": "read_bytes: 100\n", "proc/701/io": "read_bytes: 200\n"}
    second = stats(line(700, ticks=9)) | {"proc/700/io": "read_bytes: 0\n"}
    ctx = host(start, second, {}, moved, step=100)
    assert [p.pid for p in collect(ctx).top_io] == [701, 700]


def test_hidden_processes_are_a_gap_that_is_told(host):
    ctx = host(stats(line(7)), stats(line(7)))
    collect(ctx)
    assert [(p.source, p.cause) for p in ctx.problems] == [("/proc", Cause.PERMISSION)]
    ctx = host(stats(line(1)), stats(line(1)))
    collect(ctx)
    assert ctx.problems == []


def test_zombies_are_counted_by_their_parent(host):
    files = stats(line(5, comm="bad"), *(line(n, state="Z", parent=5) for n in (6, 7)))
    assert collect(host(files, files)).zombie_parents == {"bad (5)": 2}


def test_the_filters_of_the_command_line_choose_what_is_listed(host):
    files = stats(line(7), line(8)) | {
        "proc/8/cgroup": "0::/system.slice/web.service\n",
        "proc/1/mountinfo": "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/cgroup.controllers": "",
    }
    ctx = host(files, files)
    ctx.options["cgroup"] = "/sys/fs/cgroup/system.slice"
    assert [p.pid for p in collect(ctx).top_memory] == [8]
    ctx = host(files, files)
    ctx.options["pid"] = 7
    assert [p.pid for p in collect(ctx).top_memory] == [7]


def test_missing_counters_are_unknown():
    assert parse_io(b"rchar: 5\nread_bytes: x\n") == (None, None)
    assert parse_io(b"read_bytes: 4096\nwrite_bytes: 8192\n") == (4096, 8192)
    assert [parse_delay(b) for b in (b"", b"1", b"1 x 2", b"5 77 2\n")] == [None, None, None, 77]


def test_a_burning_process_is_among_the_first_and_this_one_is_left_out():
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        sample = collect(Context(duration=1.0, interval=0.5))
    finally:
        burner.kill()
        burner.wait()
    shares = [p.cpu for p in sample.top_cpu]
    assert shares == sorted(shares, reverse=True)
    (found,) = [p for p in sample.top_cpu if p.pid == burner.pid]
    assert found.comm.startswith("python")
    assert 0.3 < found.cpu < 1.1
    # Nobody is before it but who burns as much.
    assert all(share > 0.3 for share in shares[: shares.index(found.cpu)])
    listed = {p.pid for top in (sample.top_cpu, sample.top_memory, sample.top_fds) for p in top}
    assert os.getpid() not in listed


def test_bytes_to_storage_are_those_that_were_written(tmp_path):
    code = (
        "import os, time\n"
        "time.sleep(0.3)\n"
        f"f = os.open({str(tmp_path / 'x')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "os.write(f, bytes(8 << 20)); os.fsync(f); time.sleep(5)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code])
    try:
        sample = collect(Context(duration=1.5, interval=0.5))
    finally:
        writer.kill()
        writer.wait()
    found = by_pid(sample.top_io)[writer.pid]
    assert found.write_bytes_per_second * sample.window_seconds == pytest.approx(8 << 20, rel=0.1)


def test_processes_agree_with_ps():
    sample = collect(Context(duration=0.0, options={"top": 1000}))
    told = subprocess.run(
        ["ps", "-eo", "pid=,nlwp=,rss=,comm="], capture_output=True, text=True, check=True
    )
    rows = {int(f[0]): f for f in (line.split(None, 3) for line in told.stdout.splitlines())}
    assert abs(sample.total - len(rows)) <= 10
    assert sum(sample.states.values()) == sample.total
    both = [(p, rows[p.pid]) for p in sample.top_memory if p.pid in rows]
    assert len(both) > 3
    same = [int(f[1]) == p.threads and f[3].strip() == p.comm for p, f in both]
    near = [abs(int(f[2]) * 1024 - p.rss_bytes) <= 0.2 * p.rss_bytes + (1 << 20) for p, f in both]
    # The others on this machine go on living between the two looks.
    assert sum(same) >= 0.8 * len(same)
    assert sum(near) >= 0.8 * len(near)


def test_open_files_of_a_process_are_those_it_opened():
    code = (
        "f = [open('/dev/null') for _ in range(997)]; print(flush=True); import time; time.sleep(9)"
    )
    opener = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        opener.stdout.readline()
        sample = collect(Context(duration=0.0, options={"top": 40}))
    finally:
        opener.kill()
        opener.communicate()
    assert by_pid(sample.top_fds)[opener.pid].fds == 997 + 3


def test_a_hostile_name_is_shown_harmless():
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(15, b"a) R\n\x1b[31m\xff")
        while True:
            pass
    try:
        time.sleep(0.1)
        sample = collect(Context(duration=0.6, interval=0.3, options={"top": 50}))
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert by_pid(sample.top_cpu)[child].comm == "a) R\\x0a\\x1b[31m\N{REPLACEMENT CHARACTER}"


SECRET = b"hunter2"


@pytest.mark.parametrize(
    "words",
    [
        [b"mysql", b"--password=" + SECRET],
        [b"mysql", b"--password", SECRET],
        [b"curl", b"https://user:" + SECRET + b"@host/path"],
        [b"env", b"API_TOKEN=" + SECRET],
        [b"x", b"-auth-key", SECRET],
    ],
)
def test_a_redacted_command_line_tells_no_secret(words):
    assert SECRET.decode() not in shown(words, "redacted")
    assert shown(words, "argv0") == words[0].decode()


def test_a_command_line_is_read_only_when_configured():
    plain = collect(Context(duration=0.0)).top_memory
    told = collect(Context(duration=0.0, options={"command_line": "argv0"})).top_memory
    assert {p.command_line for p in plain} == {None}
    assert any(p.command_line for p in told)


SWAPS = "Filename Type Size Used Priority\n/dev/vda2 partition 4096 {} -2\n"


def status(pid, user, swap):
    text = f"Name:\tx\nUid:\t0\t{user}\t0\t0\nVmSwap:\t     {swap} kB\nThreads:\t1\n"
    return {f"proc/{pid}/status": text}


def test_who_is_in_swap_is_looked_for_only_when_something_is(host):
    files = stats(line(7), line(8)) | status(7, 33, 12) | status(8, 0, 400)
    for used, expected in ((0, []), (500, [(8, 409_600), (7, 12_288)])):
        ctx = host({**files, "proc/swaps": SWAPS.format(used)}, {})
        assert [(p.pid, p.swap_bytes) for p in collect(ctx).top_swap] == expected


def test_a_listed_process_tells_its_user_and_its_place_before_the_oom_killer(host):
    files = stats(line(7), line(8)) | status(7, 33, 0) | {"proc/7/oom_score": "667\n"}
    found = by_pid(collect(host(files, {})).top_memory)
    assert (found[7].user, found[7].swap_bytes, found[7].oom_score) == (33, 0, 667)
    assert (found[8].user, found[8].swap_bytes, found[8].oom_score) == (None, None, None)


def test_where_a_blocked_process_hangs_is_told_from_inside_out(host):
    frames = "[<0>] rpc_wait_bit_killable+0x1e/0xa0\n[<0>] nfs_wait_on_request+0x40/0x80 [nfs]\n"
    files = stats(line(7, state="D")) | {"proc/7/stack": frames, "proc/7/wchan": "rpc_wait"}
    stuck = collect(host(files, {})).blocked[0]
    assert stuck.stack == ("rpc_wait_bit_killable", "nfs_wait_on_request")
    assert stuck.wchan == "rpc_wait"


def refused_by(pids):
    def refuse(base, pid, name, refused=None):
        if pid in pids and refused is not None:
            refused.add(name, pid)

    return refuse


@pytest.mark.parametrize(
    ("lacking", "refusing", "told"),
    [
        ((), 4, False),
        ((), 6, True),
        (("CAP_SYS_PTRACE",), 1, False),
        (("CAP_SYS_PTRACE",), 3, True),
    ],
)
def test_refused_files_are_a_gap_unless_few_refuse_to_all(
    host, monkeypatch, lacking, refusing, told
):
    monkeypatch.setattr("collectors.process_scan.attempt", refused_by(range(1, 1 + refusing)))
    monkeypatch.setattr("collectors.rights.missing", lambda *names: lacking)
    files = stats(*(line(n) for n in range(1, 11)))
    ctx = host(files, {})
    sample = collect(ctx)
    # Both ends of the window met the refusal, and it is still the same process.
    assert sample.refused == refusing
    assert bool(ctx.problems) is told
    if told:
        assert f"permission denied for {refusing} of 10 processes" in ctx.problems[0].text
        assert ("CAP_SYS_PTRACE" in ctx.problems[0].text) is True


def test_root_with_all_rights_is_not_told_to_be_root():
    ctx = Context(duration=0.2, interval=0.2)
    collect(ctx)
    texts = [p.text for p in ctx.problems]
    assert not any("run as root" in t for t in texts if os.geteuid() == 0)


def test_swap_user_and_badness_of_a_real_process_are_those_that_ps_tells():
    sample = collect(Context(duration=0.2, interval=0.2))
    p = sample.top_memory[0]
    told = subprocess.run(
        ["ps", "-o", "euid=", "-p", str(p.pid)], capture_output=True, text=True, check=True
    )
    assert p.user == int(told.stdout)
    assert 0 <= p.oom_score <= 2000
