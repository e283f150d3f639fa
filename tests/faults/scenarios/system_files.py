"""The host's limit of open files is nearly reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.settings import sysctl

_HELD = 5_000
_CODE = """
import resource
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
# Several, so that none of them comes near its own limit.
for _ in range(3):
    if os.fork() == 0: break
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(many)]
time.sleep(0.5)
ready()
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with ExitStack() as stack:
        process = stack.enter_context(program("sysdx-opener", _CODE, constants={"many": _HELD}))
        used = int(Path("/proc/sys/fs/file-nr").read_text().split()[0])
        stack.enter_context(sysctl("fs.file-max", int(used / 0.92)))
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="system_files",
    title="four processes hold 20,000 files, and fs.file-max is lowered to little more",
    induce=_induce,
    expect=frozenset({"file_descriptors"}),
    cause="fd_limit_system",
    culprit=("process", "sysdx-opener"),
    advice="sysctl:fs.file-max",
    score_below=95,
)
