"""What the whole host shares."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from collectors.base import Context
from collectors.limits import collect, parse_file_nr, parse_key_users, parse_tasks
from collectors.model import Unavailable

FILES = {
    "proc/sys/fs/file-nr": "500\t100\t1000\n",
    "proc/loadavg": "0.00 0.01 0.05 1/200 4242\n",
    "proc/sys/kernel/threads-max": "1000\n",
    "proc/sys/kernel/pid_max": "400\n",
}


def test_spare_handles_are_not_in_use():
    assert parse_file_nr(b"500 100 1000\n") == (400, 1000)


def test_a_limit_beyond_reach_is_none():
    assert parse_file_nr(b"1 0 9223372036854775807\n") == (1, None)


@pytest.mark.parametrize("bad", [b"", b"1 2", b"1 2 x", b"1 2 3 4"])
def test_garbage_is_refused(bad):
    with pytest.raises(ValueError, match=r"numbers?"):
        parse_file_nr(bad)


@pytest.mark.parametrize("text", [b"", b"0 0 0 1", b"0 0 0 1/x 5"])
def test_tasks_that_are_not_told_are_unknown(text):
    assert parse_tasks(text) is None


def test_use_is_set_against_each_limit(host):
    sample = collect(host(FILES, {"proc/loadavg": "0 0 0 1/300 9\n"}))
    assert (sample.files, sample.tasks, sample.pid_max) == (400, 300, 400)
    assert sample.files_utilization.samples == (0.4, 0.4)
    assert sample.tasks_utilization.peak == 0.3
    assert sample.pids_utilization.samples == (0.5, 0.75)


def test_without_a_limit_the_share_is_unknown(host):
    files = FILES | {
        "proc/sys/fs/file-nr": "5 0 9223372036854775807",
        "proc/sys/kernel/pid_max": "",
    }
    sample = collect(host(files, {}))
    assert (sample.files_max, sample.files_utilization.mean) == (None, None)
    assert (sample.pid_max, sample.pids_utilization.mean) == (None, None)
    assert sample.aio_requests is None


def test_one_of_two_sources_is_enough(host):
    sample = collect(host({"proc/loadavg": FILES["proc/loadavg"]}, {}))
    assert (sample.files, sample.tasks) == (None, 200)


def test_neither_files_nor_tasks_is_unavailable(host):
    with pytest.raises(Unavailable, match="file-nr"):
        collect(host({}))


def test_a_descriptor_opened_on_the_real_host_is_counted():
    before = collect(Context(duration=0.0)).files
    handles = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    after = collect(Context(duration=0.0)).files
    for handle in handles:
        os.close(handle)
    # The kernel counts per CPU in batches, and others open and close meanwhile.
    assert after - before > 50


def test_threads_of_the_real_host_are_tasks():
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(40)]
    for thread in threads:
        thread.start()
    try:
        tasks = collect(Context(duration=0.0)).tasks
        listed = sum(1 for _ in Path("/proc").glob("[0-9]*/task/[0-9]*"))
    finally:
        stop.set()
    assert tasks == pytest.approx(listed, rel=0.4)
    assert tasks >= 40


def test_terminals_and_keys_are_set_against_their_limits(host):
    users = "    0:     9 8/8 3/1000000 40/25000000\n 1000:    60 60/60 190/200 4000/20000\n"
    files = {"proc/key-users": users, "proc/sys/kernel/pty/nr": "7\n"}
    sample = collect(host(FILES | files | {"proc/sys/kernel/pty/max": "4096\n"}, {}))
    assert (sample.terminals, sample.terminals_max) == (7, 4096)
    assert [(u.user, u.keys, u.keys_max) for u in sample.key_users] == [
        (1000, 190, 200),
        (0, 3, 1_000_000),
    ]
    assert [u.utilization for u in sample.key_users] == pytest.approx([0.95, 3e-6])


@pytest.mark.parametrize("bad", [b"0: 1 2/2 3/4\n", b"0: 1 2/2 3/x 4/5\n", b"x: 1 2/2 3/4 5/6\n"])
def test_a_user_of_keys_of_another_form_is_refused(bad):
    with pytest.raises(ValueError, match="not a"):
        parse_key_users(bad)


def test_who_watches_files_is_looked_for_in_long_windows_only(host):
    short, long = host(FILES, {}), host(FILES, {}, step=30)
    assert (collect(short).inotify_users, collect(long).inotify_users) == (None, ())
