"""Collectors in parallel, one deadline, each fenced off."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from collectors.base import Collector, Paths
from collectors.model import Cause, Status, Unavailable
from exporter.orchestrator import CANCEL_GRACE, Orchestrator, Window


@dataclass(frozen=True)
class Sample:
    window_seconds: float = 0.0


def window(seconds=5.0, duration=0.0, cancelled=None):
    deadline = time.monotonic() + seconds
    return Window("quick", duration, 0.05, deadline, cancelled or threading.Event())


def orchestrator(**functions):
    found = {n: Collector(n, "cpu", True, "", f) for n, f in functions.items()}
    return Orchestrator(found, Paths())


def through(ctx):
    for _ in ctx.ticks():
        pass
    return Sample()


@pytest.fixture
def hang():
    release = threading.Event()
    yield lambda _: release.wait(60) and None
    release.set()


def test_all_run_at_the_same_time():
    barrier = threading.Barrier(3, timeout=5)

    def meet(_):
        barrier.wait()
        return Sample()

    outcomes = orchestrator(a=meet, b=meet, c=meet).collect(window())
    assert [o.status for o in outcomes.values()] == [Status.OK] * 3


def test_whatever_one_does_costs_only_itself(hang):
    def crash(_):
        raise ZeroDivisionError("boom")

    def absent(_):
        raise Unavailable("no such thing", Cause.ABSENT)

    def garbled(_):
        raise ValueError("not a number")

    def partly(ctx):
        ctx.note("file", Cause.PERMISSION, "file: permission denied")
        return Sample()

    outcomes = orchestrator(
        absent=absent, crash=crash, garbage=lambda _: "text", garbled=garbled, good=through,
        hung=hang, partly=partly, kind=lambda _: Sample,
    ).collect(window(0.5))  # fmt: skip
    assert {n: (str(o.status), str(o.cause)) for n, o in outcomes.items()} == {
        "absent": ("unavailable", "absent"),
        "crash": ("error", "crash"),
        "garbage": ("error", "garbled"),
        "garbled": ("error", "garbled"),
        "good": ("ok", "None"),
        "hung": ("timeout", "timeout"),
        "kind": ("error", "garbled"),
        "partly": ("partial", "permission"),
    }
    assert outcomes["crash"].reason == "ZeroDivisionError: boom"
    assert "by the deadline" in outcomes["hung"].reason


def test_a_hung_collector_costs_one_thread_and_no_later_sweep_waits_for_it(hang):
    sut = orchestrator(hung=hang, good=through)
    sut.collect(window(0.2))
    threads = threading.active_count()
    began = time.monotonic()
    for _ in range(100):
        outcomes = sut.collect(window(30))
        assert outcomes["good"].status is Status.OK
        assert "still stuck since" in outcomes["hung"].reason
    assert threading.active_count() == threads
    assert time.monotonic() - began < 30


def test_a_collector_that_came_back_is_asked_again():
    release = threading.Event()
    calls = []

    def slow_once(_):
        calls.append(1)
        if len(calls) == 1:
            release.wait(60)
        return Sample()

    sut = orchestrator(slow=slow_once)
    assert sut.collect(window(0.1))["slow"].status is Status.TIMEOUT
    release.set()
    sut._stuck["slow"].thread.join(5)
    assert sut.collect(window())["slow"].status is Status.OK


def test_cancelling_ends_the_window_early_and_keeps_what_there_is(hang):
    cancelled = threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    sut = orchestrator(good=through, hung=hang)
    began = time.monotonic()
    outcomes = sut.collect(window(60, duration=60, cancelled=cancelled))
    # One second is the promise; the grace is all that a hung collector may take of it.
    assert time.monotonic() - began < 0.1 + CANCEL_GRACE + 0.2
    assert outcomes["good"].status is Status.OK
    assert outcomes["hung"].cause is Cause.CANCELLED


def test_notes_are_kept_from_sweep_to_sweep_for_each_collector():
    def count(ctx):
        ctx.memory["n"] = ctx.memory.get("n", 0) + 1
        return Sample(ctx.memory["n"])

    sut = orchestrator(a=count, b=count)
    sut.collect(window())
    outcomes = sut.renewed(sut.collectors, Paths()).collect(window())
    assert (outcomes["a"].data.window_seconds, outcomes["b"].data.window_seconds) == (2, 2)
