"""Use of the network."""

from __future__ import annotations

import pytest

from analysis.model import Facts
from analysis.use.network import MOST_DEVICES, network, setting
from collectors.base import Context
from collectors.conntrack import ConntrackSample
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.network import Interface, NetworkSample, collect
from collectors.sockets import Listener, SocketsSample
from collectors.softnet import SoftnetSample
from collectors.sysctl import SysctlSample
from collectors.tcp import TcpSample


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "network", "quick", True, Status.OK, None, None, 0.0, 0.0, sample)
        for n, sample in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def link(name, busy=None, *, physical=True, **counts):
    spread = Distribution() if busy is None else Distribution(busy, busy, (busy,))
    return Interface(
        name, physical, "up", None, 1500, None, None,
        utilization=spread, totals=counts, increases=counts,
    )  # fmt: skip


def links(*items):
    return NetworkSample(10.0, {i.name: i for i in items})


def test_the_busiest_link_stands_for_all_and_loopback_for_none():
    told = network(facts(links(link("lo", 0.9), link("eth0", 0.2), link("eth1", 0.4))))
    assert told.utilization.mean == 0.4
    assert set(told.devices) == {"eth0", "eth1"}


def test_errors_are_there_before_they_happen_and_unknown_ones_stay_unknown():
    told = network(facts(links(link("eth0", rx_errors=3))))
    assert set(told.devices["eth0"].errors) == {
        "rx_errors",
        "tx_errors",
        "rx_dropped",
        "tx_dropped",
    }
    assert told.devices["eth0"].errors["rx_errors"].total == 3
    assert told.devices["eth0"].errors["tx_errors"].total is None
    assert {c.total for c in told.errors.values()} == {None}
    assert set(told.saturation.values()) == {None}
    assert told.utilization.mean is None


def test_errors_of_the_protocols_are_told_by_kind():
    tcp = TcpSample(10.0, {"Tcp.RetransSegs": 4}, {"Tcp.RetransSegs": 40})
    soft = SoftnetSample(10.0, dropped=1, dropped_total=2)
    track = ConntrackSample(10.0, 1, 10, {"drop": 5}, {"drop": 6})
    errors = network(facts(links(link("eth0")), tcp, soft, track)).errors
    assert (errors["tcp_retransmits"].total, errors["tcp_retransmits"].increase) == (40, 4)
    assert (errors["backlog_drops"].total, errors["conntrack_drops"].increase) == (2, 5)
    assert errors["listen_drops"].total is None


def test_limits_are_told_as_shares():
    sockets = SocketsSample(
        listeners=(Listener("0.0.0.0", 80, 30, 39), Listener("0.0.0.0", 81, 1, 128)),
        listening=2, ports=200, ports_to_one=50, time_wait=10, orphans=1,
        tcp_memory_pages=60, udp_memory_pages=30,
    )  # fmt: skip
    settings = {
        "net.ipv4.tcp_mem": "10 20 120", "net.ipv4.udp_mem": "1 2 300",
        "net.ipv4.tcp_max_orphans": "4", "net.ipv4.tcp_max_tw_buckets": "100",
    }  # fmt: skip
    track = ConntrackSample(10.0, 30, 40)
    known = facts(links(link("eth0")), sockets, SysctlSample(settings), track)
    assert network(known).saturation == {
        "conntrack": 0.75, "listen_queue": 0.75, "ephemeral_ports": 0.25, "tcp_memory": 0.5,
        "udp_memory": 0.1, "tcp_orphans": 0.25, "time_wait": 0.1,
    }  # fmt: skip


def test_listeners_without_waiting_connections_are_no_saturation():
    told = network(facts(links(link("eth0")), SocketsSample(listening=3)))
    assert told.saturation["listen_queue"] == 0.0


@pytest.mark.parametrize(("text", "value"), [("1 2 3", 3), ("7", 7), ("", None), ("max", None)])
def test_a_setting_is_its_last_number(text, value):
    assert setting(facts(SysctlSample({"a": text})), "a") == value


def test_devices_are_bounded_and_physical_ones_come_first():
    many = [link(f"a{n}", physical=False) for n in range(500)]
    told = network(facts(links(*many, link("wan9", 0.1))))
    assert len(told.devices) == MOST_DEVICES
    assert "wan9" in told.devices


def test_this_host_has_a_use():
    told = network(facts(collect(Context(duration=0.0))))
    assert "lo" not in told.devices
