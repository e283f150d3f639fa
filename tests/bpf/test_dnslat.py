"""DNS latency against the server's counts and the client's own clock, in a network of its own."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from collectors.bpf import source
from collectors.bpf.model import Verdict
from collectors.bpf.probe import load
from collectors.bpf.tracefs import Tracefs
from tests.bpf.net import V4, V6, every_record, net, told_of
from tests.bpf.test_filters import group

__all__ = ["every_record", "group", "net"]

FAST, SLOW, V6_QUESTIONS, MAPPED = 61, 40, 53, 13
QUESTIONS = FAST + SLOW
MUTE = 13
PAIRS = 31
LOOKUPS = 23
DELAY = 0.04  # [s], from 33.6 to 67.1 ms lies one bucket
SLOT = 2**25 * 1e-9  # [s], the lower edge of that bucket

# Answers "fast" and "slow" names, no "mute" ones, and "once" only from the third question on.
SERVER = """
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", port)); s.settimeout(40)
ready()
for _ in range(expected):
    question, who = s.recvfrom(512)
    name = question[13:17].decode()
    told[name] = told.get(name, 0) + 1
    answer = question[:2] + b"\\x81\\x83" + question[4:6] + bytes(6) + question[12:]
    if name == "fast" or name == "once" and told[name] > 2: s.sendto(answer, who)
    if name == "slow": threading.Timer(delay, s.sendto, (answer, who)).start()
"""

CLIENT = """
V4, V6 = socket.AF_INET, socket.AF_INET6
def dns(where, family=V4, port=53):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(30); s.connect((where, port))
    return s
def question(name):
    return struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\\4" + name.encode() + b"\\0\\0\\1\\0\\1"
def ask(s, name):
    began = time.monotonic(); s.send(question(name)); s.recv(512)
    took.append(time.monotonic() - began)
told["took"] = took = []
"""


@pytest.fixture
def exchange(net, observe, every_record):
    """Let a client speak to a server, both counting: exchange(QUESTIONS, CODE)."""

    def run(expected, code, port=53, options=None, **constants):
        known = {"to4": V4["b"], "to6": V6["b"], **constants}
        server = net.start("b", SERVER, port=port, expected=expected, delay=DELAY)
        client = net.start("a", CLIENT + code, **known)

        def work():
            server.go()
            return client.run(), server.told()

        chosen = {"pid": client.pid} if options is None else options
        seen = observe("dnslat", load=work, **chosen)
        seen.pid = client.pid
        return seen

    return run


def named(sample):
    return {h.labels["family"]: h for h in sample.histograms}


def test_each_answer_is_counted_once_by_family_and_agrees_with_both_sides(exchange, net):
    code = (
        "ready()\n"
        "for n in range(fast + slow):\n"
        "    with dns(to4) as s: ask(s, 'fast' if n < fast else 'slow')\n"
        "with dns(to6, V6) as s:\n"
        "    for n in range(v6): ask(s, 'fast')\n"
        "for n in range(mapped):\n"
        "    with dns('::ffff:' + to4, V6) as s: ask(s, 'fast')\n"
    )
    sizes = {"fast": FAST, "slow": SLOW, "v6": V6_QUESTIONS, "mapped": MAPPED}
    every = sum(sizes.values())
    with net.counted("a") as counts:
        seen = exchange(every, code, **sizes)
    client, server = seen.told
    sample = seen["dnslat"]
    assert every == len(client["took"]) == sum(server.values())
    assert every == sample.events == sample.values["questions"]
    assert {f: h.count for f, h in named(sample).items()} == {
        "ipv4": QUESTIONS + MAPPED,  # IPv4 through an IPv6 socket is IPv4
        "ipv6": V6_QUESTIONS,
    }
    assert counts["UdpOutDatagrams"] == counts["UdpInDatagrams"] == QUESTIONS + MAPPED
    assert counts["Udp6OutDatagrams"] == counts["Udp6InDatagrams"] == V6_QUESTIONS
    others = ("repeated", "unanswered", "failed", "under_way")
    assert {name: sample.values[name] for name in others} == dict.fromkeys(others, 0)
    assert sample.lost == 0
    assert {row["server"]: row["count"] for row in sample.tops["server"]} == {
        V4["b"]: QUESTIONS + MAPPED,
        V6["b"]: V6_QUESTIONS,
    }
    assert {row["pid"] for row in sample.tops["process"]} == {seen.pid}
    assert sum(row["count"] for row in sample.tops["process"]) == every


def test_answers_are_spread_as_the_client_measured_them_itself(exchange):
    code = (
        "with dns(to4) as s: ready(); [ask(s, 'fast' if n % 3 else 'slow') for n in range(times)]\n"
    )
    seen = exchange(120, code, times=120)
    (took,), (spread,) = [seen.told[0]["took"]], seen["dnslat"].histograms
    late = sum(t >= SLOT for t in took)
    assert late >= 40
    assert sum(b.count for b in spread.buckets if b.le > 1.01 * SLOT) == late
    assert 0.9 * sum(took) <= spread.sum <= sum(took)
    (server,) = seen["dnslat"].tops["server"]
    assert server["seconds"] == pytest.approx(spread.sum)
    assert 0.9 * max(took) <= server["max_seconds"] <= max(took)


def test_what_is_not_answered_is_told_with_who_asked_whom_also_when_its_socket_is_gone(exchange):
    code = (
        "ready()\n"
        "for n in range(closed):\n"
        "    with dns(to4) as s: s.send(question('mute'))\n"
        "time.sleep(0.4)\n"  # what is made now is where those have been
        "for n in range(7):\n"
        "    with dns(to4) as s: ask(s, 'fast')\n"
        "kept = [dns(to6, V6) for n in range(mute - closed)]\n"
        "for s in kept: s.send(question('mute'))\n"
        "time.sleep(1.2)\n"
    )
    seen = exchange(7 + MUTE, code, mute=MUTE, closed=8)
    sample, (_, server) = seen["dnslat"], seen.told
    assert server == {"fast": 7, "mute": MUTE}
    assert sample.values["questions"] == 7 + MUTE
    assert (sample.events, sample.values["unanswered"]) == (7, MUTE)
    assert sample.values["under_way"] == sample.values["repeated"] == 0
    rows = {row["server"]: row for row in sample.tops["silent"]}
    assert {address: row["count"] for address, row in rows.items()} == {V4["b"]: 8, V6["b"]: 5}
    assert {(r["pid"], r["outcome"]) for r in rows.values()} == {(seen.pid, "unanswered")}


def test_what_was_asked_a_moment_before_the_end_is_under_way(exchange):
    code = "ready()\nkept = [dns(to4) for n in range(3)]\nfor s in kept: s.send(question('mute'))\n"
    values = exchange(3, code)["dnslat"].values
    assert (values["questions"], values["under_way"], values["unanswered"]) == (3, 3, 0)


def test_of_two_questions_in_flight_each_has_its_own_answer(exchange):
    code = (
        "ready()\n"
        "for n in range(pairs):\n"
        "    with dns(to4) as s:\n"
        "        first = time.monotonic(); s.send(question('slow')); time.sleep(0.02)\n"
        "        second = time.monotonic(); s.send(question('slow'))\n"
        "        for began in (first, second): s.recv(512); took.append(time.monotonic() - began)\n"
    )
    seen = exchange(2 * PAIRS, code, pairs=PAIRS)
    (spread,), took = seen["dnslat"].histograms, seen.told[0]["took"]
    assert seen["dnslat"].values["questions"] == spread.count == len(took) == 2 * PAIRS
    assert 0.9 * sum(took) <= spread.sum <= sum(took)


@pytest.fixture
def resolver(net):
    """Have the C library of the client's namespace ask the server."""
    folder = Path("/etc/netns") / net.spaces["a"]
    folder.mkdir(parents=True)
    (folder / "resolv.conf").write_text(f"nameserver {V4['b']}\noptions timeout:1 attempts:2\n")
    yield
    (folder / "resolv.conf").unlink()
    folder.rmdir()
    with contextlib.suppress(OSError):  # others may have theirs there
        folder.parent.rmdir()


LOOK_UP = """
def look_up(name):
    began = time.monotonic()
    try: socket.getaddrinfo(name + ".test.", 80, type=socket.SOCK_STREAM)
    except socket.gaierror: took.append(time.monotonic() - began)
ready()
"""


def test_a_lookup_of_the_c_library_is_a_question_for_each_address_family(resolver, exchange):
    code = LOOK_UP + "for n in range(lookups): look_up('slow')\n"
    seen = exchange(2 * LOOKUPS, code, lookups=LOOKUPS)
    (spread,), (client, server) = seen["dnslat"].histograms, seen.told
    assert server == {"slow": 2 * LOOKUPS}
    assert len(client["took"]) == LOOKUPS
    assert seen["dnslat"].values["questions"] == spread.count == 2 * LOOKUPS
    assert seen["dnslat"].values["repeated"] == seen["dnslat"].lost == 0
    # Each lookup waited for both of its answers at the same time.
    assert sum(client["took"]) < spread.sum < 2 * sum(client["took"])


def test_what_is_asked_again_after_a_timeout_is_one_wait(resolver, exchange):
    seen = exchange(4, LOOK_UP + "look_up('once')\n")
    (spread,), (client, server) = seen["dnslat"].histograms, seen.told
    assert server == {"once": 4}
    (took,) = client["took"]
    values = seen["dnslat"].values
    assert (values["questions"], values["repeated"], spread.count) == (2, 2, 2)
    assert values["unanswered"] == values["under_way"] == 0
    assert 0.9 * 2 * took <= spread.sum <= 2 * took


def test_other_ports_other_protocols_and_sockets_that_are_not_connected_are_not_told(exchange):
    code = (
        "import contextlib\n"
        "with dns(to4, port=5353) as s: ready(); [ask(s, 'fast') for n in range(times)]\n"
        "loose = socket.socket(V4, socket.SOCK_DGRAM)\n"
        "for n in range(7): loose.sendto(question('fast'), (to4, 53))\n"
        "with contextlib.suppress(ConnectionRefusedError): dial(to4, 53)\n"
        "here, there = socket.socketpair(); here.send(b'x'); there.recv(1)\n"
        "own = listen(53); s = dial('127.0.0.1', 53); s.send(b'x'); own.accept()[0].recv(9)\n"
    )
    seen = exchange(17, code, port=5353, times=17)
    assert len(seen.told[0]["took"]) == seen.told[1]["fast"] == 17
    assert seen["dnslat"].events == 0
    assert not any(seen["dnslat"].values.values())
    assert seen["dnslat"].histograms == ()
    assert not any(seen["dnslat"].tops.values())


def test_an_answer_that_is_only_peeked_at_is_counted_when_it_is_taken(exchange):
    code = (
        "with dns(to4) as s:\n"
        "    ready(); s.send(question('slow')); s.setblocking(False)\n"
        "    try: s.recv(512)\n"
        "    except BlockingIOError: told['empty'] = 1\n"
        "    s.setblocking(True); s.recv(512, socket.MSG_PEEK); time.sleep(0.1); s.recv(512)\n"
    )
    seen = exchange(1, code)
    (spread,) = seen["dnslat"].histograms
    assert seen.told[0]["empty"] == 1
    assert spread.count == seen["dnslat"].values["questions"] == 1
    assert spread.sum > 0.1
    others = ("failed", "repeated", "unanswered", "under_way")
    assert not any(seen["dnslat"].values[name] for name in others)


def test_where_nobody_listens_questions_fail_and_have_no_latency(net, observe, every_record):
    code = (
        "ready()\ntold['refused'] = 0\n"
        "def refused(do):\n"
        "    try: do()\n"
        "    except ConnectionRefusedError: told['refused'] += 1\n"
        "for n in range(4):\n"
        "    with dns(to4) as s: s.send(question('fast')); refused(lambda: s.recv(512))\n"
        "with dns(to4) as s:\n"  # the next question is told of it
        "    s.send(question('fast')); time.sleep(0.2); refused(lambda: s.send(question('fast')))\n"
    )
    client = net.start("a", CLIENT + code, to4=V4["b"])
    with net.counted("b") as counts:
        seen = observe("dnslat", load=client.run, pid=client.pid)
    sample = seen["dnslat"]
    # The other side tells of no more than six at once (net.ipv4.icmp_ratelimit).
    assert 5 == seen.told["refused"] == counts["UdpNoPorts"]
    assert 5 == sample.values["failed"] == sample.values["questions"]
    assert sample.values["unanswered"] == sample.values["under_way"] == 0
    assert sample.histograms == ()
    assert [(r["outcome"], r["count"]) for r in sample.tops["silent"]] == [("failed", 5)]


def test_more_questions_at_once_than_a_socket_has_places_for_are_lost(exchange):
    code = (
        "with dns(to4) as s:\n"
        "    ready()\n"
        "    for n in range(20): s.send(question('slow'))\n"
        "    for n in range(20): s.recv(512)\n"
    )
    sample = exchange(20, code)["dnslat"]
    assert (sample.values["questions"], sample.events, sample.lost) == (8, 8, 12)
    assert sample.values["under_way"] == sample.values["unanswered"] == 0


def test_questions_without_a_place_are_lost_and_those_that_are_open_stay(exchange):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n"
        "kept = [dns(to4) for n in range(1100)]\n"
        "ready()\n"
        "for s in kept: s.send(question('mute'))\n"
        "time.sleep(1.2)\n"
    )
    sample = exchange(0, code)["dnslat"]
    assert sample.values["questions"] == sample.values["unanswered"] == 1024
    assert sample.lost == 1100 - 1024


@pytest.mark.parametrize("by", ["pid", "cgroup"])
def test_only_what_is_within_counts(net, observe, group, by):
    server = net.start("b", SERVER, port=53, expected=21, delay=DELAY)
    code = CLIENT + "with dns(to4) as s: ready(); [ask(s, 'fast') for n in range(7)]\n"
    asked, *others = (net.start("a", code, to4=V4["b"]) for _ in range(3))
    (group / "cgroup.procs").write_text(str(asked.pid))
    options = {"pid": asked.pid} if by == "pid" else {"cgroup": str(group)}

    def work():
        server.go()
        return [one.run() for one in (asked, *others)]

    sample = observe("dnslat", load=work, **options)["dnslat"]
    assert server.told() == {"fast": 21}
    assert sample.events == sample.values["questions"] == 7
    assert {row["pid"] for row in sample.tops["process"]} == {asked.pid}
    assert sample.notes == ()


def test_a_kernel_without_these_events_is_told_of(tmp_path):
    (tmp_path / "events" / "sock" / "inet_sock_set_state").mkdir(parents=True)
    outcome = source.plan(load("dnslat"), source.Host(Tracefs(tmp_path), None))
    assert isinstance(outcome, source.Rejected)
    assert outcome.verdict is Verdict.MISSING_TRACEPOINT
    assert "sock_send_length" in outcome.text


def test_a_server_that_answers_asks_nobody(net, observe, every_record):
    server = net.start("b", SERVER, port=53, expected=9, delay=DELAY)
    code = CLIENT + "with dns(to4) as s: ready(); [ask(s, 'fast') for n in range(9)]\n"
    client = net.start("a", code, to4=V4["b"])

    def work():
        server.go()
        return client.run(), server.told()

    rows = observe("dnslat", load=work)["dnslat"].tops["process"]
    assert [row["count"] for row in told_of(rows, pid=client.pid)] == [9]
    assert not told_of(rows, pid=server.pid)
