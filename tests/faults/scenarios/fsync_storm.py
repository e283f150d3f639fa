"""Programs that wait for every single write to be safe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.rules import STORAGE

_CODE = """
for number in range(32):
    if os.fork() == 0: break
file = os.open(f"{folder}/log{number}{os.getpid()}", os.O_RDWR | os.O_CREAT)
ready()
at = 0
while True:
    os.pwrite(file, bytes(4096), at % 4096 * 4096)
    at += 1
    os.fsync(file)
"""


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    with program("sysdx-fsync", _CODE, constants={"folder": str(folder)}):
        yield Fault()


SCENARIO = Scenario(
    name="fsync_storm",
    title="33 processes write 4 KiB and call fsync, over and over",
    induce=_induce,
    expect=frozenset({"io_pressure"}),
    allowed=STORAGE | {"fsync_latency"},
    cause="fsync_storm",
    culprit=("process", "sysdx-fsync"),
    score_below=97,
    probes=("fsync",),
)
