"""Connections to one service until hardly any port is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.settings import sysctl

# Who closes first keeps the port for a minute, in TIME_WAIT.
_CODE = """
server = socket.create_server(("127.0.0.1", 28762), backlog=128)
for _ in range(930):
    peer = socket.create_connection(server.getsockname())
    other = server.accept()[0]
    peer.close()
    other.close()
ready()
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with (
        sysctl("net.ipv4.ip_local_port_range", "40000 40999"),
        sysctl("net.ipv4.tcp_tw_reuse", 0),
        program("sysdx-dialer", _CODE),
    ):
        yield Fault()


SCENARIO = Scenario(
    name="ports_exhausted",
    title="930 connections to one service in TIME_WAIT, with 1,000 ports for them",
    induce=_induce,
    expect=frozenset({"ephemeral_ports"}),
    cause="ports_exhausted",
    culprit=("remote", "127.0.0.1:28762"),
    advice="sysctl:net.ipv4.ip_local_port_range",
    score_below=97,
)
