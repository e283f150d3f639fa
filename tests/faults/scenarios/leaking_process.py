"""A process that takes more and more memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program

_CODE = """
open("/proc/self/oom_score_adj", "w").write("1000")
held = []
ready()
while len(held) < 60 * 4:
    held.append(bytearray(b"x") * (30 << 20))
    time.sleep(0.25)
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with program("sysdx-growing", _CODE) as process:
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="leaking_process",
    title="a process grows by 120 MiB a second",
    induce=_induce,
    expect=frozenset({"process_leak"}),
    cause="leaking_process",
    culprit=("process", "sysdx-growing"),
    score_below=97,
)
