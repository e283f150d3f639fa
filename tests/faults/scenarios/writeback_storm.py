"""More is written than the disk takes, and writers are held back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.rules import STORAGE
from tests.faults.tools.settings import sysctl
from tests.faults.tools.slow import slow_disk

_SIZE, _PACE = 2 << 30, 20 << 20
_CODE = """
for number in range(5):
    if os.fork() == 0: break
file = os.open(f"{folder}/out{os.getpid()}", os.O_RDWR | os.O_CREAT)
block = os.urandom(1 << 20)
ready()
at = 0
while True:
    os.pwrite(file, block, at % 256 << 20)
    at += 1
"""


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    with ExitStack() as stack:
        stack.enter_context(sysctl("vm.dirty_background_ratio", 1))
        stack.enter_context(sysctl("vm.dirty_ratio", 2))
        point = stack.enter_context(slow_disk(folder, _SIZE, _PACE))
        given = {"folder": str(point)}
        stack.enter_context(program("sysdx-writer", _CODE, constants=given))
        yield Fault()


SCENARIO = Scenario(
    name="writeback_storm",
    title="six processes write to a disk that takes 20 MiB a second, with vm.dirty_ratio at 2",
    induce=_induce,
    expect=frozenset({"dirty_throttling"}),
    allowed=STORAGE,
    cause="writeback_storm",
    culprit=("process", "sysdx-writer"),
    advice="disk:consumers",
    score_below=97,
)
