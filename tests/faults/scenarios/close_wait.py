"""A server that does not close what its peers have closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program

_CODE = """
import resource
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
server = socket.create_server(("127.0.0.1", 0), backlog=128)
held = []
for _ in range(1500):
    peer = socket.create_connection(server.getsockname())
    held.append(server.accept()[0])
    peer.close()
ready()
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with program("sysdx-leaker", _CODE) as process:
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="close_wait",
    title="a server keeps 1,500 connections open that its peers have closed",
    induce=_induce,
    expect=frozenset({"close_wait"}),
    cause="close_wait_leak",
    culprit=("process", "sysdx-leaker"),
    step="ss -tanp state close-wait",
    score_below=97,
)
