"""A group that has as many tasks as it may, and is refused more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.groups import group
from tests.faults.tools.processes import program

_CODE = """
for _ in range(49):
    if os.fork() == 0:
        while True: time.sleep(60)
ready()
while True:
    try: os.fork()
    except OSError: time.sleep(0.2)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with group("pids") as made:
        made.tasks(50)
        with program("sysdx-forker", _CODE, made.doors):
            yield Fault()


SCENARIO = Scenario(
    name="cgroup_tasks",
    title="a control group has all of the 50 tasks it may, and goes on asking for more",
    induce=_induce,
    expect=frozenset({"container_tasks"}),
    allowed=frozenset({"container_forks_refused"}),
    cause="task_limit",
    culprit=("cgroup", "sysdx-fault"),
    step="systemctl show -p TasksMax",
    score_below=90,
)
