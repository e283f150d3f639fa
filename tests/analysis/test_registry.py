"""How rules and use functions are declared and found."""

from __future__ import annotations

import pytest

from analysis import registry
from analysis.model import Kind, Scale
from analysis.registry import discover_rules, discover_uses, rule, use

GOOD = {
    "resource": "cpu", "cause": "c", "kind": Kind.SATURATION, "unit": "ratio", "warning": 0.5,
    "critical": 0.9, "source": "s", "explanation": "e",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_tables(monkeypatch):
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))
    monkeypatch.setattr(registry, "_uses", dict(registry._uses))


def declare(name="probe", module="analysis.rules.one", **changes):
    def function(_):
        """Say nothing."""

    function.__name__, function.__module__ = name, module
    assert rule(**{**GOOD, **changes})(function) is function
    return function


def test_the_functions_name_is_the_id_and_all_that_was_declared_is_kept():
    advise = lambda *_: ()  # noqa: E731
    function = declare(
        gate="g", next_steps=("n",), scale=Scale.LOG, advise=advise, at_once=True, warning=0.2
    )
    made = registry._rules["probe"]
    assert (made.id, made.evaluate, made.advise) == ("probe", function, advise)
    assert (made.resource, made.cause, made.kind, made.unit) == ("cpu", "c", "saturation", "ratio")
    assert (made.warning, made.critical, made.scale) == (0.2, 0.9, "log")
    assert (made.source, made.gate, made.explanation, made.next_steps) == ("s", "g", "e", ("n",))
    assert made.at_once is True


def test_by_default_a_rule_waits_for_a_second_sweep_and_advises_nothing():
    declare()
    made = registry._rules["probe"]
    assert (made.at_once, made.advise, made.scale, made.gate) == (False, None, "linear", "none")


@pytest.mark.parametrize("wrong", [{"resource": "moon"}, {"critical": 0.5}, {"critical": 0.4}])
def test_an_unknown_resource_and_reversed_thresholds_are_refused(wrong):
    with pytest.raises(ValueError, match="rule probe"):
        declare(**wrong)
    assert "probe" not in registry._rules


def test_a_rule_may_only_warn():
    declare(critical=None)
    assert registry._rules["probe"].critical is None


def test_two_rules_of_one_name_are_refused_and_a_module_may_be_loaded_again():
    declare()
    declare()
    with pytest.raises(ValueError, match="two rules are called probe"):
        declare(module="analysis.rules.two")


def test_rules_are_found_without_a_list_and_in_order():
    found = discover_rules()
    assert list(found) == sorted(found)
    assert len(found) >= 77
    modules = {r.evaluate.__module__ for r in found.values()}
    assert {"analysis.rules.cpu", "analysis.rules.tcp", "analysis.rules.disk_health"} <= modules
    assert all(name == r.id == r.evaluate.__name__ for name, r in found.items())


def test_uses_are_found_in_the_order_of_resources():
    order = ["cpu", "memory", "disk", "network", "filesystem", "container", "kernel"]
    found = discover_uses()
    assert [r for r in found if r != "gpu"] == order
    assert use("gpu")(len) is len
    assert list(discover_uses())[-1] == "gpu"
