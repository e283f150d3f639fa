"""Rules on sockets."""

from __future__ import annotations

import pytest

from analysis.model import Facts
from analysis.registry import discover_rules
from analysis.rules import sockets
from analysis.score import findings
from collectors.model import Outcome, Status, Sweep
from collectors.socket_owners import Crowd, Holder
from collectors.sockets import Listener, SocketsSample
from collectors.sysctl import SysctlSample

SETTINGS = SysctlSample(
    {
        "net.ipv4.tcp_mem": "500 666 1000",
        "net.ipv4.udp_mem": "500 666 1000",
        "net.ipv4.tcp_max_orphans": "1000",
        "net.ipv4.tcp_max_tw_buckets": "1000",
        "net.ipv4.ip_local_port_range": "32768 60999",
        "net.ipv4.tcp_tw_reuse": "2",
    }
)


def sweep(*samples):
    outcomes = {
        str(n): Outcome(str(n), "network", "quick", True, Status.OK, None, None, 0.0, 0.0, sample)
        for n, sample in enumerate(samples)
    }
    return Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes)


def severity(rule, sample, before=None):
    known = Facts(sweep(sample, SETTINGS), None if before is None else sweep(before))
    found = findings([(discover_rules()[rule], getattr(sockets, rule)(known))])
    return str(found[0].severity) if found else None


def states(**counts):
    return SocketsSample(listening=1, states=counts)


@pytest.mark.parametrize(
    ("queue", "backlog", "expected"),
    [
        (0, 128, None),
        (80, 128, None),
        (100, 128, "warning"),
        (129, 128, "critical"),
        (6, 5, None),  # an instant of a small server
    ],
)
def test_a_listeners_queue(queue, backlog, expected):
    waiting = (Listener("::", 443, queue, backlog),) if queue else ()
    assert severity("listen_queue", SocketsSample(listening=9, listeners=waiting)) == expected


@pytest.mark.parametrize(
    ("rule", "field", "quiet", "warning", "critical"),
    [
        ("tcp_memory", "tcp_memory_pages", 500, 700, 960),
        ("udp_memory", "udp_memory_pages", 500, 800, 960),
        ("tcp_orphans", "orphans", 300, 600, 950),
        ("time_wait", "time_wait", 700, 900, None),
    ],
)
def test_sums_are_held_against_their_limits(rule, field, quiet, warning, critical):
    assert severity(rule, SocketsSample(**{field: quiet})) is None
    assert severity(rule, SocketsSample(**{field: warning})) == "warning"
    if critical is not None:
        assert severity(rule, SocketsSample(**{field: critical})) == "critical"
    assert getattr(sockets, rule)(Facts(sweep(SocketsSample(), SETTINGS))) is None
    assert getattr(sockets, rule)(Facts(sweep(SocketsSample(**{field: quiet})))) is None


@pytest.mark.parametrize(("taken", "expected"), [(500, None), (850, "warning"), (990, "critical")])
def test_ports_to_one_service(taken, expected):
    sample = SocketsSample(ports=1000, ports_to_one=taken, time_wait=100_000)
    assert severity("ephemeral_ports", sample) == expected


def test_a_busy_servers_connections_take_no_ports():
    sample = SocketsSample(
        listening=1, states={"established": 90_000}, time_wait=150_000, ports=28_232, ports_to_one=3
    )
    assert severity("ephemeral_ports", sample) is None


@pytest.mark.parametrize(
    ("bounds", "time_wait", "reuse", "expected"),
    [
        ("32768 60999", 25_000, "2", {"ip_local_port_range": "15000 65000", "tcp_tw_reuse": "1"}),
        ("32768 60999", 100, "2", {"ip_local_port_range": "15000 65000"}),
        ("1024 65535", 25_000, "1", {}),
        ("1024 60999", 0, "1", {"ip_local_port_range": "1024 65000"}),
    ],
)
def test_ports_are_only_ever_added(bounds, time_wait, reuse, expected):
    settings = {"net.ipv4.ip_local_port_range": bounds, "net.ipv4.tcp_tw_reuse": reuse}
    sample = SocketsSample(ports=28_232, ports_to_one=27_000, time_wait=time_wait)
    known = Facts(sweep(sample, SysctlSample(settings)))
    rule = discover_rules()["ephemeral_ports"]
    told = {a.id: a.proposed for a in rule.advise(known, rule.evaluate(known))}
    assert told == {f"sysctl:net.ipv4.{name}": value for name, value in expected.items()}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, 1, None),
        (None, 500, None),
        (None, 5_000, "warning"),
        (400, 300, None),
        (300, 400, "warning"),
        (90, 99, None),
        (11_000, 12_000, "critical"),
    ],
)
def test_connections_that_are_never_closed_are_a_leak_and_one_is_not(before, now, expected):
    earlier = None if before is None else states(close_wait=before)
    assert severity("close_wait", states(close_wait=now), earlier) == expected


def test_unread_data_counts_when_it_is_no_exception():
    few = SocketsSample(listening=1, unread=30, states={"established": 5_000})
    many = SocketsSample(listening=1, unread=30, states={"established": 100})
    one = SocketsSample(listening=1, unread=1, states={"established": 1})
    told = [severity("unread_data", sample) for sample in (few, many, one)]
    assert told == [None, "warning", None]


@pytest.mark.parametrize("rule", ["listen_queue", "close_wait", "unread_data", "ephemeral_ports"])
def test_without_netlink_nothing_is_said(rule):
    assert getattr(sockets, rule)(Facts(sweep(SocketsSample(time_wait=5), SETTINGS))) is None


def signal(rule, sample, before=None):
    known = Facts(sweep(sample, SETTINGS), None if before is None else sweep(before))
    return getattr(sockets, rule)(known)


def told(rule, sample):
    return [(c.kind, c.name, c.id, c.value, c.share) for c in signal(rule, sample).culprits]


LARGE, SMALL = Holder(7, "leaker", "/a", 150), Holder(8, "other", "/b", 40)


@pytest.mark.parametrize(
    ("rule", "name", "sample"),
    [
        ("close_wait", "close_wait", {"states": {"close_wait": 200}}),
        ("unread_data", "unread", {"states": {"established": 300}, "unread": 200}),
        ("tcp_memory", "queued", {"tcp_memory_pages": 800}),
    ],
)
def test_who_holds_many_sockets_is_named_with_the_share_of_all(rule, name, sample):
    crowd = Crowd(200, (LARGE, SMALL), 10)
    known = SocketsSample(listening=1, crowds={name: crowd}, **sample)
    assert told(rule, known) == [
        ("process", "leaker", "7", 150, 0.75),
        ("process", "other", "8", 40, 0.2),
    ]
    assert ("of an unknown process", 10) in [
        (e.text, e.value) for e in signal(rule, known).evidence
    ]
    assert told(rule, SocketsSample(listening=1, **sample)) == []


def test_nobody_is_named_for_a_few_of_many_whose_holder_is_unknown():
    crowd = Crowd(200, (Holder(8, "other", "/b", 9),), 191)
    sample = SocketsSample(listening=1, states={"close_wait": 200}, crowds={"close_wait": crowd})
    assert told("close_wait", sample) == []


def test_the_service_is_named_before_those_who_still_have_connections_to_it():
    crowd = Crowd(930, (Holder(7, "dialer", "/a", 3),), 927, "192.0.2.1:443")
    sample = SocketsSample(ports=1000, ports_to_one=930, time_wait=927, crowds={"ports": crowd})
    assert told("ephemeral_ports", sample) == [
        ("remote", "192.0.2.1:443", None, 930, 0.93),
        ("process", "dialer", "7", 3, pytest.approx(3 / 930)),
    ]
    assert "192.0.2.1:443" in signal("ephemeral_ports", sample).message
    bare = SocketsSample(ports=1000, ports_to_one=930, time_wait=927)
    assert told("ephemeral_ports", bare) == []
    assert "one service" in signal("ephemeral_ports", bare).message
