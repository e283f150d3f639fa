"""Many readers past the cache: the disk has more to do than it can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.disks import reader
from tests.faults.tools.rules import STORAGE


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    with reader(folder, "sysdx-disk", processes=32, size=256 << 10):
        yield Fault()


SCENARIO = Scenario(
    name="disk_saturation",
    title="32 processes read 256 KiB each at random places with O_DIRECT",
    induce=_induce,
    expect=frozenset({"io_pressure"}),
    any_of=(frozenset({"disk_utilization", "disk_queue", "disk_latency"}),),
    allowed=STORAGE,
    cause="disk_saturated",
    culprit=("process", "sysdx-disk"),
    advice="disk:consumers",
    score_below=90,
)
