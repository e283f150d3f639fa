"""Processes that do nothing but start processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import stress
from tests.faults.tools.rules import CPUS


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with stress("--fork", str(os.cpu_count() or 1)):
        yield Fault()


SCENARIO = Scenario(
    name="fork_storm",
    title="stress-ng --fork with one stressor per CPU",
    induce=_induce,
    expect=frozenset({"fork_storm"}),
    allowed=CPUS | {"context_switches"},
    cause="fork_storm",
    culprit=("process", "stress-ng-fork"),
    step="ps -o pid,etimes,args --ppid ",
    score_below=95,
)
