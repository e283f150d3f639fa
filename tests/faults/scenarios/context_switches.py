"""Pairs of processes that hand a byte to and fro."""

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
    with stress("--switch", str(os.cpu_count() or 1)):
        yield Fault()


SCENARIO = Scenario(
    name="context_switches",
    title="stress-ng --switch with one pair per CPU",
    induce=_induce,
    expect=frozenset({"context_switches"}),
    allowed=CPUS,
    cause="context_switch_storm",
    culprit=("process", "stress-ng-switc"),
    step="pidstat -w",
    score_below=95,
)
