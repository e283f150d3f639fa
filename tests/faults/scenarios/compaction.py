"""Huge pages are asked for while what is free lies in single pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.memory import hog
from tests.faults.tools.processes import program
from tests.faults.tools.rules import CPUS, MEMORY
from tests.faults.tools.settings import setting, sysctl

_HUGE = Path("/sys/kernel/mm/transparent_hugepage")
_LEFT = 0.06
_CODE = """
import mmap
open("/proc/self/oom_score_adj", "w").write("900")
size = 9 << 30
held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.madvise(14)
# It keeps them: those that were put together once would be had again for nothing. The
# first ones are still there for the taking.
for offset in range(0, size, 2 << 20):
    held[offset] = 1
    if offset == 2 << 30: ready()
    if offset >= 2 << 30: time.sleep(0.004)
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with ExitStack() as stack:
        stack.enter_context(setting(_HUGE / "enabled", "always"))
        stack.enter_context(setting(_HUGE / "defrag", "always"))
        # Or the kernel puts the pieces together before anybody asks.
        stack.enter_context(sysctl("vm.compaction_proactiveness", 0))
        stack.enter_context(hog(_LEFT, holes=True))
        stack.enter_context(program("sysdx-huge", _CODE))
        yield Fault()


SCENARIO = Scenario(
    name="compaction",
    title="a process asks for huge pages while half of the memory is free in single pages",
    induce=_induce,
    expect=frozenset({"compaction_stalls"}),
    allowed=MEMORY | CPUS | {"huge_page_splits", "process_leak"},
    cause="compaction_stalls",
    culprit=("process", "sysdx-huge"),
    advice="huge_pages:defrag",
    score_below=97,
)
