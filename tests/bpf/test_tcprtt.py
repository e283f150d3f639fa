"""TCP round trip times against what `ss` says of the same socket."""

from __future__ import annotations

import pytest

from tests.bpf.net import V4, V6, every_record, net, told_of

__all__ = ["every_record", "net"]

# The last segment comes unasked while nothing is under way: the probe then sees the value
# that the kernel had told `ss` before.
SERVER = """
listener = listen(7000, socket.AF_INET6)
def serve(s):
    size = 0
    while size < wanted: size += len(s.recv(65536))
    s.sendall(b"k")
    time.sleep(1.0)
    s.sendall(b"u")
    time.sleep(0.3)
    s.close()
def accept():
    while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
ready()
sys.stdin.readline()
"""

CLIENT = """
def talk(to, family):
    s = dial(to, 7000, family)
    s.sendall(b"x" * wanted)
    s.recv(1)
    time.sleep(0.4)
    port = s.getsockname()[1]
    said = subprocess.run(["ss", "-tin", "sport", "=", ":%d" % port], stdout=subprocess.PIPE)
    (rtt,) = [w for w in said.stdout.decode().split() if w.startswith("rtt:")]
    s.recv(1)
    return {"port": port, "seconds": float(rtt[4:].split("/")[0]) / 1e3}
ready()
told["ipv4"] = talk(to4, socket.AF_INET)
told["ipv6"] = talk(to6, socket.AF_INET6)
"""
WANTED = 60_000  # [bytes]: takes 240 ms at 2 Mbit/s


def test_the_last_value_is_what_ss_says_of_the_same_socket(net, every_record, observe):
    net.start("b", SERVER, wanted=WANTED)
    client = net.start("a", CLIENT, to4=V4["b"], to6=V6["b"], wanted=WANTED)
    net.shape("a", "2mbit", latency="400ms")
    result = observe("tcprtt", load=client.run)
    seen, told = result["tcprtt"], result.told
    for family, to in (("ipv4", V4["b"]), ("ipv6", V6["b"])):
        wanted = told[family]
        (row,) = told_of(seen.tops["connection"], remote=to, local_port=wanted["port"])
        assert row["remote_port"] == 7000
        # ss prints three digits of a millisecond; the kernel rounds down to a microsecond.
        assert row["last_seconds"] == pytest.approx(wanted["seconds"], abs=1.1e-6)
        assert row["min_seconds"] <= row["mean_seconds"] <= row["max_seconds"]
        # Segments of 1,500 bytes that wait behind each other, 6 ms each.
        assert row["max_seconds"] > 0.006
        (spread,) = [h for h in seen.histograms if h.labels == {"family": family}]
        assert spread.count >= row["count"] > 3
        lower = sum(b.le / 2 * b.count for b in spread.buckets)
        assert lower <= spread.sum <= 2 * lower
    assert seen.events == sum(h.count for h in seen.histograms)


def test_the_slow_connection_comes_first_and_remotes_add_up(net, every_record, observe):
    net.start("b", SERVER, wanted=WANTED)
    # The same bytes once over the slow cable and once inside of the namespace.
    code = f"""
    import textwrap
    exec({SERVER.split("ready()", maxsplit=1)[0]!r})
    {CLIENT.split("ready()", maxsplit=1)[0].replace(chr(10), chr(10) + "    ")}
    ready()
    told["slow"] = [talk(to, socket.AF_INET) for _ in range(2)]
    told["fast"] = talk("127.0.0.1", socket.AF_INET)
    """
    client = net.start("a", code, to=V4["b"], wanted=WANTED)
    net.shape("a", "2mbit", latency="400ms")
    result = observe("tcprtt", load=client.run)
    seen, told = result["tcprtt"], result.told
    ports = [row["local_port"] for row in seen.tops["connection"]]
    fast = ports.index(told["fast"]["port"])
    slow = [ports.index(one["port"]) for one in told["slow"]]
    assert max(slow) < fast
    (remote,) = told_of(seen.tops["remote"], remote=V4["b"])
    rows = told_of(seen.tops["connection"], remote=V4["b"], remote_port=7000)
    assert remote["connections"] == len(rows) == 2
    assert remote["count"] == sum(row["count"] for row in rows)
    mean = sum(row["mean_seconds"] * row["count"] for row in rows) / remote["count"]
    assert remote["mean_seconds"] == pytest.approx(mean)
