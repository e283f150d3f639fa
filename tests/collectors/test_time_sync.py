"""The clock."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import time

import pytest

from collectors import time_sync
from collectors.base import Context
from collectors.model import Cause, Unavailable
from collectors.time_sync import TimeSyncSample, collect, parse_timex

SOURCES = "sys/devices/system/clocksource/clocksource0"
UNSYNC, NANO, INSERT, PLL = 0x40, 0x2000, 0x10, 0x1


def answer(*, offset=0, freq=0, most=0, estimated=0, status=0, tick=10_000, wall=(0, 0), tai=0):
    """Pack a struct timex by the header, with every hole written out."""
    head = struct.pack("=i4x4q", 0, offset, freq, most, estimated)
    middle = struct.pack("=i4x3q2q3q", status, 7, 1, 32_768_000, *wall, tick, 0, 0)
    return head + middle + struct.pack("=i4x5qi44x", 0, 0, 0, 0, 0, 0, tai)


@pytest.fixture
def kernel(monkeypatch):
    """Let the kernel answer with what is in the list, the last one for ever."""
    answers = []

    def ask():
        raw = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(raw, OSError):
            raise raw
        return raw, 5 if raw[40] & UNSYNC else 0

    monkeypatch.setattr(time_sync, "_adjtimex", lambda: ask)
    return answers


def test_the_kernels_answer_has_its_units():
    raw = answer(
        offset=-1_500, freq=3 << 15, most=250_000, estimated=40, status=PLL, wall=(9, 500_000),
        tai=37,
    )  # fmt: skip
    timex = parse_timex(raw)
    assert timex.synchronized
    assert (timex.offset, timex.frequency_ppm) == (pytest.approx(-0.0015), 1.5)
    assert (timex.max_error, timex.estimated_error) == (0.25, pytest.approx(40e-6))
    assert (timex.state, timex.flags, timex.leap) == ("ok", ("pll",), "none")
    assert (timex.time_constant, timex.tick, timex.tai_offset) == (7, 10_000, 37)
    assert timex.wall == 9.5


def test_with_nanoseconds_offset_and_time_are_finer_and_errors_are_not():
    raw = answer(offset=1_500, most=250_000, status=NANO, wall=(9, 500_000_000))
    timex = parse_timex(raw)
    assert (timex.offset, timex.max_error) == (pytest.approx(1.5e-6), 0.25)
    assert timex.wall == 9.5


def test_unsynchronized_and_leap_seconds_are_told():
    timex = parse_timex(answer(status=UNSYNC | INSERT), 5)
    assert (timex.synchronized, timex.state, timex.leap) == (False, "error", "insert")
    assert set(timex.flags) == {"unsync", "insert"}
    assert not parse_timex(answer(), 5).synchronized
    assert not parse_timex(answer(status=UNSYNC), 0).synchronized


@pytest.mark.parametrize(("raw", "state"), [(b"", 0), (answer()[:100], 0), (answer(), 6)])
def test_what_is_no_answer_is_refused(raw, state):
    with pytest.raises(ValueError, match="not an answer"):
        parse_timex(raw, state)


def test_this_kernels_answer_agrees_with_the_clock():
    timex = collect(Context(duration=0.0)).timex
    assert timex.wall == pytest.approx(time.time(), abs=1.0)
    assert 0 <= timex.max_error <= 16.1
    assert 9_000 <= timex.tick <= 11_000
    assert ("unsync" in timex.flags) <= (not timex.synchronized)


@pytest.mark.skipif(shutil.which("adjtimex") is None, reason="adjtimex is not installed")
def test_this_kernels_answer_agrees_with_adjtimex():
    out = subprocess.run(["adjtimex", "--print"], capture_output=True, text=True, check=True).stdout
    timex = collect(Context(duration=0.0)).timex
    assert int(re.search(r"tick: (\d+)", out)[1]) == timex.tick
    assert int(re.search(r"status: (\d+)", out)[1]) & UNSYNC == UNSYNC * ("unsync" in timex.flags)


def test_asking_changes_nothing():
    first, second = (collect(Context(duration=0.0)).timex for _ in range(2))
    assert (first.flags, first.frequency_ppm, first.tick) == (
        second.flags,
        second.frequency_ppm,
        second.tick,
    )


def test_a_clock_that_nobody_sets_does_not_step():
    sample = collect(Context(duration=0.1))
    assert abs(sample.step_seconds) < 0.02


def test_the_clock_is_compared_with_the_window_before_and_then_with_the_sweep_before(kernel):
    memory = {}

    def at(*shifts):
        base = time.clock_gettime(time.CLOCK_BOOTTIME)
        kernel[:] = [answer(wall=divmod(int((base + s) * 1e6), 1_000_000)) for s in shifts]
        return collect(Context(duration=0.001, memory=memory)).step_seconds

    assert at(1000, 1003) == pytest.approx(3, abs=0.1)
    assert at(1003, 1003) == pytest.approx(0, abs=0.1)
    assert at(900, 900) == pytest.approx(-103, abs=0.1)  # set between two sweeps


def test_a_daemon_is_known_by_what_it_did(kernel):
    kernel[:] = [answer(status=UNSYNC, most=16_000_000)]
    assert collect(Context(duration=0.0)).disciplined is False
    kernel[:] = [answer(status=UNSYNC, freq=65_536)]
    assert collect(Context(duration=0.0)).disciplined is True
    kernel[:] = [answer(status=UNSYNC, tick=10_001)]
    assert collect(Context(duration=0.0)).disciplined is True


def test_that_it_was_synchronized_is_remembered(kernel):
    memory = {}
    kernel[:] = [answer()]
    assert not collect(Context(duration=0.0, memory=memory)).was_synchronized
    kernel[:] = [answer(status=UNSYNC)]
    for _ in range(2):
        sample = collect(Context(duration=0.0, memory=memory))
        assert (sample.was_synchronized, sample.disciplined) == (True, True)
        assert not sample.timex.synchronized


def test_a_refused_question_leaves_the_rest(kernel):
    kernel[:] = [PermissionError(1, "Operation not permitted")]
    ctx = Context(duration=0.0)
    sample = collect(ctx)
    assert (sample.timex, sample.disciplined, sample.step_seconds) == (None, None, None)
    assert sample.clocksource
    assert [(p.source, p.cause) for p in ctx.problems] == [("adjtimex", Cause.PERMISSION)]


def test_another_hosts_clock_is_not_asked_for(host, kernel):
    kernel[:] = [answer()]
    files = {
        f"{SOURCES}/current_clocksource": "hpet\n",
        f"{SOURCES}/available_clocksource": "tsc hpet acpi_pm \n",
    }
    assert collect(host(files, {})) == TimeSyncSample(
        None, clocksource="hpet", clocksources=("tsc", "hpet", "acpi_pm")
    )


def test_nothing_told_is_unavailable(host):
    with pytest.raises(Unavailable, match="neither"):
        collect(host({}))
