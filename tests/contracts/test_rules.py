"""What holds for every rule, found or yet to be written."""

from __future__ import annotations

import inspect

import pytest

from analysis.model import RESOURCES, Facts, Kind
from analysis.registry import discover_rules, discover_uses
from analysis.state import TWICE
from analysis.use_model import ResourceUse
from collectors.model import Sweep

RULES = discover_rules()
NOTHING = Facts(Sweep("quick", 0.0, 0.0, 0.0, 0.0))


@pytest.fixture(params=RULES.values(), ids=RULES)
def rule(request):
    return request.param


def test_it_explains_itself(rule):
    assert inspect.getdoc(rule.evaluate)
    assert rule.source
    assert rule.explanation.endswith(".")
    assert rule.unit
    assert rule.cause.replace("_", "").islower()
    assert rule.resource in RESOURCES


def test_its_thresholds_are_in_order(rule):
    assert rule.warning > 0
    assert rule.critical is None or rule.critical > rule.warning
    if rule.unit == "ratio" and rule.kind is not Kind.ERRORS:
        assert (rule.critical or rule.warning) <= 1 or rule.critical < TWICE


def test_it_cannot_say_when_nothing_is_known(rule):
    assert rule.evaluate(NOTHING) is None


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_resource_has_its_use_and_none_when_nothing_is_known(resource):
    use = discover_uses()[resource](NOTHING)
    assert use is None or isinstance(use, ResourceUse)


def test_the_floor_of_signals_has_rules():
    resources = {r.resource for r in RULES.values()}
    assert resources >= set(RESOURCES)
