"""Rules on interfaces, backlogs and connection tracking."""

from __future__ import annotations

import pytest

from analysis.model import Facts
from analysis.registry import discover_rules
from analysis.rules.network import (
    backlog_drops,
    backlog_squeezed,
    conntrack_capacity,
    conntrack_drops,
    link_errors,
    link_flaps,
    link_utilization,
    neighbour_table,
    receive_overruns,
)
from analysis.score import findings
from collectors.conntrack import ConntrackSample
from collectors.conntrack_peers import Peer, Peers
from collectors.memory import MemorySample
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.neighbour import NeighbourSample
from collectors.network import Interface, NetworkSample
from collectors.softnet import SoftnetSample
from collectors.sysctl import SysctlSample


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "network", "quick", True, Status.OK, None, None, 0.0, 0.0, sample)
        for n, sample in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def links(packets=5_000.0, busy=None, flaps=0, **increases):
    spread = Distribution(busy, busy)
    link = Interface(
        "eth0", True, "up", 125e6, 1500, None, None, utilization=spread, packets_received=packets,
        packets_sent=packets, increases=increases, carrier_changes=flaps,
    )  # fmt: skip
    return facts(NetworkSample(10.0, {"eth0": link}))


def severity(rule, known):
    found = findings([(discover_rules()[rule.__name__], rule(known))])
    return str(found[0].severity) if found else None


def advice(rule, known):
    return list(discover_rules()[rule.__name__].advise(known, rule(known)))


@pytest.mark.parametrize(("busy", "expected"), [(0.84, None), (0.9, "warning"), (1.0, "warning")])
def test_a_busy_link_only_warns(busy, expected):
    assert severity(link_utilization, links(busy=busy)) == expected


def test_links_without_a_speed_cannot_be_judged():
    assert link_utilization(links(busy=None)) is None


@pytest.mark.parametrize(
    ("rule", "packets", "increases", "expected"),
    [
        (link_errors, 5_000, {"rx_errors": 0}, None),
        (link_errors, 5_000, {"rx_errors": 1}, None),
        (link_errors, 50, {"rx_errors": 3}, None),
        (link_errors, 5_000, {"rx_errors": 200}, "warning"),
        (link_errors, 5_000, {"tx_errors": 2_000}, "critical"),
        (link_errors, 5_000, {"rx_dropped": 9_000, "rx_errors": 0}, None),
        (link_errors, 1, {"rx_errors": 90}, None),
        (receive_overruns, 5_000, {"rx_dropped": 9_000, "rx_missed_errors": 0}, None),
        (receive_overruns, 5_000, {"rx_missed_errors": 300}, "warning"),
        (receive_overruns, 5_000, {"rx_fifo": 3_000, "rx_missed_errors": None}, "critical"),
    ],
)
def test_mishaps_count_by_share_and_only_when_there_are_several(rule, packets, increases, expected):
    assert severity(rule, links(packets, **increases)) == expected


@pytest.mark.parametrize("rule", [link_errors, receive_overruns])
def test_mishaps_that_were_not_counted_are_unknown_and_not_none(rule):
    counters = {"rx_errors": None, "tx_errors": None, "rx_missed_errors": None}
    assert rule(links(**counters)) is None
    assert rule(links()) is None
    assert rule(links(packets=None, rx_errors=9_000, rx_missed_errors=9_000)) is None
    assert rule(links(rx_errors=0, rx_missed_errors=0, tx_errors=None)).value == 0


def test_one_mishap_under_several_names_counts_once():
    known = links(rx_fifo=100, rx_missed_errors=100, rx_over_errors=100)
    signal = receive_overruns(known)
    assert signal.evidence[0].value == 10
    assert signal.subject == "eth0"
    assert [a.kind for a in advice(receive_overruns, known)] == ["investigate"]


def test_a_cable_pulled_on_purpose_is_no_flap():
    assert severity(link_flaps, links(flaps=1)) is None
    assert severity(link_flaps, links(flaps=4)) == "warning"
    assert link_flaps(links(flaps=None)) is None


@pytest.mark.parametrize(
    ("drops", "expected"), [(0, None), (1, None), (50, "warning"), (5_000, "critical")]
)
def test_backlog_drops(drops, expected):
    assert severity(backlog_drops, facts(SoftnetSample(10.0, dropped=drops))) == expected


def test_unknown_backlogs_cannot_be_judged():
    assert backlog_drops(facts(SoftnetSample(10.0))) is None
    assert backlog_squeezed(facts(SoftnetSample(10.0))) is None


def test_squeezes_are_judged_by_cpu_since_a_large_host_has_many_cpus():
    spread = SoftnetSample(10.0, squeezed=6_400, busiest_cpu=3, busiest_squeezed=100)
    assert severity(backlog_squeezed, facts(spread)) is None
    one = SoftnetSample(10.0, squeezed=900, busiest_cpu=3, busiest_squeezed=800)
    assert severity(backlog_squeezed, facts(one)) == "warning"
    assert "CPU 3" in backlog_squeezed(facts(one)).message


def test_both_ends_of_a_turn_are_raised_and_only_if_they_are_lower():
    soft = SoftnetSample(10.0, busiest_cpu=0, busiest_squeezed=900)
    names = ("net.core.netdev_budget", "net.core.netdev_budget_usecs")
    low = facts(soft, SysctlSample(dict(zip(names, ("300", "2000"), strict=True))))
    assert [a.proposed for a in advice(backlog_squeezed, low)] == ["600", "8000"]
    high = facts(soft, SysctlSample(dict(zip(names, ("600", "20000"), strict=True))))
    assert advice(backlog_squeezed, high) == []


def track(count, most=1000, **increases):
    return ConntrackSample(10.0, count, most, increases)


@pytest.mark.parametrize(
    ("count", "expected"), [(700, None), (800, "warning"), (950, "critical"), (1000, "critical")]
)
def test_a_full_table_of_connections(count, expected):
    assert severity(conntrack_capacity, facts(track(count))) == expected


def test_lost_connections_count_in_the_window_only():
    quiet = track(1, drop=0, early_drop=0)
    assert severity(conntrack_drops, facts(quiet)) is None
    assert severity(conntrack_drops, facts(track(1, drop=10, early_drop=0))) == "warning"
    assert conntrack_drops(facts(track(1))) is None
    assert conntrack_drops(facts(track(1, drop=None, early_drop=0))) is None


@pytest.mark.parametrize(
    ("gibibytes", "most", "proposed"),
    [(16, 100_000, "200000"), (1, 40_000, "52428"), (1, 60_000, None), (None, 1000, None)],
)
def test_more_connections_are_advised_as_far_as_memory_goes(gibibytes, most, proposed):
    memory = MemorySample(10.0, gibibytes and gibibytes << 30, None)
    settings = SysctlSample({"net.netfilter.nf_conntrack_max": str(most)})
    told = advice(conntrack_capacity, facts(track(most, most), memory, settings))
    assert [a.proposed for a in told] == ([proposed] if proposed else [])


NEIGHBOURS = SysctlSample(
    {
        "net.ipv4.neigh.default.gc_thresh1": "128",
        "net.ipv4.neigh.default.gc_thresh2": "512",
        "net.ipv4.neigh.default.gc_thresh3": "1024",
    }
)


@pytest.mark.parametrize(
    ("entries", "refused", "expected"),
    [(600, 0, None), (900, 0, "warning"), (1020, 0, "critical"), (600, 3, "critical")],
)
def test_a_full_table_of_neighbours(entries, refused, expected):
    sample = NeighbourSample(10.0, entries, 4, refused, 0)
    assert severity(neighbour_table, facts(sample, NEIGHBOURS)) == expected
    assert neighbour_table(facts(sample)) is None


def test_a_larger_table_keeps_its_proportions():
    told = advice(neighbour_table, facts(NeighbourSample(10.0, 1024), NEIGHBOURS))
    assert [a.proposed for a in told] == ["2048", "1024", "256"]


@pytest.mark.parametrize("rule", [conntrack_capacity, conntrack_drops])
def test_who_opens_tracked_connections_is_named_by_its_part_of_those_looked_at(rule):
    peers = Peers(
        1000,
        (Peer("10.0.0.7", None, None, 0.3), Peer("10.0.0.8", None, None, 0.04)),
        (Peer("fd00::1", 443, "tcp", 0.9), Peer("10.0.0.9", 0, "icmp", 0.06)),
    )
    sample = ConntrackSample(10.0, 4000, 5000, {"drop": 90, "early_drop": 0}, peers=peers)
    told = rule(facts(sample))
    assert [(c.kind, c.name, c.value, c.share) for c in told.culprits] == [
        ("remote", "[fd00::1]:443", 3600, 0.9),
        ("remote", "10.0.0.7", 1200, 0.3),
        ("remote", "10.0.0.9", 240, 0.06),
    ]
    assert (told.evidence[-1].text, told.evidence[-1].value) == ("of them looked at", 1000)
    bare = rule(facts(track(950, drop=90, early_drop=0)))
    assert (bare.culprits, len(bare.evidence)) == ((), 1)
