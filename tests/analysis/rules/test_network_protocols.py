"""Rules on what TCP and UDP meet on the network."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.model import Outcome, Status, Sweep
from collectors.tcp import TcpSample

RULES = {n: discover_rules()[n] for n in ("tcp_out_of_order", "tcp_resets", "udp_bad_packets")}
W, C = Severity.WARNING, Severity.CRITICAL


def facts(counts):
    sample = TcpSample(10.0, counts)
    outcome = Outcome("tcp", "network", "quick", True, Status.OK, None, None, 0.0, 1.0, sample)
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"tcp": outcome}))


def severity(name, counts):
    signal = RULES[name].evaluate(facts(counts))
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


@pytest.mark.parametrize(
    ("name", "bad", "of", "cases"),
    [
        ("tcp_out_of_order", "TcpExt.TCPOFOQueue", "Tcp.InSegs",
         [(9_000, 100_000, None), (15_000, 100_000, W), (90_000, 100_000, W), (400, 1_000, None)]),
        ("tcp_resets", "Tcp.OutRsts", "Tcp.InSegs",
         [(900, 1_000, None), (2_000, 10_000, W), (2_000, 100_000, None)]),
        ("udp_bad_packets", "Udp.InCsumErrors", "Udp.InDatagrams",
         [(100, 900_000, None), (100, 50_000, W), (900, 10_000, C), (40, 10, None)]),
    ],
)  # fmt: skip
def test_they_count_by_share_and_only_when_there_are_several(name, bad, of, cases):
    for some, whole, expected in cases:
        assert severity(name, {bad: some, of: whole}) is expected, (some, whole)
        assert RULES[name].evaluate(facts({of: whole})) is None
        assert RULES[name].evaluate(facts({bad: some})) is None


def test_what_a_socket_filter_or_a_full_buffer_drops_is_not_damaged():
    counts = {"Udp.InCsumErrors": 0, "Udp.InErrors": 9_000, "Udp.InDatagrams": 10_000}
    assert severity("udp_bad_packets", counts) is None


def test_both_families_of_addresses_count():
    counts = {"Udp.InCsumErrors": 0, "Udp6.InCsumErrors": 900,
              "Udp.InDatagrams": 0, "Udp6.InDatagrams": 9_000}  # fmt: skip
    assert severity("udp_bad_packets", counts) is C
