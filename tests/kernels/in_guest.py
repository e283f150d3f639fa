"""What is asked of a guest's kernel itself: all probes at once, and that nothing is left."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from collectors.bpf.probe import discover
from collectors.model import Outcome, Status
from exporter.orchestrator import Window
from exporter.probes import COMPILE_BUDGET, BpfProbes
from tests.bpf import kernel_objects
from tests.kernels.expected import VERDICTS, told
from tests.kernels.slow import SLOW, be_patient

RESULTS = Path("/run/results")
SERIES = os.environ["SYSDX_SERIES"]
KPROBES = Path("/sys/kernel/debug/kprobes/list")
NAMES = tuple(discover())


@dataclass(frozen=True)
class Sweep:
    """All probes in one window, and the kprobes while it was open."""

    verdicts: dict[str, tuple[str, str]]
    outcomes: dict[str, Outcome]
    kprobes: str


@pytest.fixture(scope="module", autouse=True)
def patience():
    with pytest.MonkeyPatch.context() as patch:
        be_patient(patch)
        yield


def window(duration):
    last = time.monotonic() + duration + SLOW * COMPILE_BUDGET
    return Window("test", duration, 1.0, last, threading.Event(), {})


@pytest.fixture(scope="module")
def sweep(patience):
    sut = BpfProbes()
    sut.prepare(NAMES, window(5.0))
    kprobes = KPROBES.read_text()
    outcomes = sut.finish()
    seen = Sweep(sut.verdicts, outcomes, kprobes)
    (RESULTS / "verdicts.json").write_text(json.dumps(seen.verdicts))
    return seen


@pytest.mark.parametrize("probe", NAMES)
def test_verdict(sweep, probe):
    assert told(*sweep.verdicts[probe]) == VERDICTS[SERIES].get(probe, "ok")
    right = Status.OK if sweep.verdicts[probe][0] == "ok" else Status.UNAVAILABLE
    assert sweep.outcomes[probe].status is right, sweep.outcomes[probe].reason


def test_a_kprobe_is_used_only_where_no_tracepoint_says_it(sweep):
    assert ("filemap_read" in sweep.kprobes) == (SERIES == "6.1")


def held():
    return (*kernel_objects.held(), set(KPROBES.read_text().splitlines()))


def worker():
    for child in psutil.Process().children():
        if "collectors.bpf.worker" in child.cmdline():
            return child
    return None


def let_go(before):
    """Wait until the kernel holds no more than before."""
    deadline = time.monotonic() + SLOW * 10
    while more := [now - old for now, old in zip(held(), before, strict=True)]:
        if not any(more) or time.monotonic() > deadline:
            return more
        time.sleep(0.5)
    return []


def test_killed_in_its_window_the_worker_leaves_no_program_map_or_kprobe(sweep):
    let_go((set(), set(), set()))
    before = held()
    sut = BpfProbes()
    sut.prepare(NAMES, window(60.0))
    programs, maps, kprobes = (now - old for now, old in zip(held(), before, strict=True))
    assert len(programs) > len(NAMES)
    assert len(maps) > len(NAMES)
    assert bool(kprobes) == (SERIES == "6.1")
    worker().kill()
    assert {outcome.status for outcome in sut.finish().values()} <= {
        Status.TIMEOUT,
        Status.UNAVAILABLE,
    }
    assert let_go(before) == [set(), set(), set()]


def test_killed_while_it_compiles_the_worker_leaves_nothing():
    before = held()
    sut = BpfProbes()

    def kill():
        while (found := worker()) is None:
            time.sleep(0.01)
        time.sleep(SLOW * 0.5)
        found.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    sut.prepare(NAMES, window(60.0))
    killer.join()
    assert {outcome.status for outcome in sut.finish().values()} == {Status.TIMEOUT}
    assert let_go(before) == [set(), set(), set()]
