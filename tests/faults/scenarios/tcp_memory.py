"""A program writes more than its peers take, until TCP has hardly any memory left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.settings import sysctl

_PORT, _PEERS = 28_763, 48
_SHARE = 0.85
# Its windows are so small that what is sent lies in the sender's queues.
_PEER = """
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", port))
server.listen(peers)
ready()
held = [server.accept() for _ in range(peers)]
while True: time.sleep(60)
"""
_SENDER = """
held = [socket.create_connection(("127.0.0.1", port)) for _ in range(peers)]
for peer in held: peer.setblocking(False)
block = bytes(1 << 16)
full = 0
while full < 20:
    sent = 0
    for peer in held:
        try: sent += peer.send(block)
        except BlockingIOError: pass
    full = full + 1 if not sent else 0
    time.sleep(0.02)
ready()
while True: time.sleep(60)
"""


def _pages() -> int:
    """Read how much memory TCP has [pages]."""
    text = Path("/proc/net/sockstat").read_text()
    (line,) = (each for each in text.splitlines() if each.startswith("TCP:"))
    return int(line.split()[-1])


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    given = {"port": _PORT, "peers": _PEERS}
    with ExitStack() as stack:
        stack.enter_context(program("sysdx-unwilling", _PEER, constants=given))
        sender = stack.enter_context(program("sysdx-sender", _SENDER, constants=given))
        most = int(_pages() / _SHARE)
        stack.enter_context(sysctl("net.ipv4.tcp_mem", f"{most // 2} {most * 2 // 3} {most}"))
        yield Fault(pid=sender.pid)


SCENARIO = Scenario(
    name="tcp_memory",
    title="48 connections full of what their peers do not take, and net.ipv4.tcp_mem lowered",
    induce=_induce,
    expect=frozenset({"tcp_memory"}),
    cause="socket_memory",
    culprit=("process", "sysdx-sender"),
    advice="socket_memory",
    score_below=97,
)
