"""Causes that lie in the network: which pictures they explain, and which they leave to others."""

from __future__ import annotations

import pytest

from analysis.causes.network import PATTERNS as OWN
from analysis.diagnosis import Case, diagnose
from analysis.model import Anomaly, Facts, Severity
from analysis.registry import discover_patterns, discover_rules
from collectors.bpf.model import ProbeSample, histogram
from collectors.model import Outcome, Status, Sweep
from collectors.tcp import TcpSample

RULES, PATTERNS = discover_rules(), discover_patterns()
MS = 20  # slot of a millisecond


def case(*active, **samples):
    """A host on which these rules fire and all others are quiet."""
    outcomes = {
        name: Outcome(name, "network", "deep", False, Status.OK, None, None, 0.0, 1.0, data)
        for name, data in samples.items()
    }
    anomalies = [
        Anomaly(r, RULES[r].resource, RULES[r].cause, Severity.WARNING, "message", None, 1.0,
                RULES[r].unit, 1.0, 2.0, 0.0, "Something is wrong.")
        for r in active
    ]  # fmt: skip
    states = dict.fromkeys(RULES, "quiet") | dict.fromkeys(active, "active")
    facts = Facts(Sweep("deep", 0.0, 0.0, 60.0, 60.0, outcomes=outcomes))
    return Case(facts, anomalies, states, dict.fromkeys(active, 10.0))


def found(*active, **samples):
    return {h.id: h for h in diagnose(case(*active, **samples), PATTERNS)}


def counters(**increases):
    names = {n.replace("_", "."): v for n, v in increases.items()}
    return TcpSample(10.0, names)


@pytest.mark.parametrize(
    ("active", "cause"),
    [
        (("dns_latency",), "slow_name_server"),
        (("dns_unanswered",), "slow_name_server"),
        (("dns_latency", "dns_unanswered"), "slow_name_server"),
        (("dns_unanswered", "dns_latency", "tcp_retransmits"), "packet_loss"),
        (("dns_unanswered", "tcp_retransmits", "link_errors"), "bad_link"),
        (("dns_unanswered", "tcp_retransmits", "link_utilization"), "link_saturated"),
        (("dns_unanswered", "conntrack_drops", "conntrack_capacity"), "conntrack_full"),
        (("network_allowance", "tcp_retransmits", "dns_unanswered"), "provider_limit"),
        (("tcp_out_of_order",), "packet_loss"),
        (("tcp_out_of_order", "receive_overruns"), "receive_overrun"),
        (("syn_flood",), "syn_flood"),
        (("syn_flood", "listen_drops"), "syn_flood"),
        (("syn_flood", "listen_drops", "listen_overflows", "listen_queue"), "slow_acceptor"),
    ],
)
def test_each_picture_has_its_cause_first_and_nothing_is_left_of_it(active, cause):
    first = next(iter(found(*active).values()))
    assert (first.id, first.known) == (cause, True)
    assert {*first.seen, *first.explains} == {*active}


def test_where_programs_wait_for_cpus_that_comes_before_the_name_server():
    picture = ("dns_latency", "cpu_pressure", "run_queue", "run_queue_latency")
    assert next(iter(found(*picture))) == "cpu_overload"


def test_a_slow_name_server_is_less_likely_the_more_else_is_wrong():
    alone = found("dns_latency")["slow_name_server"].confidence
    lossy = found("dns_latency", "tcp_retransmits")["slow_name_server"].confidence
    busy = found("dns_latency", "run_queue_latency")["slow_name_server"].confidence
    both = found("dns_latency", "tcp_retransmits", "run_queue_latency")["slow_name_server"]
    assert 1.0 == alone > lossy == busy > both.confidence


def answers(*servers):
    rows = tuple({"server": s, "count": 10, "seconds": 10 * mean} for s, mean in servers)
    return ProbeSample("dnslat", 60.0, 10 * len(rows), tops={"server": rows})


def connects(slot):
    return ProbeSample("tcpconnlat", 60.0, 100, histograms=(histogram("x", {slot: 100}, 0),))


def test_another_server_that_is_fast_and_fast_connections_speak_for_a_slow_server():
    one_slow, both_slow = answers(("a", 0.5), ("b", 0.01)), answers(("a", 0.5), ("b", 0.4))
    for dnslat, tcpconnlat, confidence in (
        (one_slow, connects(MS), 1.0),
        (both_slow, connects(MS), 0.75),
        (both_slow, connects(MS + 9), 0.5),
    ):
        told = found("dns_latency", dnslat=dnslat, tcpconnlat=tcpconnlat)
        assert told["slow_name_server"].confidence == confidence


@pytest.mark.parametrize(
    ("resets", "cut", "cause"),
    [
        (2000, 100, "nobody_listens"),
        (2000, 1500, "program_cuts_off"),
        (2000, None, "refused_connections"),  # nothing tells: the finding stands for itself
    ],
)
def test_resets_are_told_apart_by_what_they_answer(resets, cut, cause):
    more = {} if cut is None else {"TcpExt_TCPAbortOnClose": cut, "TcpExt_TCPAbortOnData": 0}
    assert list(found("tcp_resets", tcp=counters(Tcp_OutRsts=resets, **more))) == [cause]


def test_cookies_that_nobody_brings_back_tell_a_flood_from_a_slow_server():
    picture = ("syn_flood", "listen_overflows", "listen_drops")
    flood = counters(TcpExt_SyncookiesSent=1000, TcpExt_SyncookiesRecv=3)
    crowd = counters(TcpExt_SyncookiesSent=1000, TcpExt_SyncookiesRecv=980)
    flooded, crowded = (found(*picture, tcp=sample) for sample in (flood, crowd))
    assert flooded["syn_flood"].confidence > crowded["syn_flood"].confidence
    assert flooded["slow_acceptor"].confidence < crowded["slow_acceptor"].confidence
    assert next(iter(crowded)) == "slow_acceptor"


def test_every_rule_on_the_network_belongs_to_a_cause():
    shown = {r for p in PATTERNS for r in (*p.seen.rules, *p.explains)}
    assert {r.id for r in RULES.values() if r.resource == "network"} - shown == set()


def test_no_cause_is_shown_by_what_it_explains_or_supported_by_itself():
    for known in OWN:
        backed = {r for clue in (*known.must, *known.speaks_for) for r in clue.rules}
        assert not backed & {*known.seen.rules}, known.id
