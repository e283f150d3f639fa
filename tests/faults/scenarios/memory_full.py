"""A process that takes nearly all memory of the host, and keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.memory import hog
from tests.faults.tools.rules import MEMORY

_LEFT = 0.055


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with hog(_LEFT) as process:
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="memory_full",
    title="a process takes all memory but 5.5 % of it",
    induce=_induce,
    expect=frozenset({"memory_utilization"}),
    allowed=MEMORY,
    cause="memory_exhausted",
    culprit=("process", "sysdx-hog"),
    advice="memory:consumers",
    score_below=90,
)
