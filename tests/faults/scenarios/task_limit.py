"""Threads until the host can hardly start another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.settings import sysctl

_CODE = """
import threading
threading.stack_size(65536)
for _ in range(2500): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
ready()
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with ExitStack() as stack:
        process = stack.enter_context(program("sysdx-threads", _CODE))
        tasks = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
        stack.enter_context(sysctl("kernel.threads-max", int(tasks / 0.87)))
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="task_limit",
    title="a process has 2,500 threads, and kernel.threads-max is lowered to little more",
    induce=_induce,
    expect=frozenset({"task_capacity"}),
    cause="task_limit",
    culprit=("process", "sysdx-threads"),
    advice="sysctl:kernel.threads-max",
    score_below=98,
)
