"""Rules on graphics and compute cards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.charges import charged
from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import deductions, findings
from collectors.gpu_sample import Gpu, GpuHeat, GpuLink, GpuProcess, GpuRepair, GpuSample
from collectors.model import Distribution, Outcome, Status, Sweep

HERE = "analysis.rules.gpu"
RULES = {n: rule for n, rule in discover_rules().items() if rule.evaluate.__module__ == HERE}


def steady(value, count=11):
    return Distribution(value, value, (value,) * count)


HEALTHY = Gpu(
    "nvidia0",
    "nvidia",
    model="H100",
    pci="0000:8a:00.0",
    uuid="GPU-1",
    measured=True,
    recovery="none",
    utilization=steady(1.0),
    memory_total_bytes=80_000,
    memory_used_bytes=79_900,
    memory_share=steady(0.999),
    heat=GpuHeat(steady(84.0), 90.0, 95.0),
    clock_hz=steady(1.9e9),
    clock_max_hz=1.98e9,
    throttle={"sw_power_cap": 1.0, "hw_slowdown": 0.09},
    throttled=0.0,
    errors={"ecc_corrected": 5000, "ecc_uncorrected": 7, "pcie_replay": 12},
    errors_increase={"ecc_corrected": 0, "ecc_uncorrected": 0, "pcie_replay": 0},
    repair=GpuRepair(4, 1, pending=False, failed=False),
    link=GpuLink(5, 5, 16, 16),
    processes=(GpuProcess(42, "python3", 60_000), GpuProcess(43, None, None)),
)
UNMEASURED = Gpu("0000:8c:00.0", "nvidia", driver="nouveau")


def sweep(cards, started=0.0):
    sample = GpuSample(10.0, tuple(cards))
    outcome = Outcome("gpu", "gpu", "quick", True, Status.OK, None, None, 0.0, 1.0, sample)
    return Sweep("quick", started, started, 10.0, 10.0, outcomes={"gpu": outcome})


def facts(*cards, before=None):
    return Facts(sweep(cards, 60.0), None if before is None else sweep([before]))


def found(known):
    signals = [(rule, rule.evaluate(known)) for rule in RULES.values()]
    return findings([(rule, signal) for rule, signal in signals if signal is not None])


def severities(known):
    return {f.rule.id: f.severity for f in found(known)}


def counted(**errors):
    return replace(HEALTHY, errors=HEALTHY.errors | errors)


def test_a_busy_full_warm_power_capped_card_with_a_past_is_healthy():
    assert len(RULES) == 7
    assert severities(facts(HEALTHY)) == {}
    assert severities(facts(HEALTHY, before=HEALTHY)) == {}


def test_a_healthy_card_answers_every_rule_and_an_unmeasured_one_none():
    assert all(rule.evaluate(facts(HEALTHY)) is not None for rule in RULES.values())
    assert all(rule.evaluate(facts(UNMEASURED)) is None for rule in RULES.values())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"lost": True}, Severity.CRITICAL),
        ({"recovery": "gpu_reset"}, Severity.WARNING),
        ({"recovery": "other"}, Severity.WARNING),
        ({"recovery": None}, None),
    ],
)
def test_a_card_that_cannot_be_reached_is_judged_at_once(change, expected):
    card = replace(HEALTHY, **change)
    assert severities(facts(HEALTHY, card)).get("gpu_lost") is expected
    assert RULES["gpu_lost"].at_once


def test_a_lost_card_is_named_with_what_is_known_of_it():
    signal = RULES["gpu_lost"].evaluate(facts(HEALTHY, replace(HEALTHY, name="nvidia1", lost=True)))
    assert signal.subject == "nvidia1"
    assert signal.message == "nvidia1 (H100) is lost: the driver cannot reach it any more"
    assert "0000:8a:00.0" in signal.culprits[0].detail


@pytest.mark.parametrize(
    ("celsius", "limit", "expected"),
    [
        (84.0, 90.0, None),
        (88.0, 90.0, Severity.WARNING),
        (91.0, 90.0, Severity.CRITICAL),
        (91.0, 100.0, None),
        (120.0, None, None),
    ],
)
def test_heat_is_judged_by_the_cards_own_limit(celsius, limit, expected):
    card = replace(HEALTHY, heat=GpuHeat(steady(celsius), limit))
    assert severities(facts(card)).get("gpu_temperature") is expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1 / 11, None), (2 / 11, Severity.WARNING), (6 / 11, Severity.CRITICAL), (None, None)],
)
def test_a_brake_of_the_hardware_counts_when_it_is_more_than_a_moment(share, expected):
    card = replace(HEALTHY, throttled=share)
    assert severities(facts(card)).get("gpu_throttled") is expected


def test_few_readings_say_nothing_of_a_brake():
    card = replace(HEALTHY, throttled=1.0, clock_hz=steady(1.9e9, 4))
    assert RULES["gpu_throttled"].evaluate(facts(card)) is None


@pytest.mark.parametrize(
    ("count", "expected"), [(7, None), (8, Severity.WARNING), (12, Severity.CRITICAL)]
)
def test_uncorrected_errors_count_since_the_sweep_before(count, expected):
    known = facts(counted(ecc_uncorrected=count), before=HEALTHY)
    assert severities(known).get("gpu_ecc_uncorrected") is expected


def test_without_a_sweep_before_only_the_window_counts():
    fresh = replace(HEALTHY, errors_increase={"ecc_uncorrected": 1, "ecc_corrected": 20})
    expected = {"gpu_ecc_uncorrected": Severity.WARNING, "gpu_ecc_corrected": Severity.WARNING}
    assert severities(facts(fresh)) == expected
    assert RULES["gpu_ecc_corrected"].evaluate(facts(fresh)).value == 2.0


@pytest.mark.parametrize("change", [{"uuid": "GPU-2"}, {"pci": "0000:8b:00.0"}])
def test_another_card_in_the_same_place_has_a_past_of_its_own(change):
    other = replace(HEALTHY, **change, errors={"ecc_uncorrected": 0, "ecc_corrected": 0})
    assert severities(facts(HEALTHY, before=other)) == {}


def test_counters_that_began_anew_count_nothing_of_their_past():
    assert severities(facts(counted(ecc_uncorrected=2), before=HEALTHY)) == {}


@pytest.mark.parametrize(
    ("more", "expected"), [(5, None), (7, Severity.WARNING), (700, Severity.CRITICAL)]
)
def test_corrected_errors_are_a_rate_over_the_time_between_sweeps(more, expected):
    known = facts(counted(ecc_corrected=5000 + more), before=HEALTHY)
    assert RULES["gpu_ecc_corrected"].evaluate(known).value == pytest.approx(more / 60)
    assert severities(known).get("gpu_ecc_corrected") is expected


def test_unknown_counters_say_nothing():
    card = replace(HEALTHY, errors={}, errors_increase={})
    for name in ("gpu_ecc_corrected", "gpu_ecc_uncorrected"):
        assert RULES[name].evaluate(facts(card, before=HEALTHY)) is None


@pytest.mark.parametrize(
    ("pending", "failed", "expected"),
    [
        (False, False, None),
        (True, False, Severity.WARNING),
        (True, None, Severity.WARNING),
        (False, True, Severity.CRITICAL),
    ],
)
def test_repairs_that_wait_or_failed_are_findings(pending, failed, expected):
    card = replace(HEALTHY, repair=GpuRepair(1, 1, pending, failed))
    assert severities(facts(card)).get("gpu_memory_repair") is expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (GpuLink(5, 5, 16, 16), None),
        (GpuLink(5, 5, 8, 16), Severity.WARNING),
        (GpuLink(5, 5, 1, 16), Severity.WARNING),
        (GpuLink(1, 4, 16, 16), Severity.WARNING),
        (GpuLink(None, 5, 8, 16), None),
        (GpuLink(5, 5, 16, None), None),
    ],
)
def test_a_slow_link_of_a_card_at_work_is_a_finding(link, expected):
    assert severities(facts(replace(HEALTHY, link=link))).get("gpu_pcie_degraded") is expected


@pytest.mark.parametrize(
    "change",
    [
        {"utilization": steady(0.1)},
        {"utilization": Distribution()},
        {"clock_hz": steady(0.2e9)},
        {"clock_max_hz": None},
    ],
)
def test_an_idle_link_slows_down_on_purpose(change):
    card = replace(HEALTHY, link=GpuLink(1, 5, 8, 16), **change)
    assert RULES["gpu_pcie_degraded"].evaluate(facts(card)) is None


def test_who_uses_the_card_is_named_after_it():
    signal = RULES["gpu_throttled"].evaluate(facts(replace(HEALTHY, throttled=0.5)))
    named = [(c.kind, c.name, c.id, c.value, c.share) for c in signal.culprits]
    assert named == [
        ("device", "nvidia0", None, 0.5, None),
        ("process", "python3", "42", 60_000, 0.75),
        ("process", "unknown", "43", None, None),
    ]
    assert [e.text for e in signal.evidence] == ["nvidia0", "sw_power_cap", "hw_slowdown"]


def test_a_card_that_fails_in_every_way_is_charged_once():
    broken = replace(
        HEALTHY,
        recovery="gpu_reset",
        repair=GpuRepair(1, 1, pending=True, failed=True),
        errors_increase={"ecc_uncorrected": 9, "ecc_corrected": 900},
    )
    charges = deductions(charged(found(facts(broken)), {}))
    assert [(c.cause, c.resource) for c in charges] == [("failing_gpu", "gpu")]
