"""A group that holds nearly all the memory it may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.groups import group
from tests.faults.tools.processes import program

_LIMIT = 128 << 20
_CODE = """
held = bytearray(os.urandom(1 << 20)) * 121
ready()
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with group("memory") as made:
        made.memory(_LIMIT)
        with program("sysdx-greedy", _CODE, made.doors):
            yield Fault()


SCENARIO = Scenario(
    name="cgroup_memory",
    title="a process holds 121 MiB of the 128 MiB that its control group may",
    induce=_induce,
    expect=frozenset({"container_memory"}),
    allowed=frozenset({"container_pressure"}),
    cause="cgroup_memory_limit",
    culprit=("cgroup", "sysdx-fault"),
    advice="group:",
    score_below=97,
)
