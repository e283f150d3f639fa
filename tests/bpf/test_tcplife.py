"""TCP connections that ended, against what the programs sent and how long they kept them."""

from __future__ import annotations

import pytest

from tests.bpf.net import V4, V6, every_record, net, told_of

__all__ = ["every_record", "net"]

CONNECTIONS = 11
ASKED, ANSWERED = 10_007, 300_007  # [bytes]
KEPT = 0.05  # [s]

SERVER = """
listener = listen(7000, socket.AF_INET6)
def serve(s):
    told["arrived"] = told.get("arrived", 0) + drain(s)
    s.sendall(b"y" * answered)
    s.close()
def accept():
    while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
ready()
sys.stdin.readline()
"""

CLIENT = """
def talk(to, family=socket.AF_INET):
    s = dial(to, 7000, family)
    s.sendall(b"x" * asked)
    time.sleep(kept)
    s.shutdown(1)
    size = drain(s)
    s.close()
    return size
ready()
told["arrived"] = sum(talk(to) for _ in range(times))
if to6: talk(to6, socket.AF_INET6)
time.sleep(0.2)
"""


@pytest.fixture
def server(net):
    return net.start("b", SERVER, answered=ANSWERED)


def client_of(net, times=CONNECTIONS, to6=None):
    known = {"to": V4["b"], "to6": to6, "asked": ASKED, "kept": KEPT}
    return net.start("a", CLIENT, times=times, **known)


def sides(sample, to=V4["b"]):
    here = told_of(sample.records, remote=to, remote_port=7000)
    there = told_of(sample.records, local=to, local_port=7000)
    return here, there


def test_each_connection_is_told_from_both_ends_with_the_bytes_sent(
    net, server, every_record, observe
):
    client = client_of(net, to6=V6["b"])
    result = observe("tcplife", load=client.run)
    seen = result["tcplife"]
    assert result.told["arrived"] == CONNECTIONS * ANSWERED
    here, there = sides(seen)
    assert len(here) == len(there) == CONNECTIONS
    for row in here:
        assert (row["sent_bytes"], row["received_bytes"]) == (ASKED, ANSWERED)
        assert (row["side"], row["pid"]) == ("connected", client.pid)
        assert row["seconds"] >= KEPT
    for row in there:
        assert (row["sent_bytes"], row["received_bytes"]) == (ANSWERED, ASKED)
        assert (row["side"], row["pid"]) == ("accepted", server.pid)
        assert row["seconds"] >= KEPT
    assert {r["local_port"] for r in here} == {r["remote_port"] for r in there}
    assert [len(side) for side in sides(seen, V6["b"])] == [1, 1]
    counts = {h.labels["family"]: h.count for h in seen.histograms}
    assert counts["ipv4"] >= 2 * CONNECTIONS
    assert sum(counts.values()) == seen.events - seen.values["unknown_start"]
    (top,) = told_of(seen.tops["remote"], remote=V4["b"])
    assert (top["count"], top["bytes"]) == (CONNECTIONS, CONNECTIONS * (ASKED + ANSWERED))


def test_repeats_are_not_counted_as_bytes(net, server, every_record, observe):
    client = client_of(net, times=3)
    net.shape("b", "30mbit", latency="3ms", burst="16000")
    seen = observe("tcplife", load=client.run)["tcplife"]
    here, there = sides(seen)
    assert len(here) == len(there) == 3
    assert sum(row["retransmitted_segments"] for row in there) > 0
    assert {row["sent_bytes"] for row in there} == {ANSWERED}
    assert {row["received_bytes"] for row in here} == {ANSWERED}


def test_under_a_filter_only_the_program_asked_for_is_told_of(net, server, every_record, observe):
    asked, other = client_of(net, times=5), client_of(net, times=3)
    seen = observe("tcplife", load=lambda: (asked.run(), other.run()), pid=asked.pid)["tcplife"]
    assert seen.values == {
        "connections": 5,
        "unknown_start": 0,
        "sent_bytes": 5 * ASKED,
        "received_bytes": 5 * ANSWERED,
    }
    (spread,) = seen.histograms
    assert spread.count == 5
    assert spread.sum == pytest.approx(sum(row["seconds"] for row in seen.records))


def test_one_that_was_there_before_has_bytes_but_no_duration(net, server, every_record, observe):
    code = """
    s = dial(to, 7000); s.sendall(b"x" * asked)
    ready()
    s.shutdown(1); drain(s); s.close()
    time.sleep(0.2)
    """
    client = net.start("a", code, to=V4["b"], asked=ASKED)
    seen = observe("tcplife", load=client.run)["tcplife"]
    here, there = sides(seen)
    (mine,), (theirs,) = here, there
    assert mine["seconds"] is theirs["seconds"] is mine["side"] is None
    assert (mine["pid"], theirs["pid"]) == (client.pid, server.pid)
    assert (mine["sent_bytes"], mine["received_bytes"]) == (ASKED, ANSWERED)
    assert seen.values["unknown_start"] >= 2


def test_what_never_was_a_connection_is_not_told(net, every_record, observe):
    code = """
    def refused():
        try: dial(to, 7999)
        except ConnectionRefusedError: return
    ready()
    for _ in range(5): refused()
    listen(7002).close()
    """
    client = net.start("a", code, to=V4["b"])
    seen = observe("tcplife", load=client.run)["tcplife"]
    assert told_of(seen.records, remote=V4["b"], remote_port=7999) == []
    assert told_of(seen.records, local_port=7002) == []


def test_nobody_is_named_as_owner_of_an_accepted_one_that_was_cut_off(net, every_record, observe):
    net.start("b", "listener = listen(7000)\nready()\nsys.stdin.readline()\n")
    code = """
    ready()
    s = dial(to, 7000)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    time.sleep(0.2)
    """
    client = net.start("a", code, to=V4["b"])
    seen = observe("tcplife", load=client.run)["tcplife"]
    (mine,), (theirs,) = sides(seen)
    assert (mine["pid"], mine["side"]) == (client.pid, "connected")
    assert (theirs["pid"], theirs["comm"], theirs["side"]) == (None, None, "accepted")
