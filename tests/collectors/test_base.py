"""The window, reading, and finding collectors."""

from __future__ import annotations

import os
import threading
import time

import pytest

from collectors.base import Context, discover
from collectors.model import Cause, Unavailable


def test_a_window_has_its_first_instant_at_once_and_its_last_at_the_end():
    began = time.monotonic()
    ticks = list(Context(duration=0.25, interval=0.1).ticks())
    assert len(ticks) == 4
    assert ticks[-1] - ticks[0] == pytest.approx(0.25, abs=0.05)
    assert time.monotonic() - began >= 0.25


def test_slow_readers_do_not_make_the_grid_drift():
    ticks = []
    for at in Context(duration=0.6, interval=0.1).ticks():
        ticks.append(at)
        time.sleep(0.13)
    offsets = [round((t - ticks[0]) / 0.1) for t in ticks]
    assert offsets == [0, 2, 4, 6]


def test_a_cancelled_window_ends_at_once():
    cancelled = threading.Event()
    ctx = Context(duration=60, interval=60, cancelled=cancelled)
    threading.Timer(0.05, cancelled.set).start()
    assert len(list(ctx.ticks())) == 1


def test_no_duration_is_one_instant():
    assert len(list(Context(duration=0.0).ticks())) == 1


def test_a_missing_file_is_unavailable_and_named(tmp_path):
    with pytest.raises(Unavailable, match="no such file") as caught:
        Context().read(tmp_path / "nothing")
    assert caught.value.cause is Cause.MISSING


def test_a_missing_file_is_no_problem_where_it_may_be_missing(tmp_path):
    ctx = Context()
    assert ctx.try_read(tmp_path / "nothing") is None
    assert ctx.problems == []


def test_a_directory_is_unreadable_and_noted_once(tmp_path):
    ctx = Context()
    assert [ctx.try_read(tmp_path), ctx.try_read(tmp_path)] == [None, None]
    assert [p.cause for p in ctx.problems] == [Cause.UNREADABLE]


def test_a_file_without_rights_says_the_way_out(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(0)
    tmp_path.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            Context().read(path)
        except Unavailable as error:
            os._exit(0 if error.cause is Cause.PERMISSION and "run as root" in str(error) else 1)
        os._exit(2)
    status = os.waitpid(child, 0)[1]
    # The parent directories belong to root alone in some set-ups; then the path is hidden.
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_read_stops_at_its_limit(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"x" * 100_000)
    assert len(Context().read(path, limit=70_000)) == 70_000


def test_every_collector_is_found_with_what_it_says_of_itself():
    found = discover()
    assert {"cpu", "memory", "disk", "network", "filesystem", "process"} <= set(found)
    assert all(c.summary.endswith(".") and c.name == n for n, c in found.items())
