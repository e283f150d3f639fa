"""Processes that all want to change one directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.mounts import mounted
from tests.faults.tools.processes import program
from tests.faults.tools.rules import CPUS

_CODE = """
for _ in range(11):
    if os.fork() == 0: break
ready()
name = f"{point}/{os.getpid()}"
while True:
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    os.unlink(name)
"""


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    with (
        mounted(folder / "mount", "tmpfs", "sysdx-faults") as point,
        program("sysdx-locks", _CODE, constants={"point": str(point)}),
    ):
        yield Fault()


SCENARIO = Scenario(
    name="lock_contention",
    title="twelve processes make and remove files in one directory of a tmpfs",
    induce=_induce,
    expect=frozenset({"lock_contention"}),
    allowed=CPUS | {"context_switches"},
    cause="lock_contention",
    culprit=("process", "sysdx-locks"),
    step="Look at the function",
    score_below=97,
    probes=("contention",),
)
