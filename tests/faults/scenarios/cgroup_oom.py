"""A group whose processes ask for more than it may hold, and are killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.groups import group
from tests.faults.tools.processes import program

_LIMIT = 32 << 20
# The parent stays outside, as a service manager does, and starts the next one.
_CODE = """
ready()
while True:
    child = os.fork()
    if child == 0:
        for door in doors: open(door, "w").write(str(os.getpid()))
        held = bytearray(os.urandom(1 << 20)) * 100
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(1)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with group("memory") as made:
        made.memory(_LIMIT)
        doors = [str(door) for door in made.doors]
        with program("sysdx-leaky", _CODE, constants={"doors": doors}):
            yield Fault()


SCENARIO = Scenario(
    name="cgroup_oom",
    title="a process needs 100 MiB in a control group of 32 MiB and is killed, once a second",
    induce=_induce,
    expect=frozenset({"container_oom"}),
    allowed=frozenset({"oom_kill", "container_memory", "container_pressure"}),
    cause="oom",
    culprit=("cgroup", "sysdx-fault"),
    advice="group:",
    score_below=90,
)
