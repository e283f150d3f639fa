"""The protocols' counters."""

from __future__ import annotations

import socket
import subprocess

import pytest

from collectors.base import Context
from collectors.model import Unavailable
from collectors.tcp import collect, parse, parse_six

SNMP = "Tcp: MaxConn CurrEstab RetransSegs OutSegs\nTcp: -1 {} {} {}\n"
NETSTAT = "TcpExt: ListenDrops\nTcpExt: {}\nIpExt: InOctets\nIpExt: 5\n"
SIX = "Ip6InReceives                   \t{}\nUdp6RcvbufErrors \t2\nIcmp6OutType133 \t1\n"


def tables(established, again, sent, drops, six):
    return {
        "proc/net/snmp": SNMP.format(established, again, sent),
        "proc/net/netstat": NETSTAT.format(drops),
        "proc/net/snmp6": SIX.format(six),
    }


def test_counters_are_told_as_increases_and_gauges_apart(host):
    sample = collect(host(tables(3, 10, 100, 7, 50), {}, tables(8, 14, 300, 7, 51)))
    assert sample.window_seconds == 2
    assert sample.increases == {
        "Tcp.RetransSegs": 4, "Tcp.OutSegs": 200, "TcpExt.ListenDrops": 0, "IpExt.InOctets": 0,
        "Ip6.InReceives": 1, "Udp6.RcvbufErrors": 0, "Icmp6.OutType133": 0,
    }  # fmt: skip
    assert sample.totals["Tcp.OutSegs"] == 300
    assert sample.established == 8
    assert sample.per_second("Tcp.RetransSegs", "Tcp.OutSegs") == 102


def test_a_counter_that_went_back_is_unknown_and_so_is_what_it_is_part_of(host):
    sample = collect(host(tables(0, 10, 100, 0, 0), tables(0, 4, 200, 0, 0)))
    assert sample.increases["Tcp.RetransSegs"] is None
    assert sample.per_second("Tcp.RetransSegs", "Tcp.OutSegs") is None
    assert sample.per_second("Tcp.NoSuchCounter") is None


def test_without_the_second_family_the_first_is_told(host):
    files = tables(1, 1, 1, 1, 1)
    del files["proc/net/snmp6"]
    sample = collect(host(files, {}))
    assert sample.totals == {
        "Tcp.RetransSegs": 1, "Tcp.OutSegs": 1, "TcpExt.ListenDrops": 1, "IpExt.InOctets": 5,
    }  # fmt: skip


@pytest.mark.parametrize("raw", [b"Tcp: A B\nTcp: 1\n", b"Tcp: A\nUdp: 1\n", b"Tcp: A\nTcp: 1_0\n"])
def test_lines_that_do_not_match_are_refused(raw):
    with pytest.raises(ValueError, match="not"):
        parse(raw)


def test_an_empty_table_is_an_answer(host):
    with pytest.raises(Unavailable):
        collect(host({"proc/net/snmp": ""}))


def test_names_are_cleaned():
    assert parse(b"T\x1b: A\nT\x1b: 1\n") == {r"T\x1b.A": 1}
    assert parse_six(b"Ip6A\x1b \t1\n") == {r"Ip6.A\x1b": 1}


def test_below_another_procfs_the_hosts_namespace_is_read(host):
    theirs = {"proc/1/net/snmp": SNMP.format(1, 2, 3)}
    assert collect(host({**tables(9, 9, 9, 9, 9), **theirs}, {})).totals == {
        "Tcp.RetransSegs": 2, "Tcp.OutSegs": 3,
    }  # fmt: skip


def nstat():
    # As text: as JSON it cuts numbers to 32 bits.
    told = subprocess.run(["nstat", "-a", "-z", "-s"], capture_output=True, check=True, text=True)
    rows = (line.split() for line in told.stdout.splitlines()[1:])
    return {name: int(value) for name, value, _ in rows}


def test_this_hosts_counters_are_those_of_nstat_and_count_what_happens():
    earlier, before = nstat(), collect(Context(duration=0.0)).totals
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(7):
            socket.create_connection(server.getsockname()).close()
    after, later = collect(Context(duration=0.0)).totals, nstat()
    assert after["Tcp.PassiveOpens"] - before["Tcp.PassiveOpens"] >= 7
    names = {n.replace(".", ""): n for n in after}
    common = names.keys() & later.keys()
    assert len(common) > 250
    assert [n for n in common if not earlier[n] <= after[names[n]] <= later[n]] == []
