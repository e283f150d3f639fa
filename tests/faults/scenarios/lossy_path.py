"""TCP connections over a path that loses packets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.links import FAR, lossy_path
from tests.faults.tools.processes import program

_SERVER = """
import threading
server = socket.create_server((far, 7777), backlog=64)

def echo(peer):
    while data := peer.recv(65536): peer.sendall(data)

ready()
while True:
    threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()
"""
_CLIENT = """
import threading

def talk():
    peer = socket.create_connection((far, 7777))
    while True:
        peer.sendall(b"x" * 512)
        peer.recv(65536)
        time.sleep(0.02)

for _ in range(16): threading.Thread(target=talk, daemon=True).start()
ready()
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    given = {"far": FAR}
    with (
        lossy_path(0.12) as inside,
        program("sysdx-far", _SERVER, constants=given, inside=inside),
        program("sysdx-near", _CLIENT, constants=given),
    ):
        yield Fault()


SCENARIO = Scenario(
    name="lossy_path",
    title="16 connections over a router that loses every eighth packet (netem)",
    induce=_induce,
    expect=frozenset({"tcp_retransmits"}),
    cause="packet_loss",
    culprit=("remote", "198.18."),
    advice="retransmits",
    score_below=97,
    probes=("tcpretrans",),
    note="a guest has it where this host cannot: `./dev test-kernels --faults`",
)
