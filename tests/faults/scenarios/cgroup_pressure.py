"""A group that is held back because it asks for more than it should hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.groups import group
from tests.faults.tools.processes import program
from tests.faults.tools.rules import MEMORY

_LIMIT = 48 << 20
# Beyond the limit each step takes the kernel's whole patience: it never gets there.
_CODE = """
ready()
held = [bytearray(os.urandom(1 << 20)) for _ in range(400)]
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with group("memory") as made:
        made.memory_high(_LIMIT)
        with program("sysdx-braked", _CODE, made.doors):
            yield Fault()


SCENARIO = Scenario(
    name="cgroup_pressure",
    title="a process goes on asking for memory in a control group with memory.high at 48 MiB",
    induce=_induce,
    expect=frozenset({"container_pressure"}),
    allowed=MEMORY | {"container_memory"},
    cause="cgroup_memory_limit",
    culprit=("cgroup", "sysdx-fault"),
    advice="group:",
    score_below=90,
    note="a guest has it where this host cannot: `./dev test-kernels --faults`",
)
