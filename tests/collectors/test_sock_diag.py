"""The reader of the kernel's list of sockets."""

from __future__ import annotations

import errno
import random
import socket
import struct
from pathlib import Path

import pytest

from collectors import sock_diag
from collectors.model import Cause, Unavailable
from collectors.sock_diag import LISTEN, STATES, decode, details, dump, flow, request

EVERY = 0xFFF
LISTENING = 1 << LISTEN


def message(kind, body, flags=2):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def entry(state=1, received=0, sent=0, port=80, peer=443, inode=9):
    local, remote = (
        socket.inet_aton("10.0.0.1") + bytes(12),
        socket.inet_aton("10.0.0.2") + bytes(12),
    )
    return message(
        20,
        struct.pack(
            "=BBBB2s2s16s16sI8sIIIII", socket.AF_INET, state, 0, 0, port.to_bytes(2, "big"),
            peer.to_bytes(2, "big"), local, remote, 0, b"", 0, received, sent, 1000, inode,
        ),
    )  # fmt: skip


DONE = message(3, bytes(4))


def refused(number):
    return message(2, struct.pack("=i", -number) + bytes(16))


def test_sockets_are_decoded_and_the_end_is_seen():
    raw = entry(1, 70_000, 5) + entry(10, 3, 128, port=8080)
    found, done = decode(raw)
    assert ([f[:3] for f in found], done) == ([(1, 70_000, 5), (10, 3, 128)], False)
    listener = details(raw, found[1][3])
    assert (STATES[listener.state], listener.address, listener.port) == ("listen", "10.0.0.1", 8080)
    assert (listener.receive_queue, listener.send_queue, listener.inode) == (3, 128, 9)
    assert flow(raw, found[0][3]) == (80, (443).to_bytes(2, "big") + raw[24:56])
    assert decode(raw + DONE) == (found, True)


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ENOENT, Cause.ABSENT),
        (errno.EPERM, Cause.PERMISSION),
        (errno.EINVAL, Cause.UNREADABLE),
        (1 << 30, Cause.UNREADABLE),
    ],
)
def test_a_refusal_is_an_answer_with_its_cause(number, cause):
    for raw in (refused(number), message(3, struct.pack("=i", -number))):
        with pytest.raises(Unavailable, match="sock_diag: ") as answer:
            decode(raw)
        assert answer.value.cause is cause


def test_a_list_that_changed_meanwhile_is_not_believed():
    with pytest.raises(Unavailable, match="changed"):
        decode(message(20, entry()[16:], flags=0x12))


def test_every_cut_is_noticed():
    raw = entry() + DONE
    for length in range(1, len(raw)):
        if length != len(entry()):
            with pytest.raises(ValueError, match="cut short"):
                decode(raw[:length])


def test_any_bytes_are_sockets_or_refused():
    dice = random.Random(5)
    for _ in range(3000):
        raw = bytearray(entry() + entry(10) + DONE)
        for _ in range(dice.randrange(1, 6)):
            raw[dice.randrange(len(raw))] = dice.choice((0, 1, 3, 16, 20, 127, 128, 255))
        try:
            found, _ = decode(bytes(raw))
        except (ValueError, Unavailable):
            continue
        assert all(0 < place < len(raw) for *_, place in found)


def sockets(message):
    return [details(raw, place) for raw, found in dump(message) for *_, place in found]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_kernel_lists_a_listener_with_its_queue(family):
    if family == socket.AF_INET6 and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this kernel has no IPv6")
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((address, 0), family=family, backlog=7) as server:
        clients = [socket.create_connection(server.getsockname()[:2]) for _ in range(3)]
        port = server.getsockname()[1]
        found = {s.port: s for s in sockets(request(family, LISTENING))}
        for client in clients:
            client.close()
    told = found[port]
    assert (told.address, told.receive_queue, told.send_queue) == (address, 3, 7)


def test_the_kernel_picks_out_local_ports():
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        low, high = sorted(s.getsockname()[1] for s in (one, two))

        def ports(first, last):
            return {s.port for s in sockets(request(socket.AF_INET, LISTENING, (first, last)))}

        assert ports(low, high) >= {low, high}
        assert ports(low, low) == {low}
        assert low not in ports(low + 1, high)
        assert high not in ports(low, high - 1)


def test_a_silent_kernel_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(sock_diag, "_WAIT", 0.05)
    silent = struct.pack("=IHHII", 16, 0, 0, 1, 0)  # a NOOP, to which there is no answer
    with pytest.raises(Unavailable) as answer:
        list(dump(silent))
    assert answer.value.cause is Cause.TIMEOUT


def test_a_family_the_kernel_does_not_have_is_absent():
    with pytest.raises(Unavailable) as answer:
        list(dump(request(200, EVERY)))
    assert answer.value.cause in (Cause.ABSENT, Cause.UNREADABLE)
