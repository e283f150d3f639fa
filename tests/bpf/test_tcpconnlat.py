"""TCP connect latency against the network stack's own counters, in a network of its own."""

from __future__ import annotations

import time

import pytest

from tests.bpf.net import NOBODY, V4, V6, net, told_of

__all__ = ["net"]

CONNECTS = 101
CONNECTS_V6 = 53
MAPPED = 13
REFUSED = 19

SERVER = """
listeners = [listen(7000), listen(7001, socket.AF_INET6)]
ready()
"""

CONNECT = """
def connects(times, *where):
    for _ in range(times): dial(*where).close()
"""


def named(sample):
    return {h.labels["family"]: h for h in sample.histograms}


@pytest.fixture
def server(net):
    return net.start("b", SERVER)


def test_each_connect_is_counted_once_by_family_and_agrees_with_the_stack(net, server, observe):
    code = CONNECT + (
        "ready()\n"
        "connects(v4, to4, 7000)\n"
        "connects(v6, to6, 7001, socket.AF_INET6)\n"
        "connects(mapped, '::ffff:' + to4, 7000, socket.AF_INET6)\n"
    )
    sizes = {"v4": CONNECTS, "v6": CONNECTS_V6, "mapped": MAPPED}
    client = net.start("a", code, to4=V4["b"], to6=V6["b"], **sizes)
    with net.counted("a") as counts:
        seen = observe("tcpconnlat", load=client.run, pid=client.pid)["tcpconnlat"]
    every = CONNECTS + CONNECTS_V6 + MAPPED
    assert every == counts["TcpActiveOpens"] == seen.values["attempts"]
    assert every == seen.values["established"] == seen.events
    # IPv4 through an IPv6 socket is IPv4.
    assert {f: h.count for f, h in named(seen).items()} == {
        "ipv4": CONNECTS + MAPPED,
        "ipv6": CONNECTS_V6,
    }
    assert seen.values["failed"] == seen.values["aborted"] == seen.lost == 0
    assert {(t["remote"], t["port"]): t["count"] for t in seen.tops["destination"]} == {
        (V4["b"], 7000): CONNECTS + MAPPED,
        (V6["b"], 7001): CONNECTS_V6,
    }
    assert {r["pid"] for r in seen.records} == {client.pid}


def test_a_refused_connect_is_a_failure_and_has_no_latency(net, observe):
    code = (
        "ready()\nrefused = 0\n"
        "for n in range(times):\n"
        "    try: dial(to, 7999)\n"
        "    except ConnectionRefusedError: refused += 1\n"
        "told['refused'] = refused\n"
    )
    client = net.start("a", code, times=REFUSED, to=V4["b"])
    with net.counted("a") as counts:
        seen = observe("tcpconnlat", load=client.run, pid=client.pid)
    sample = seen["tcpconnlat"]
    assert REFUSED == seen.told["refused"] == counts["TcpAttemptFails"]
    assert REFUSED == sample.values["failed"] == sample.values["refused"]
    assert sample.histograms == ()
    (failed,) = sample.tops["failed"]
    assert failed == {
        "remote": V4["b"],
        "port": 7999,
        "outcome": "ECONNREFUSED",
        "count": REFUSED,
    }


def test_other_programs_connects_are_left_out_under_a_filter(net, server, observe):
    code = CONNECT + "ready()\nconnects(7, to, 7000)\n"
    asked, other = (net.start("a", code, to=V4["b"]) for _ in range(2))
    seen = observe("tcpconnlat", load=lambda: (asked.run(), other.run()), pid=asked.pid)
    assert seen["tcpconnlat"].values["established"] == 7


def test_a_connect_whose_syn_is_lost_takes_the_second_until_the_next(net, server, observe):
    net.misdirect("a", V4["b"])
    client = net.start("a", "ready()\ndial(to, 7000)\n", to=V4["b"])

    def load():
        client.go()
        time.sleep(0.5)
        net.direct("a", V4["b"])
        client.told()

    seen = observe("tcpconnlat", load=load, pid=client.pid)["tcpconnlat"]
    (latency,) = seen.histograms
    assert latency.count == 1
    assert 0.9 <= latency.sum < 3.0
    assert latency.buckets[0].le / 2 <= latency.sum <= latency.buckets[0].le


def test_who_gives_up_and_whom_nobody_answers_are_told_apart(net, observe):
    net.misdirect("a", NOBODY)
    # TCP_USER_TIMEOUT: the kernel itself gives up.
    code = """
    made = [socket.socket() for _ in range(5)]
    for s in made: s.setblocking(False)
    for s in made[:2]: s.setsockopt(socket.IPPROTO_TCP, 18, 300)
    ready()
    for s in made: s.connect_ex((nobody, 7000))
    time.sleep(2.5)
    for s in made: s.close()
    """
    client = net.start("a", code, nobody=NOBODY)
    seen = observe("tcpconnlat", load=client.run, pid=client.pid)["tcpconnlat"]
    assert seen.values["attempts"] == 5
    assert seen.values["timed_out"] == seen.values["failed"] == 2
    assert seen.values["aborted"] == 3
    assert len(told_of(seen.records, outcome="ETIMEDOUT")) == 2
    assert len(told_of(seen.records, outcome="aborted")) == 3
