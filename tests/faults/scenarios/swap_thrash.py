"""A process whose memory goes to swap and comes back, all the time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.mounts import tell
from tests.faults.tools.processes import program
from tests.faults.tools.rules import MEMORY, STORAGE

_SWAP = 512 << 20
# What reclaim would take from it under want of memory, it gives away itself: so that the
# host needs not be driven to the edge. Only what has been written can be dropped, so twice.
_CODE = """
import mmap
size = 128 << 20
os.fork()
held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.madvise(15)
for offset in range(0, size, 4096): held[offset:offset + 8] = os.urandom(8)
ready()
while True:
    held.madvise(21)
    time.sleep(0.2)
    held.madvise(21)
    for offset in range(0, size, 4096): held[offset] = 1
"""


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    file = folder / "swap"
    with ExitStack() as stack:
        tell("fallocate", "--length", str(_SWAP), file)
        file.chmod(0o600)
        tell("mkswap", file)
        tell("swapon", file)
        stack.callback(tell, "swapoff", file)
        stack.enter_context(program("sysdx-thrash", _CODE))
        yield Fault()


SCENARIO = Scenario(
    name="swap_thrash",
    title="a process whose memory goes to a swap file and comes back, all the time",
    induce=_induce,
    expect=frozenset({"swap_in"}),
    allowed=MEMORY | STORAGE | {"major_faults", "swap_full"},
    cause="swap_thrash",
    culprit=("process", "sysdx-thrash"),
    advice="memory:consumers",
    score_below=90,
)
