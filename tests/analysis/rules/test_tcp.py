"""Rules on TCP and UDP."""

from __future__ import annotations

import pytest

from analysis.model import Facts
from analysis.registry import discover_rules
from analysis.rules import tcp
from analysis.score import findings
from collectors.memory import MemorySample
from collectors.model import Outcome, Status, Sweep
from collectors.socket_owners import Crowd, Holder
from collectors.sockets import Listener, SocketsSample
from collectors.sysctl import SysctlSample
from collectors.tcp import TcpSample
from collectors.udp_losses import UdpLoser


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "network", "quick", True, Status.OK, None, None, 0.0, 0.0, sample)
        for n, sample in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def counted(**increases):
    """Give counters of a window of ten seconds; a double underscore stands for the dot."""
    return TcpSample(10.0, {n.replace("__", "."): v for n, v in increases.items()})


def severity(rule, known):
    found = findings([(discover_rules()[rule], getattr(tcp, rule)(known))])
    return str(found[0].severity) if found else None


def advice(rule, *samples):
    declared = discover_rules()[rule]
    known = facts(*samples)
    return {a.id: a.proposed for a in declared.advise(known, declared.evaluate(known))}


@pytest.mark.parametrize(
    ("again", "sent", "expected"),
    [
        (0, 0, None),
        (40, 40, None),  # a scan of dead addresses, four a second
        (500, 1_000_000, None),
        (5_000, 100_000, "warning"),
        (50_000, 100_000, "critical"),
    ],
)
def test_retransmits_count_by_share_and_only_when_there_are_some(again, sent, expected):
    known = facts(counted(Tcp__RetransSegs=again, Tcp__OutSegs=sent))
    assert severity("tcp_retransmits", known) == expected


@pytest.mark.parametrize(
    ("bad", "received", "expected"),
    [
        (0, 0, None),
        (40, 1_000, None),  # four a second are single events
        (60, 1_000_000, None),
        (60, 30_000, "warning"),
        (600, 30_000, "critical"),
        (600, 0, "critical"),
    ],
)
def test_damaged_segments_count_by_share_and_only_when_there_are_some(bad, received, expected):
    known = facts(counted(Tcp__InErrs=bad, Tcp__InSegs=received))
    assert severity("tcp_bad_segments", known) == expected
    assert tcp.tcp_bad_segments(facts(counted(Tcp__InErrs=None, Tcp__InSegs=received))) is None
    assert tcp.tcp_bad_segments(facts(counted(Tcp__InErrs=bad))) is None


def test_data_that_came_out_of_order_and_had_no_room_counts_as_well():
    assert tcp.tcp_receive_drops(facts(counted(TcpExt__TCPOFODrop=900))).value == 90


def test_a_counter_that_went_back_cannot_be_judged():
    assert tcp.tcp_retransmits(facts(counted(Tcp__RetransSegs=None, Tcp__OutSegs=9))) is None


@pytest.mark.parametrize(
    ("rule", "counter", "quiet", "warning", "critical"),
    [
        ("listen_overflows", "TcpExt__ListenOverflows", 5, 20, 900),
        ("listen_drops", "TcpExt__ListenDrops", 10, 50, 2_000),
        ("tcp_memory_aborts", "TcpExt__TCPAbortOnMemory", 0, 2, 50),
        ("tcp_receive_drops", "TcpExt__TCPRcvQDrop", 50, 500, 9_000),
        ("tcp_receive_drops", "TcpExt__TCPZeroWindowDrop", 50, 500, 9_000),
        ("tcp_receive_drops", "TcpExt__RcvPruned", 50, 500, 9_000),
        ("tcp_receive_squeezed", "TcpExt__PruneCalled", 500, 5_000, None),
        ("udp_receive_buffer", "Udp__RcvbufErrors", 50, 500, 9_000),
        ("udp_receive_buffer", "Udp6__RcvbufErrors", 50, 500, 9_000),
        ("udp_send_buffer", "Udp__SndbufErrors", 50, 500, 9_000),
    ],
)
def test_losses_are_judged_by_their_rate_in_the_window(rule, counter, quiet, warning, critical):
    assert severity(rule, facts(counted(**{counter: quiet}))) is None
    assert severity(rule, facts(counted(**{counter: warning}))) == "warning"
    if critical is not None:
        assert severity(rule, facts(counted(**{counter: critical}))) == "critical"
    assert getattr(tcp, rule)(facts(counted())) is None
    assert getattr(tcp, rule)(facts(counted(**{counter: None}))) is None


def queue(backlog, port=80, process=None):
    item = Listener("0.0.0.0", port, backlog + 1, backlog, process)
    return SocketsSample(listeners=(item,), listening=1)


OVERFLOW = counted(TcpExt__ListenOverflows=900)


def test_overflows_blame_the_listener():
    culprits = tcp.listen_overflows(facts(OVERFLOW, queue(128, process="nginx (7)"))).culprits
    assert [(c.name, c.id, c.share) for c in culprits] == [("nginx (7)", "0.0.0.0:80", 1.0)]


@pytest.mark.parametrize(
    ("limit", "sample", "proposed"),
    [
        ("128", queue(128), "4096"),
        ("4096", queue(4096), "8192"),
        ("65535", queue(65535), None),
        ("4096", queue(511), None),  # the program asked for less: the limit does not matter
        ("128", SocketsSample(listening=1), "4096"),
        ("4096", SocketsSample(listening=1), None),
    ],
)
def test_the_queue_limit_is_advised_only_where_it_limits(limit, sample, proposed):
    told = advice("listen_overflows", OVERFLOW, sample, SysctlSample({"net.core.somaxconn": limit}))
    assert told.get("sysctl:net.core.somaxconn") == proposed


@pytest.mark.parametrize(
    ("cookies", "dropped", "proposed"), [("0", 5, "4096"), ("1", 5, None), ("0", 0, None)]
)
def test_half_open_connections_are_limited_by_the_setting_only_without_cookies(
    cookies, dropped, proposed
):
    sample = counted(TcpExt__ListenDrops=900, TcpExt__TCPReqQFullDrop=dropped)
    names = ("net.ipv4.tcp_syncookies", "net.ipv4.tcp_max_syn_backlog")
    settings = SysctlSample(dict(zip(names, (cookies, "1024"), strict=True)))
    told = advice("listen_drops", sample, settings)
    assert told.get("sysctl:net.ipv4.tcp_max_syn_backlog") == proposed


@pytest.mark.parametrize(
    ("gibibytes", "current", "proposed"),
    [
        (16, "4096 131072 6291456", "4096 131072 12582912"),
        (16, "4096 131072 33554432", None),
        (1, "4096 131072 3000000", "4096 131072 4194304"),
        (None, "4096 131072 6291456", None),
    ],
)
def test_a_larger_window_is_sized_by_memory(gibibytes, current, proposed):
    told = advice(
        "tcp_receive_drops",
        counted(TcpExt__TCPRcvQDrop=9_000),
        SysctlSample({"net.ipv4.tcp_rmem": current}),
        MemorySample(10.0, gibibytes and gibibytes << 30, None),
    )
    assert told.get("sysctl:net.ipv4.tcp_rmem") == proposed
    assert "slow_reader" in told


@pytest.mark.parametrize(
    ("gibibytes", "current", "proposed"),
    [
        (16, "190000 250000 380000", "380000 506666 760000"),
        (16, "400000 500000 800000", "419430 559240 838860"),
        (16, "600000 800000 900000", None),
        (None, "1 2 3", None),
    ],
)
def test_socket_memory_is_sized_by_memory(gibibytes, current, proposed):
    told = advice(
        "tcp_memory_aborts",
        counted(TcpExt__TCPAbortOnMemory=50),
        SocketsSample(page_bytes=4096),
        SysctlSample({"net.ipv4.tcp_mem": current}),
        MemorySample(10.0, gibibytes and gibibytes << 30, None),
    )
    assert told.get("sysctl:net.ipv4.tcp_mem") == proposed


def test_a_buffer_that_is_large_enough_is_left_alone():
    lost = counted(Udp__RcvbufErrors=900)
    memory = MemorySample(10.0, 16 << 30, None)
    for current, proposed in (("212992", "4194304"), ("16777216", None)):
        settings = SysctlSample({"net.core.rmem_max": current})
        told = advice("udp_receive_buffer", lost, settings, memory)
        assert told.get("sysctl:net.core.rmem_max") == proposed


def test_who_does_not_read_comes_before_a_larger_buffer():
    reader = UdpLoser("10.0.0.1", 53, 900, 0, Holder(7, "reader", "/a", 900))
    seen = facts(
        TcpSample(10.0, {"Udp.RcvbufErrors": 900}, udp_losers=(reader,)),
        SysctlSample({"net.core.rmem_max": "212992"}),
        MemorySample(10.0, 16 << 30, None),
    )
    told = tcp.larger_buffers(seen, tcp.udp_receive_buffer(seen))
    assert [r.id for r in told] == ["udp:readers", "sysctl:net.core.rmem_max"]


@pytest.mark.parametrize(
    ("rule", "counter"),
    [("tcp_receive_drops", "TcpExt__TCPRcvQDrop"), ("tcp_receive_squeezed", "TcpExt__PruneCalled")],
)
def test_who_leaves_data_unread_is_named_for_what_had_no_room(rule, counter):
    crowd = Crowd(40, (Holder(7, "reader", "/a", 30),), 10)
    lost = counted(**{counter: 9_000})
    signal = getattr(tcp, rule)(facts(lost, SocketsSample(crowds={"unread": crowd})))
    assert [(c.name, c.id, c.share) for c in signal.culprits] == [("reader", "7", 0.75)]
    assert getattr(tcp, rule)(facts(lost)).culprits == ()


def test_whose_udp_sockets_lost_datagrams_is_named_and_others_by_their_port():
    def loser(port, lost, pid=None, name="reader"):
        process = None if pid is None else Holder(pid, name, "/a", lost)
        return UdpLoser("10.0.0.1", port, lost, 0, process)

    losers = (
        loser(53, 300, 7), loser(54, 250, 7), loser(4789, 400), loser(55, 30, 8, "hardly"),
        loser(56, 20),
    )  # fmt: skip
    sample = TcpSample(10.0, {"Udp.RcvbufErrors": 1000}, udp_losers=losers)
    told = tcp.udp_receive_buffer(facts(sample)).culprits
    assert [(c.kind, c.name, c.id, c.value, c.share) for c in told] == [
        ("process", "reader", "7", 550, 0.55),
        ("listener", "UDP port 4789", "10.0.0.1:4789", 400, 0.4),
    ]
    assert tcp.udp_receive_buffer(facts(counted(Udp__RcvbufErrors=1000))).culprits == ()
