"""A server that does not accept, and clients that go on asking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program

_SERVER = """
server = socket.create_server(("127.0.0.1", port), backlog=32)
ready()
while True: time.sleep(60)
"""
_CLIENT = """
ready()
held = []
while True:
    peer = socket.socket()
    peer.setblocking(False)
    peer.connect_ex(("127.0.0.1", port))
    held = [*held, peer][-200:]
    time.sleep(0.02)
"""
_PORT = 28761


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    given = {"port": _PORT}
    with (
        program("sysdx-acceptor", _SERVER, constants=given),
        program("sysdx-client", _CLIENT, constants=given),
    ):
        yield Fault()


SCENARIO = Scenario(
    name="listen_overflow",
    title="a server with a backlog of 32 never accepts; 50 connections a second are tried",
    induce=_induce,
    expect=frozenset({"listen_overflows"}),
    allowed=frozenset({"listen_queue", "listen_drops", "tcp_retransmits"}),
    cause="slow_acceptor",
    culprit=("listener", "sysdx-acceptor"),
    advice="listener:",
    score_below=90,
)
