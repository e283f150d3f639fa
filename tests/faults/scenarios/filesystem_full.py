"""An ext4 image that is written to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.mounts import image

_SIZE = 64 << 20


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    with image(folder, _SIZE) as (point, _):
        with contextlib.suppress(OSError), (point / "full").open("wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass
        yield Fault(culprit=str(point))


SCENARIO = Scenario(
    name="filesystem_full",
    title="an ext4 image written to its end",
    induce=_induce,
    expect=frozenset({"filesystem_space"}),
    cause="filesystem_full",
    culprit=("mount", "/"),
    advice="filesystem:room:",
    score_below=80,
)
