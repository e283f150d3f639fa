"""Programs that ask for memory faster than the kernel frees it in the background."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.memory import hog
from tests.faults.tools.processes import program
from tests.faults.tools.rules import CPUS, MEMORY

_LEFT = 0.15
_FILE = 6 << 30
# A file without blocks fills the cache at the speed of memory, and no disk is touched.
_CODE = """
import mmap
open("/proc/self/oom_score_adj", "w").write("900")
for _ in range(1):
    if os.fork() == 0: break
file = os.open(path, os.O_RDONLY)
ready()
into = bytearray(32 << 20)
while True:
    for offset in range(0, size, 32 << 20):
        os.preadv(file, [into], offset)
        time.sleep(0.01)
"""


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    path = folder / "sparse"
    with path.open("wb") as file:
        file.truncate(_FILE)
    with ExitStack() as stack:
        stack.enter_context(hog(_LEFT))
        given = {"path": str(path), "size": _FILE}
        stack.enter_context(program("sysdx-reclaim", _CODE, constants=given))
        yield Fault()


SCENARIO = Scenario(
    name="direct_reclaim",
    title="two processes read a file of 6 GiB through the 3 GiB that are left",
    induce=_induce,
    expect=frozenset({"direct_reclaim"}),
    allowed=MEMORY | CPUS | {"compaction_stalls"},
    cause="direct_reclaim",
    advice="sysctl:vm.watermark_scale_factor",
    score_below=97,
    note=(
        "compaction_stalls was allowed after it had been seen: who reclaims also compacts. No "
        "one is asked for: the finding names who holds most memory, not who asks for more"
    ),
)
