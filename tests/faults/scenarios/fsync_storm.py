"""Programs that wait for every single write to be safe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.rules import STORAGE
from tests.faults.tools.slow import slow_disk

_SIZE = 256 << 20
# A disk that answers a flush in a fifth of a millisecond makes this a load on the CPUs.
_PACE = 2 << 20  # [bytes/s]
_CODE = """
for number in range(7):
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
    with (
        slow_disk(folder, _SIZE, _PACE) as point,
        program("sysdx-fsync", _CODE, constants={"folder": str(point)}),
    ):
        yield Fault()


SCENARIO = Scenario(
    name="fsync_storm",
    title="eight processes write and call fsync on a disk that takes 2 MiB a second",
    induce=_induce,
    expect=frozenset({"io_pressure"}),
    allowed=STORAGE | {"fsync_latency"},
    cause="fsync_storm",
    culprit=("process", "sysdx-fsync"),
    advice="disk:consumers",
    score_below=97,
    probes=("fsync",),
)
