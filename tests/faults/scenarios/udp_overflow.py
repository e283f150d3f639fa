"""A program that does not read its datagrams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program

_CODE = """
reader = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
reader.bind(("127.0.0.1", 0))
reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ready()
while True:
    for _ in range(20): sender.sendto(bytes(1000), reader.getsockname())
    time.sleep(0.01)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with program("sysdx-udp", _CODE) as process:
        yield Fault(pid=process.pid)


SCENARIO = Scenario(
    name="udp_overflow",
    title="2,000 datagrams a second for a socket that is never read",
    induce=_induce,
    expect=frozenset({"udp_receive_buffer"}),
    cause="udp_overrun",
    culprit=("process", "sysdx-udp"),
    advice="udp:readers",
    score_below=90,
)
