"""A process that takes more and more memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.memory import meminfo
from tests.faults.tools.processes import program

_LEFT = 0.4
_CODE = """
open("/proc/self/oom_score_adj", "w").write("1000")
held = [bytearray(b"x") * (64 << 20) for _ in range(size >> 26)]
ready()
for _ in range(60 * 4):
    held.append(bytearray(b"x") * (10 << 20))
    time.sleep(0.25)
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    size = meminfo("MemAvailable") - int(_LEFT * meminfo("MemTotal"))
    with program("sysdx-growing", _CODE, constants={"size": size}) as process:
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="leaking_process",
    title="a process that has most of the memory grows by 40 MiB a second",
    induce=_induce,
    expect=frozenset({"process_leak"}),
    cause="leaking_process",
    culprit=("process", "sysdx-growing"),
    advice="process:leak:sysdx-growing",
    score_below=98,
    sweeps=3,
    note="three sweeps, since a trend shows only from sweep to sweep",
)
