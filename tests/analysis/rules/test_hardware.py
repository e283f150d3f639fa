"""Rules on what hardware counts of its own failures."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.hardware import Dimm, HardwareSample
from collectors.model import Outcome, Status, Sweep

NAMES = (
    "memory_corrected_errors", "memory_uncorrected_errors", "bus_corrected_errors",
    "bus_lost_transactions", "heat_throttling",
)  # fmt: skip
RULES = {n: discover_rules()[n] for n in NAMES}


def sweep(at, **parts):
    sample = HardwareSample(10.0, **parts)
    outcome = Outcome("h", "system", "quick", False, Status.OK, None, None, 0.0, 1.0, sample)
    return Sweep("quick", at, at, 10.0, 10.0, outcomes={"h": outcome})


def facts(before=None, **parts):
    return Facts(sweep(60.0, **parts), None if before is None else sweep(0.0, **before))


def severity(name, known):
    signal = RULES[name].evaluate(known)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


def dimm(name="mc0", corrected=0, uncorrected=0, step=0, label=None):
    return Dimm(name, label, corrected, uncorrected, step, step)


@pytest.mark.parametrize(
    ("count", "expected"), [(9, None), (12, Severity.WARNING), (2000, Severity.CRITICAL)]
)
def test_corrected_errors_count_since_the_sweep_before(count, expected):
    before = {"memory": (dimm(corrected=500),)}
    now = (dimm(corrected=500 + count), dimm("mc0/dimm1", corrected=count, label="A1"))
    assert severity("memory_corrected_errors", facts(before, memory=now)) is expected


def test_a_module_that_errs_is_named_and_its_errors_are_not_counted_twice():
    before = {"memory": (dimm(), dimm("mc0/dimm1", label="A1"))}
    now = (dimm(corrected=30), dimm("mc0/dimm1", corrected=30, label="A1"))
    signal = RULES["memory_corrected_errors"].evaluate(facts(before, memory=now))
    assert (signal.value, signal.subject) == (30, "mc0/dimm1")
    assert [(c.name, c.detail) for c in signal.culprits] == [("mc0/dimm1", "A1")]
    assert "A1" in signal.message


def test_one_error_that_could_not_be_corrected_is_critical_at_once():
    known = facts({"memory": (dimm(),)}, memory=(dimm(uncorrected=1),))
    assert severity("memory_uncorrected_errors", known) is Severity.CRITICAL
    assert severity("memory_corrected_errors", known) is None
    assert RULES["memory_uncorrected_errors"].at_once


def test_without_an_earlier_sweep_the_window_counts_and_old_errors_do_not():
    assert (
        RULES["memory_uncorrected_errors"].evaluate(facts(memory=(dimm(uncorrected=7),))).value == 0
    )
    assert severity("memory_uncorrected_errors", facts(memory=(dimm(step=1),))) is not None


def links(correctable=0, fatal=0):
    now = {"0000:00:1c.0": {"correctable": correctable, "nonfatal": 0, "fatal": fatal}}
    return {"links": now, "links_increase": now}


@pytest.mark.parametrize(
    ("count", "expected"), [(100, None), (150, Severity.WARNING), (20_000, Severity.CRITICAL)]
)
def test_corrected_bus_errors_count_by_their_rate_between_two_sweeps(count, expected):
    assert severity("bus_corrected_errors", facts({}, **links(count))) is expected


def test_a_lost_transaction_is_a_finding_and_names_the_device():
    known = facts({}, **links(fatal=1))
    assert severity("bus_lost_transactions", known) is Severity.WARNING
    assert RULES["bus_lost_transactions"].evaluate(known).culprits[0].name == "0000:00:1c.0"


def test_devices_that_never_told_of_an_error_may_be_unable_to():
    for name in ("bus_corrected_errors", "bus_lost_transactions"):
        assert RULES[name].evaluate(facts({})) is None
        first = {"links": {"a": {"fatal": 1}}, "links_increase": {"a": {"fatal": None}}}
        assert RULES[name].evaluate(facts(**first)) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, None), (0.9, None), (1.5, Severity.WARNING), (6.0, Severity.CRITICAL)],
)
def test_heat_counts_by_the_time_it_costs(seconds, expected):
    known = facts(package_throttled=3, package_throttled_seconds=seconds)
    assert severity("heat_throttling", known) is expected
    assert RULES["heat_throttling"].evaluate(facts(package_throttled=3)) is None
