"""Bursts of work at the same instant: long waits that averages do not show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program

# Fourteen at once on two CPUs: a fifth of the time is busy, and in it most wait.
_CODE = """
for _ in range(7 * cpus - 1):
    if os.fork() == 0:
        break
ready()
while True:
    now = time.monotonic()
    time.sleep(0.25 - now % 0.25)
    end = time.thread_time() + 0.006
    while time.thread_time() < end:
        pass
    for _ in range(8):
        time.sleep(0.001)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with program("sysdx-burst", _CODE, constants={"cpus": os.cpu_count() or 1}):
        yield Fault()


SCENARIO = Scenario(
    name="short_waits",
    title="seven processes per CPU that all work for 6 ms at the same instant, 4 times a second",
    induce=_induce,
    expect=frozenset({"run_queue_latency"}),
    cause="short_waits",
    culprit=("process", "sysdx-burst"),
    step="pidstat -u -p ",
    score_below=97,
    probes=("runqlat",),
)
