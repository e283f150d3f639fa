"""Who opens tracked connections."""

from __future__ import annotations

import errno
import random
import socket
import struct

import pytest

from collectors.conntrack_peers import Tracked, decode
from collectors.model import Cause, Unavailable
from tests.collectors.space import inside

ONE, TWO = (socket.inet_aton(text) for text in ("10.0.0.1", "10.0.0.2"))


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def direction(kind, source, target, protocol=6, port=443):
    first = 1 if len(source) == 4 else 3
    ends = attribute(first, source) + attribute(first + 1, target)
    ports = attribute(1, bytes([protocol])) + attribute(2, b"\x80\x00")
    ports += attribute(3, port.to_bytes(2, "big"))
    zone = attribute(3, b"\0\5")
    return attribute(0x8000 | kind, attribute(0x8001, ends) + attribute(0x8002, ports) + zone)


def message(body, kind=0x0100):
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


def entry(*arguments, before=b"", **more):
    reply = direction(2, TWO, ONE)
    return message(bytes(4) + before + direction(1, *arguments, **more) + reply)


DONE = message(bytes(4), 3)


def test_the_opening_side_of_each_connection_is_decoded():
    six = [socket.inet_pton(socket.AF_INET6, text) for text in ("fd00::1", "fd00::2")]
    raw = entry(ONE, TWO) + entry(*six, protocol=17, port=53, before=attribute(8, b"\0\0\0\1"))
    found, done = decode(raw)
    assert found == [Tracked(ONE, TWO, 6, 443), Tracked(*six, 17, 53)]
    assert not done
    assert decode(raw + DONE) == (found, True)


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EPERM, Cause.PERMISSION),
        (errno.EINVAL, Cause.UNREADABLE),
        (1 << 30, Cause.UNREADABLE),
    ],
)
def test_a_refusal_is_an_answer_with_its_cause(number, cause):
    with pytest.raises(Unavailable, match="conntrack: ") as answer:
        decode(message(struct.pack("=i", -number) + bytes(16), 2))
    assert answer.value.cause is cause


def test_any_bytes_are_connections_or_refused():
    dice = random.Random(7)
    whole = entry(ONE, TWO) + entry(TWO, ONE) + DONE
    for _ in range(3000):
        raw = bytearray(whole[: dice.randrange(len(whole) + 1)] or whole)
        for _ in range(dice.randrange(5)):
            raw[dice.randrange(len(raw))] = dice.choice((0, 1, 3, 4, 8, 16, 127, 255))
        try:
            found, _ = decode(bytes(raw))
        except (ValueError, Unavailable):
            continue
        assert all(len(t.source) in (4, 16) for t in found)


def test_the_real_table_tells_who_opened_its_entries_and_nothing_of_other_namespaces():
    count, limited, told, unprivileged = inside(
        """
        import ctypes
        from collectors import conntrack_peers
        from collectors.conntrack import collect
        from collectors.model import Unavailable
        from tests.faults.tools.conntrack import tracked

        def written(most):
            folder = Path(place, str(most))
            (folder / "1").mkdir(parents=True)
            (folder / "1/net").symlink_to("/proc/self/net")
            (folder / "sys/net/netfilter").mkdir(parents=True)
            (folder / "sys/net/netfilter/nf_conntrack_max").write_text(str(most))
            return Context(paths=Paths(proc=folder), duration=0.0)

        import tempfile
        with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
            # Those of another namespace, which this one left.
            stack.enter_context(tracked(90))
            home = os.open("/proc/self/ns/net", os.O_RDONLY)
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.unshare(0x40000000) == 0
            empty = conntrack_peers.peers().looked_at
            with tracked(60):
                full, half = collect(written(100)), collect(written(200))
                conntrack_peers._MOST_ENTRIES = 10
                part = conntrack_peers.peers().looked_at
                child = os.fork()
                if child == 0:
                    os.setuid(65534)
                    try:
                        conntrack_peers.peers()
                    except Unavailable as error:
                        os._exit(7 if error.cause == "permission" else 1)
                    os._exit(0)
                refused = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert libc.setns(home, 0x40000000) == 0
            tell(full.count, [empty, part < 60, half.peers], full.peers, refused)
        """
    )
    assert count == 60
    assert limited == [0, True, None]
    assert told["looked_at"] == 60
    assert told["openers"] == [
        {"address": "192.0.2.1", "port": None, "protocol": None, "share": 1.0}
    ]
    assert told["services"] == [
        {"address": "192.0.2.2", "port": 9, "protocol": "udp", "share": 1.0}
    ]
    assert unprivileged == 7
