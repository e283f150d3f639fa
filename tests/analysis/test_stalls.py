"""Whether work waited."""

from __future__ import annotations

import pytest

from analysis.model import Facts
from analysis.stalls import harmed
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.pressure import PressureSample, Stall


def facts(sample):
    outcome = Outcome("p", "pressure", "quick", False, Status.OK, None, None, 0.0, 1.0, sample)
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"p": outcome}))


def pressure(memory=None, io=None):
    stalls = [None if s is None else Stall(some=Distribution(s, s)) for s in (memory, io)]
    return PressureSample(10.0, None, *stalls, None)


@pytest.mark.parametrize(
    ("sample", "hurt"),
    [
        (pressure(0.0, 0.0), False),
        (pressure(0.009, 0.009), False),
        (pressure(0.01, 0.0), True),
        (pressure(0.0, 0.5), True),
        (pressure(0.0, None), True),
        (None, True),
    ],
)
def test_only_what_is_known_to_be_harmless_is(sample, hurt):
    assert harmed(facts(sample), "memory", "io") is hurt


def test_other_resources_do_not_count():
    assert not harmed(facts(pressure(0.0, 0.9)), "memory")
