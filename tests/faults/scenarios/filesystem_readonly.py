"""The kernel stops writing to a file system, as it does after an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.mounts import image, tell


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    with image(folder, 64 << 20) as (point, _):
        tell("mount", "-o", "remount,abort", point)
        yield Fault(culprit=str(point))


SCENARIO = Scenario(
    name="filesystem_readonly",
    title="an ext4 image whose journal is aborted (mount -o remount,abort)",
    induce=_induce,
    expect=frozenset({"filesystem_readonly"}),
    allowed=frozenset({"filesystem_errors", "filesystem_log_errors"}),
    cause="filesystem_damaged",
    culprit=("mount", "/"),
    step="dmesg",
    score_below=80,
)
