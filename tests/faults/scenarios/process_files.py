"""A process with nearly as many open files as it may have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program

_CODE = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1005)]
ready()
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with program("sysdx-files", _CODE) as process:
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="process_files",
    title="a process has 1,008 of at most 1,024 files open",
    induce=_induce,
    expect=frozenset({"process_file_descriptors"}),
    cause="fd_leak",
    culprit=("process", "sysdx-files"),
    step="ls -l /proc/",
    score_below=90,
)
