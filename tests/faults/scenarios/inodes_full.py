"""A file system with room to spare and no inode left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.mounts import image


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    with image(folder, 64 << 20, ("-N", "1024")) as (point, _):
        with contextlib.suppress(OSError):
            for number in range(2048):
                (point / f"file{number}").touch()
        yield Fault(culprit=str(point))


SCENARIO = Scenario(
    name="inodes_full",
    title="an ext4 image with empty files until no inode is left",
    induce=_induce,
    expect=frozenset({"filesystem_inodes"}),
    cause="inodes_full",
    culprit=("mount", "/"),
    advice="filesystem:inodes:",
    score_below=80,
)
