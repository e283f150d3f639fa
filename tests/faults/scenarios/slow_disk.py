"""A limit before the disk: readers wait although it has time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.disks import disk_of, reader
from tests.faults.tools.groups import group
from tests.faults.tools.rules import STORAGE


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    with group("io") as made:
        made.requests(disk_of(folder), 20)
        with reader(folder, "sysdx-slow", processes=6, size=4096, groups=made.doors):
            yield Fault()


SCENARIO = Scenario(
    name="slow_disk",
    title="six processes read with O_DIRECT; a limit lets 20 requests a second through",
    induce=_induce,
    expect=frozenset({"io_pressure"}),
    allowed=STORAGE | {"container_io_stall"},
    cause="slow_disk",
    culprit=("process", "sysdx-slow"),
    advice="disk:consumers",
    score_below=90,
)
