"""Four stressors per CPU: everything else waits for its turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import stress


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with stress("--cpu", str(4 * (os.cpu_count() or 1))):
        yield Fault()


SCENARIO = Scenario(
    name="cpu_saturation",
    title="stress-ng --cpu with four stressors per CPU",
    induce=_induce,
    expect=frozenset({"cpu_pressure", "run_queue", "cpu_utilization"}),
    cause="cpu_overload",
    culprit=("process", "stress-ng-cpu"),
    advice="cpu:consumers",
    score_below=80,
)
