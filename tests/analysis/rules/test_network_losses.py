"""Rules on where packets are lost around the host."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.model import Outcome, Status, Sweep
from collectors.network import Interface, NetworkSample
from collectors.nic import Card, NicSample
from collectors.qdisc import QdiscSample, Queue

RULES = {n: discover_rules()[n] for n in ("queue_drops", "card_discards", "network_allowance")}


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "network", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def network(received=1000.0, sent=1000.0):
    link = Interface(
        "eth0", True, "up", None, 1500, None, None, packets_received=received, packets_sent=sent
    )
    return NetworkSample(10.0, {"eth0": link})


def queue(dropped):
    return QdiscSample(10.0, {"eth0": Queue("eth0", "fq_codel", 0, 3, 99_999, dropped, 0, 0)})


def cards(**losses):
    return NicSample(10.0, {"eth0": Card("eth0", losses=losses, losses_increase=losses)})


def severity(name, known):
    signal = RULES[name].evaluate(known)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


@pytest.mark.parametrize(
    ("sent", "dropped", "expected"),
    [
        (1000, 0, None),
        (1000, 90, None),
        (1000, 150, Severity.WARNING),
        (1000, 900, Severity.CRITICAL),
        (50, 300, None),
        (100, 40, None),
    ],
)
def test_drops_in_a_queue_count_as_a_share_of_what_was_to_be_sent(sent, dropped, expected):
    assert severity("queue_drops", facts(queue(dropped), network(sent=sent))) is expected


def test_a_queue_without_numbers_is_unknown():
    assert RULES["queue_drops"].evaluate(facts(queue(None), network())) is None
    assert RULES["queue_drops"].evaluate(facts(queue(9), NetworkSample(10.0, {}))) is None


@pytest.mark.parametrize(
    ("counter", "expected"),
    [
        ("rx_out_of_buffer", Severity.WARNING),
        ("rx_queue_*_drops_no_buf", Severity.WARNING),
        ("rx_discards_phy", Severity.WARNING),
        ("rx_no_dma_resources", Severity.WARNING),
        ("rx_xdp_drop_no_buf", None),
        ("rx_crc_errors", None),
        ("tx_discards", None),
        ("rx_dropped", None),
        ("rx_missed_errors", None),
    ],
)
def test_only_what_had_no_buffer_counts_by_the_drivers_word(counter, expected):
    known = facts(cards(**{counter: 50}), network())
    assert severity("card_discards", known) is expected


def test_one_mishap_under_several_names_is_counted_once_and_all_names_are_evidence():
    known = facts(cards(rx_discards=900, rx_out_of_buffer=900), network())
    signal = RULES["card_discards"].evaluate(known)
    assert signal.value == pytest.approx(90 / 1090)
    assert {e.text for e in signal.evidence} == {"rx_discards", "rx_out_of_buffer"}
    assert severity("card_discards", known) is Severity.CRITICAL


def test_few_packets_have_no_share():
    assert severity("card_discards", facts(cards(rx_discards=9), network(received=5.0))) is None


@pytest.mark.parametrize(
    ("held_back", "expected"), [(5, None), (20, Severity.WARNING), (2000, Severity.CRITICAL)]
)
def test_an_allowance_of_the_provider_is_named(held_back, expected):
    known = facts(cards(pps_allowance_exceeded=held_back, rx_discards=5))
    assert severity("network_allowance", known) is expected
    assert "pps beyond the allowance" in RULES["network_allowance"].evaluate(known).message


def test_without_cards_nothing_is_known_of_an_allowance():
    assert RULES["network_allowance"].evaluate(facts(NicSample(10.0, {}))) is None


def test_damaged_packets_are_explained_by_the_drivers_own_counters():
    link = Interface(
        "eth0", True, "up", None, 1500, None, None, packets_received=5e3, packets_sent=5e3,
        increases={"rx_errors": 900},
    )  # fmt: skip
    known = facts(
        NetworkSample(10.0, {"eth0": link}), cards(rx_crc_errors=880, rx_length_errors=20)
    )
    signal = discover_rules()["link_errors"].evaluate(known)
    assert [e.text for e in signal.evidence[1:]] == ["rx_crc_errors", "rx_length_errors"]
