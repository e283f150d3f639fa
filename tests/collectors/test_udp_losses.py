"""Who loses datagrams: real sockets that nobody reads."""

from __future__ import annotations

import pytest

from collectors.model import Cause
from collectors.tcp import collect
from collectors.udp_losses import Row, parse_udp
from tests.collectors.space import inside

HEAD = (
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode ref pointer drops\n"
)


def entry(inode, drops, address="0100007F:1F90", queue=0):
    return (
        f" 2816: {address} 00000000:0000 07 00000000:{queue:08X} 00:00000000 00000000     0"
        f"        0 {inode} 2 0000000000000000 {drops}\n"
    )


def snmp(errors, overflows):
    return f"Udp: InDatagrams InErrors RcvbufErrors\nUdp: 5 {errors} {overflows}\n"


def test_those_that_lost_nothing_are_left_out():
    six = entry(9, 3, "00000000000000000000000001000000:0035", 4096)
    raw = (HEAD + entry(7, 0) + entry(8, 12) + six).encode()
    assert parse_udp(raw) == {8: Row("127.0.0.1", 8080, 0, 12), 9: Row("::1", 53, 4096, 3)}
    assert parse_udp(raw[:-3]).keys() == {8}
    assert parse_udp(b"") == {}


@pytest.mark.parametrize(
    "line", [entry(8, "x"), entry("-8", 1), entry(8, 1, "01:1F90"), entry(8, 1, ":1"), " 1: 2 3\n"]
)
def test_what_is_no_socket_is_refused(line):
    with pytest.raises(ValueError, match="not a"):
        parse_udp((HEAD + line).encode())


def losing(before, after, first="", last=""):
    def files(counts, rows):
        return {"proc/net/snmp": snmp(*counts), "proc/net/udp": HEAD + rows}

    return files(before, first), files(after, last)


@pytest.fixture
def sweeps(host, monkeypatch):
    """Sweep written hosts in a row with one memory; give losers and how often they were listed."""
    memory = {}

    def sweep(*arguments, **rows):
        ctx = host(*losing(*arguments, **rows))
        ctx.memory = memory
        reads = []
        kind = type(ctx)
        original = kind.try_read

        def noting(self, path, *more):
            reads.append(path.name)
            return original(self, path, *more)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "try_read", noting)
            sample = collect(ctx)
        return [(u.port, u.lost) for u in sample.udp_losers], reads.count("udp")

    return sweep


def test_a_host_that_loses_nothing_is_not_listed(sweeps):
    assert sweeps((0, 0), (0, 0)) == ([], 0)
    assert sweeps((3, 0), (9, 4)) == ([], 0)


def test_a_host_that_lost_much_once_is_listed_once(sweeps):
    old = entry(7, 900)
    assert sweeps((900, 900), (900, 900), first=old) == ([], 1)
    assert sweeps((903, 903), (905, 905), first=old) == ([], 0)


def test_what_was_lost_before_the_window_is_not_counted(sweeps):
    first = entry(7, 900) + entry(8, 10, "0100007F:0035")
    last = entry(7, 900) + entry(8, 90, "0100007F:0035") + entry(9, 20, "0100007F:0036")
    assert sweeps((910, 910), (1010, 1010), first=first, last=last) == ([(53, 80), (54, 20)], 2)


def test_what_is_lost_between_two_sweeps_is_not_counted(sweeps):
    assert sweeps((0, 0), (0, 0)) == ([], 0)
    first = entry(7, 500)
    last = entry(7, 510) + entry(8, 60, "0100007F:0035")
    assert sweeps((500, 500), (570, 570), first=first, last=last)[0] == [(53, 60), (8080, 10)]


def test_an_earlier_list_serves_as_long_as_it_is_good(sweeps):
    assert sweeps((0, 0), (60, 60), last=entry(7, 60)) == ([(8080, 60)], 1)
    last = entry(7, 61) + entry(8, 70, "0100007F:0035")
    assert sweeps((60, 60), (131, 131), last=last) == ([(53, 70), (8080, 1)], 1)


def test_few_losses_are_not_asked_about(sweeps):
    assert sweeps((0, 0), (49, 49), last=entry(7, 49)) == ([], 0)
    assert sweeps((49, 49), (98, 98), last=entry(7, 98))[0] == []


def test_a_counter_that_went_back_is_no_loss(sweeps):
    assert sweeps((900, 900), (900, 900), first=entry(7, 900))[1] == 1
    assert sweeps((5, 5), (65, 65), last=entry(9, 60))[0] == [(8080, 60)]


def test_a_garbled_list_costs_nothing_else(host):
    files = losing((0, 0), (80, 80), last=" 1: 2 3\n")
    ctx = host(*files)
    sample = collect(ctx)
    assert sample.udp_losers == ()
    assert sample.increases["Udp.RcvbufErrors"] == 80
    assert [p.cause for p in ctx.problems] == [Cause.GARBLED]


DEAF = """
reader = socket.socket({family}, socket.SOCK_DGRAM)
reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
reader.bind(({address!r}, {port}))
ready()
"""


def test_who_does_not_read_in_the_window_is_named_and_not_who_did_not_before():
    pids, first, second = inside(
        """
        from collectors.tcp import collect

        def send(port, count, family=socket.AF_INET, to="127.0.0.1"):
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                for _ in range(count): sender.sendto(bytes(1000), (to, port))

        def sweep(memory, *loads):
            ctx = Context(duration=0.8, memory=memory)
            def load():
                time.sleep(0.4)
                for one in loads: send(*one)
            work = threading.Thread(target=load)
            work.start()
            sample = collect(ctx)
            work.join()
            return sample.udp_losers

        four = {"family": 2, "address": "127.0.0.1"}
        pids = {
            "old": start("old", DEAF.format(port=5001, **four)),
            "much": start("much", DEAF.format(port=5002, **four)),
            "less": start("less", DEAF.format(port=5003, family=10, address="::1")),
        }
        send(5001, 600)
        memory = {}
        one = sweep(memory, (5002, 300))
        send(5001, 200)
        two = sweep(memory, (5003, 100, socket.AF_INET6, "::1"), (5002, 400))
        tell(pids, one, two)
        """,
        DEAF=DEAF,
    )

    def told(losers):
        return [(u["process"]["pid"], u["process"]["comm"], u["port"]) for u in losers]

    assert told(first) == [(pids["much"], "much", 5002)]
    assert 290 <= first[0]["lost"] <= 300
    assert told(second) == [(pids["much"], "much", 5002), (pids["less"], "less", 5003)]
    assert (second[0]["lost"], second[1]["address"]) == (400, "::1")
    assert second[0]["queue_bytes"] > 0
