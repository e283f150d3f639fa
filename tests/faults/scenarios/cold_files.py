"""Programs that touch pages of a mapped file which is not in the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.rules import MEMORY, STORAGE

_SIZE = 256 << 20
_CODE = """
import mmap, random
for _ in range(3):
    if os.fork() == 0: break
file = os.open(path, os.O_RDONLY)
ready()
while True:
    seen = mmap.mmap(file, size, prot=mmap.PROT_READ)
    seen.madvise(mmap.MADV_RANDOM)
    for _ in range(2000): seen[random.randrange(size)]
    seen.close()
    os.posix_fadvise(file, 0, size, os.POSIX_FADV_DONTNEED)
"""


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    path = folder / "cold"
    with path.open("wb") as file:
        for _ in range(_SIZE >> 20):
            file.write(bytes(1 << 20))
        file.flush()

    os.sync()
    with program("sysdx-cold", _CODE, constants={"path": str(path), "size": _SIZE}):
        yield Fault()


SCENARIO = Scenario(
    name="cold_files",
    title="four processes touch pages of a mapped file that is dropped from the cache",
    induce=_induce,
    expect=frozenset({"major_faults"}),
    allowed=MEMORY | STORAGE,
    cause="cold_files",
    culprit=("process", "sysdx-cold"),
    advice="memory:cold_files",
    score_below=97,
)
