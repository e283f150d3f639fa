"""A group whose CPU quota is a fifth of a core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.groups import group
from tests.faults.tools.processes import program


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with group("cpu", "cpuacct") as made:
        made.cores(0.2)
        with program("sysdx-narrow", "ready()\nwhile True: pass", made.doors):
            yield Fault()


SCENARIO = Scenario(
    name="cgroup_cpu",
    title="a busy process in a control group that may use a fifth of a core",
    induce=_induce,
    expect=frozenset({"cpu_throttling"}),
    allowed=frozenset({"container_cpu_stall"}),
    cause="cgroup_cpu_limit",
    culprit=("cgroup", "sysdx-fault"),
    advice="group:",
    score_below=80,
)
