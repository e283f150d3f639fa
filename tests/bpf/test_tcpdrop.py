"""Dropped packets and their reasons, against the counters of the stack and of a queue."""

from __future__ import annotations

import re

import pytest

from collectors.bpf.probes.tcpdrop import BENIGN, classify
from tests.bpf.net import V4, V6, every_record, net, told_of

__all__ = ["every_record", "net"]

DATAGRAMS = 7
REFUSED = 19


SERVER = """
listener = listen(7000)
ready()
for _ in range(5):
    s, _ = listener.accept()
    drain(s); s.close()
"""


def count(rows, **wanted):
    return sum(row["count"] for row in told_of(rows, **wanted))


@pytest.mark.parametrize(("to", "protocol", "counter"), [
    (V4["b"], "ipv4", "UdpNoPorts"), (V6["b"], "ipv6", "Udp6NoPorts"),
])  # fmt: skip
def test_each_datagram_to_a_closed_port_is_a_drop(
    net, every_record, observe, to, protocol, counter
):
    code = """
    s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
    ready()
    for _ in range(times): s.sendto(b"x", (to, 6999))
    """
    client = net.start("a", code, to=to, times=DATAGRAMS)
    with net.counted("b") as counts:
        seen = observe("tcpdrop", load=client.run)["tcpdrop"]
    told = count(seen.tops["reason"], reason="NO_SOCKET", carried="udp", protocol=protocol)
    assert told == DATAGRAMS == counts[counter]
    assert seen.values["dropped"] == sum(row["count"] for row in seen.tops["reason"])


def test_each_refused_connect_is_a_drop_of_tcp(net, every_record, observe):
    code = """
    def refused():
        try: dial(to, 7999)
        except ConnectionRefusedError: return
    ready()
    for _ in range(times): refused()
    """
    client = net.start("a", code, to=V4["b"], times=REFUSED)
    with net.counted("b") as counts:
        seen = observe("tcpdrop", load=client.run)["tcpdrop"]
    assert counts["TcpOutRsts"] == REFUSED
    # Other programs on this host may be refused too.
    told = count(seen.tops["reason"], reason="NO_SOCKET", carried="tcp", protocol="ipv4")
    assert told >= REFUSED
    assert {row["function"] for row in told_of(seen.tops["reason"], carried="tcp")} >= {
        "tcp_v4_rcv"
    }


def test_what_a_full_queue_drops_is_told_with_its_reason(net, every_record, observe):
    code = """
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ready()
    for _ in range(997): s.sendto(b"x" * 1200, (to, 6999))
    """
    client = net.start("a", code, to=V4["b"])
    net.shape("a", "1mbit", latency="20ms")
    seen = observe("tcpdrop", load=client.run)["tcpdrop"]
    said = net.inside("a", "tc", "-s", "qdisc", "show", "dev", "wire-a")
    dropped = int(re.search(r"dropped (\d+)", said)[1])
    told = [r for r in seen.tops["reason"] if r["reason"].startswith("QDISC_")]
    assert sum(row["count"] for row in told) == dropped > 500
    assert {row["carried"] for row in told} == {"udp"}


def test_a_healthy_conversation_drops_nothing(net, every_record, observe):
    code = """
    ready()
    for _ in range(5):
        s = dial(to, 7000); s.sendall(b"x" * 1_000_003); s.shutdown(1); drain(s); s.close()
    """

    def surplus():
        net.start("b", SERVER).go()
        with net.counted("a") as counts:
            client = net.start("a", code, to=V4["b"])
            seen = observe("tcpdrop", load=client.run)["tcpdrop"]
        dropped = [row for row in seen.tops["reason"] if row["reason"] != "NO_SOCKET"]
        # A busy host answers late, and what is then sent twice is dropped once.
        return dropped if count(dropped) > counts["TcpRetransSegs"] else []

    # Whatever else this host does meanwhile may drop something, but not each time.
    assert not all(surplus() for _ in range(3))


def test_what_a_closed_socket_had_not_read_is_no_drop(net, every_record, observe):
    code = """
    mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); mine.bind(("127.0.0.1", 6998))
    ready()
    for _ in range(times): mine.sendto(b"x", ("127.0.0.1", 6998))
    mine.close()
    """
    client = net.start("a", code, times=DATAGRAMS)
    seen = observe("tcpdrop", load=client.run)["tcpdrop"]
    apart = (*seen.tops["benign"], *seen.tops["unspecified"])
    assert count(apart, carried="udp", protocol="ipv4") >= DATAGRAMS
    assert count(seen.tops["reason"], carried="udp", protocol="ipv4") == 0


def test_reasons_without_a_loss_are_apart():
    assert {classify(reason) for reason in BENIGN} == {"benign"}
    assert classify("NOT_SPECIFIED") == "unspecified"
    assert classify("NO_SOCKET") == classify("a later kernel's") == classify("99") == "dropped"
