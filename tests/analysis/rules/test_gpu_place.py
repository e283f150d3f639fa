"""The rule on cards that are far from the network they work over."""

from __future__ import annotations

import pytest

from analysis.model import Facts
from analysis.registry import discover_rules
from analysis.rules.gpu_place import gpu_network_apart
from analysis.score import findings
from collectors.gpu_sample import Gpu, GpuSample
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.network import Interface, NetworkSample

MIB = 1 << 20


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "x", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def card(node, busy=0.9, name="nvidia0"):
    return Gpu(name, "nvidia", numa_node=node, utilization=Distribution(busy, busy))


def links(*places):
    found = [
        Interface(f"eth{n}", True, "up", None, 1500, None, node, Distribution(moved, moved))
        for n, (node, moved) in enumerate(places)
    ]
    return NetworkSample(10.0, {i.name: i for i in found})


@pytest.mark.parametrize(
    ("gpu", "network", "expected"),
    [
        (card(0), links((1, 900 * MIB)), 1),
        (card(0), links((0, 900 * MIB)), 0),
        (card(0), links((1, 900 * MIB), (0, 900 * MIB)), 0),
        (card(0), links((1, 900 * MIB), (0, 0)), 1),
        (card(0), links((1, MIB)), 0),
        (card(0, busy=0.1), links((1, 900 * MIB)), 0),
        (card(-1), links((1, 900 * MIB)), None),
        (card(0), links((None, 900 * MIB)), None),
    ],
)
def test_only_a_card_at_work_far_from_the_network_in_use_counts(gpu, network, expected):
    signal = gpu_network_apart(facts(GpuSample(10.0, (gpu,)), network))
    assert (signal and signal.value) == expected
    if signal:
        fired = findings([(discover_rules()["gpu_network_apart"], signal)])
        assert len(fired) == expected


def test_without_cards_or_network_nothing_is_known():
    assert gpu_network_apart(facts(GpuSample(10.0, (card(0),)))) is None
    assert gpu_network_apart(facts(links((1, MIB)))) is None


def test_the_card_and_the_link_are_named():
    cards = GpuSample(10.0, (card(0), card(1, name="nvidia1")))
    signal = gpu_network_apart(facts(cards, links((1, 900 * MIB))))
    assert [c.name for c in signal.culprits] == ["nvidia0"]
    assert "eth0" in signal.message
