"""TCP connections of which every tenth segment is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program

# The filter of a socket drops a segment before TCP sees it: the sender has to send it again,
# just as when a network had lost it.
_CODE = """
import ctypes, struct, threading
draw, eighth = (0x20, 0, 0, 0xFFFFF000 + 56), (0x35, 1, 0, (1 << 32) // 8)
steps = [draw, eighth, (6, 0, 0, 0), (6, 0, 0, 1 << 18)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
lossy = struct.pack("HL", len(steps), ctypes.addressof(code))
server = socket.create_server(("127.0.0.1", 0), backlog=64)

def serve():
    while True:
        peer = server.accept()[0]
        threading.Thread(target=echo, args=(peer,), daemon=True).start()

def echo(peer):
    peer.setsockopt(socket.SOL_SOCKET, 26, lossy)
    while data := peer.recv(65536): peer.sendall(data)

def talk():
    peer = socket.create_connection(server.getsockname())
    peer.setsockopt(socket.SOL_SOCKET, 26, lossy)
    while True:
        peer.sendall(b"x" * 512)
        peer.recv(65536)
        time.sleep(0.02)

threading.Thread(target=serve, daemon=True).start()
for _ in range(16): threading.Thread(target=talk, daemon=True).start()
ready()
while True: time.sleep(60)
"""


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with program("sysdx-lossy", _CODE):
        yield Fault()


SCENARIO = Scenario(
    name="packet_loss",
    title="16 connections whose sockets drop every eighth segment (a filter)",
    induce=_induce,
    expect=frozenset({"tcp_retransmits"}),
    cause="packet_loss",
    culprit=("remote", "127."),
    advice="retransmits",
    score_below=97,
    probes=("tcpretrans",),
)
