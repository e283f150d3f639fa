"""Writers on a file system that is frozen: they do not run, and cannot be killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.mounts import image, tell
from tests.faults.tools.processes import program

_CODE = """
ready()
while True:
    open(f"{point}/file", "w").write("x")
    time.sleep(0.1)
"""


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    with ExitStack() as stack:
        point, _ = stack.enter_context(image(folder, 64 << 20))
        process = stack.enter_context(
            program("sysdx-stuck", _CODE, constants={"point": str(point)})
        )
        tell("fsfreeze", "--freeze", point)
        stack.callback(tell, "fsfreeze", "--unfreeze", point)
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="frozen_storage",
    title="a process writes to an ext4 image that is frozen (fsfreeze)",
    induce=_induce,
    expect=frozenset({"blocked_tasks"}),
    cause="frozen_storage",
    culprit=("process", "sysdx-stuck"),
    advice="process:blocked",
    score_below=98,
    window=35.0,
)
