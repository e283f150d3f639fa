"""A process whose memory goes to swap and comes back, all the time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.rules import CPUS, MEMORY
from tests.faults.tools.swap import compressed_swap

_SWAP = 512 << 20
# What reclaim would take from it under want of memory, it gives away itself: so that the
# host needs not be driven to the edge. Words from a dictionary, as it were: they compress.
_CODE = """
import mmap
size = 128 << 20
os.fork()
held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.madvise(15)
for offset in range(0, size, 4096): held[offset:offset + 256] = os.urandom(256)
ready()
while True:
    held.madvise(21)
    for offset in range(0, size, 4096): held[offset] = 1
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with compressed_swap(_SWAP), program("sysdx-thrash", _CODE):
        yield Fault()


SCENARIO = Scenario(
    name="swap_thrash",
    title="a process whose memory goes to zram and comes back, all the time",
    induce=_induce,
    expect=frozenset({"swap_in"}),
    allowed=MEMORY | CPUS | {"major_faults"},
    cause="swap_thrash",
    culprit=("process", "sysdx-thrash"),
    advice="memory:consumers",
    score_below=90,
    note="the rules on CPUs were allowed after they had been seen: compressing takes them",
)
