"""TCP states: each connection goes through its states once and in their legal order."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from tests.bpf.net import V4, every_record, net, told_of

__all__ = ["every_record", "net"]

CONNECTIONS = 7
KEPT = 0.05  # [s]

SERVER = """
listener = listen(7000)
def accept():
    while True:
        s, _ = listener.accept()
        drain(s); s.close()
threading.Thread(target=accept, daemon=True).start()
ready()
sys.stdin.readline()
"""

CLIENT = """
ready()
for _ in range(times):
    s = dial(to, 7000)
    time.sleep(kept)
    s.close()
time.sleep(0.3)
"""

CLOSES_FIRST = ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE"]
CLOSES_LATER = ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"]


def walks(records, port):
    """The states that the sockets went through, by their port."""
    steps = defaultdict(list)
    for record in records:
        steps[record[port]].append(record)
    for walk in steps.values():
        assert all(a["to"] == b["from"] for a, b in pairwise(walk))
    return [[walk[0]["from"], *(r["to"] for r in walk)] for walk in steps.values()]


def test_each_connection_goes_through_its_states_in_order(net, every_record, observe):
    net.start("b", SERVER)
    client = net.start("a", CLIENT, to=V4["b"], times=CONNECTIONS, kept=KEPT)
    seen = observe("tcpstates", load=client.run)["tcpstates"]
    assert seen.events - seen.lost <= seen.records_of == len(seen.records) <= seen.events
    here = told_of(seen.records, remote=V4["b"], remote_port=7000)
    there = told_of(seen.records, remote=V4["a"], local_port=7000)
    # A socket that begins to connect has no port yet.
    begins = [r for r in here if r["from"] == "CLOSE"]
    assert [r["to"] for r in begins] == ["SYN_SENT"] * CONNECTIONS
    later = [r for r in here if r["from"] != "CLOSE"]
    assert walks(later, "local_port") == [CLOSES_FIRST] * CONNECTIONS
    known = [r for r in there if r["from"] != "LISTEN"]
    assert walks(known, "remote_port") == [CLOSES_LATER] * CONNECTIONS


def test_time_is_counted_in_the_state_that_is_left(net, every_record, observe):
    net.start("b", SERVER)
    client = net.start("a", CLIENT, to=V4["b"], times=CONNECTIONS, kept=KEPT)
    seen = observe("tcpstates", load=client.run)["tcpstates"]
    here = told_of(seen.records, remote=V4["b"], remote_port=7000)
    assert {r["seconds"] for r in here if r["from"] == "CLOSE"} == {None}
    closed = told_of(here, **{"from": "ESTABLISHED", "to": "FIN_WAIT1"})
    assert len(closed) == CONNECTIONS
    assert all(r["seconds"] >= KEPT for r in closed)
    assert all(r["seconds"] < KEPT for r in told_of(here, **{"from": "FIN_WAIT1"}))
    (row,) = told_of(seen.tops["transition"], **{"from": "ESTABLISHED", "to": "FIN_WAIT1"})
    assert row["count"] >= CONNECTIONS
    assert row["max_seconds"] >= max(r["seconds"] for r in closed) >= KEPT
    assert row["max_seconds"] >= row["mean_seconds"] > 0


def test_the_sums_are_those_of_all_single_transitions(net, every_record, observe):
    net.start("b", SERVER)
    client = net.start("a", CLIENT, to=V4["b"], times=CONNECTIONS, kept=0)
    seen = observe("tcpstates", load=client.run)["tcpstates"]
    for row in seen.tops["transition"]:
        alike = told_of(seen.records, **{"from": row["from"], "to": row["to"]})
        assert row["count"] == len(alike)
    assert seen.values["transitions"] == sum(row["count"] for row in seen.tops["transition"])
