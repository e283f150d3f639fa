"""TCP retransmits against the network stack's own counters, under losses made on purpose."""

from __future__ import annotations

import time

from tests.bpf.net import NETWORK, NOBODY, V4, every_record, net, told_of

__all__ = ["every_record", "net"]

SYNS = 7

SERVER = """
listener = listen(7000)
def serve():
    while True:
        s, _ = listener.accept()
        s.sendall(b"%d" % drain(s)); s.close()
threading.Thread(target=serve, daemon=True).start()
ready()
sys.stdin.readline()
"""

BULK = """
ready()
s = dial(to, 7000)
told["port"] = s.getsockname()[1]
s.sendall(b"x" * size); s.shutdown(1)
told["arrived"] = int(s.recv(100))
"""


def of(rows, **wanted):
    (row,) = told_of(rows, **wanted)
    return row


def test_each_repeated_syn_is_told_and_agrees_with_the_stack(net, every_record, observe):
    net.misdirect("a", NOBODY)
    code = """
    made = [socket.socket() for _ in range(times)]
    for s in made: s.setblocking(False)
    ready()
    for s in made: s.connect_ex((nobody, 7000))
    time.sleep(1.8)
    """
    client = net.start("a", code, times=SYNS, nobody=NOBODY)
    with net.counted("a") as counts:
        seen = observe("tcpretrans", load=client.run)["tcpretrans"]
    syns = told_of(seen.records, remote=NOBODY, state="SYN_SENT")
    # One goes out again after a second; the next comes two seconds later.
    assert len(syns) == SYNS == counts["TcpExtTCPSynRetrans"] == counts["TcpRetransSegs"]
    assert seen.values["syn"] >= SYNS
    assert of(seen.tops["network"], network=NETWORK)["count"] == SYNS
    assert of(seen.tops["remote_port"], remote_port=7000)["segments"] == SYNS
    assert {r["local_port"] for r in syns} == {t["local_port"] for t in seen.tops["local_port"]}


def test_lost_data_gives_the_segments_that_the_stack_counts(net, every_record, observe):
    server = net.start("b", SERVER)
    client = net.start("a", BULK, to=V4["b"], size=3_000_000)
    net.shape("a", "40mbit", latency="5ms", burst="16000")
    with net.counted("a") as counts:
        result = observe("tcpretrans", load=client.run)
    seen, told = result["tcpretrans"], result.told
    assert told["arrived"] == 3_000_000
    flow = told_of(seen.records, local_port=told["port"], remote=V4["b"], remote_port=7000)
    assert len(flow) > 0
    ours = of(seen.tops["network"], network=NETWORK)
    assert ours["count"] == len(flow)
    assert ours["segments"] == sum(r["segments"] for r in flow) == counts["TcpRetransSegs"]
    # The kernel repeats several segments as one skb.
    assert ours["segments"] > ours["count"]
    assert seen.values["segments"] >= ours["segments"]
    assert seen.values["skbs"] >= ours["count"]
    assert {r["state"] for r in flow} <= {"ESTABLISHED", "FIN_WAIT1"}
    assert seen.lost == 0
    assert len([r for r in flow if not r["sent"]]) <= seen.values["not_sent"]
    server.end()


def test_repeated_answers_to_a_syn_are_told_apart(net, every_record, observe):
    server = net.start("b", SERVER)
    net.misdirect("b", V4["a"])
    client = net.start("a", "ready()\ndial(to, 7000)\n", to=V4["b"])

    def load():
        client.go()
        time.sleep(2.0)
        net.direct("b", V4["a"])
        client.told()

    with net.counted("a") as asked, net.counted("b") as answered:
        seen = observe("tcpretrans", load=load)["tcpretrans"]
    synacks = told_of(seen.records, remote=V4["a"], local_port=7000)
    assert {r["state"] for r in synacks} == {"NEW_SYN_RECV"}
    assert len(synacks) == answered["TcpRetransSegs"] > 0
    syns = told_of(seen.records, remote=V4["b"], state="SYN_SENT")
    assert len(syns) == asked["TcpRetransSegs"] > 0
    assert seen.values["synacks"] >= len(synacks)
    assert seen.events == seen.values["skbs"] + seen.values["synacks"]
    server.end()


def test_nothing_repeated_is_nothing_told(net, every_record, observe):
    server = net.start("b", SERVER)
    for _ in range(7):
        client = net.start("a", BULK, to=V4["b"], size=1_000_003)
        with net.counted("a") as counts:
            seen = observe("tcpretrans", load=client.run)["tcpretrans"]
        ours = told_of(seen.tops["network"], network=NETWORK)
        assert sum(row["segments"] for row in ours) == counts["TcpRetransSegs"]
        # An answer that is late is taken for lost, which no loss needs to have caused.
        if counts["TcpRetransSegs"] == 0:
            break
    assert ours == []
    server.end()
