"""A program that never collects its children."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program

_CODE = """
for _ in range(120):
    if os.fork() == 0: os._exit(0)
ready()
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with program("sysdx-parent", _CODE) as process:
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="zombies",
    title="a process does not collect 120 children that ended",
    induce=_induce,
    expect=frozenset({"zombies"}),
    cause="zombie_parent",
    culprit=("process", "sysdx-parent"),
    step="Restart the parent",
    score_below=98,
)
