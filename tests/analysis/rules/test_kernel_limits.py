"""Rules on what users run out of."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.inotify import Watcher
from collectors.limits import KeyUser, LimitsSample
from collectors.model import Outcome, Status, Sweep
from collectors.sysctl import SysctlSample

RULES = {n: discover_rules()[n] for n in ("terminals", "key_quota", "inotify_limit")}


def facts(settings=None, **parts):
    samples = (
        LimitsSample(100, 1000, 100, 1000, 1000, 128, 8192, **parts),
        SysctlSample(settings or {}),
    )
    outcomes = {
        str(n): Outcome(str(n), "kernel", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Facts(Sweep("standard", 0.0, 0.0, 30.0, 30.0, outcomes=outcomes))


def severity(name, known):
    signal = RULES[name].evaluate(known)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


@pytest.mark.parametrize(
    ("used", "expected"), [(2400, None), (2500, Severity.WARNING), (3700, Severity.CRITICAL)]
)
def test_terminals_are_judged_before_containers_get_none(used, expected):
    assert severity("terminals", facts(terminals=used, terminals_max=4096)) is expected


def test_what_is_not_told_is_unknown():
    assert [r.evaluate(facts()) for r in RULES.values()] == [None, None, None]


@pytest.mark.parametrize(
    ("keys", "size", "expected"),
    [(100, 100, None), (170, 100, Severity.WARNING), (10, 19_900, Severity.CRITICAL)],
)
def test_a_user_without_keys_left_by_number_or_by_memory_is_named(keys, size, expected):
    near, far = KeyUser(33, keys, 200, size, 20_000), KeyUser(0, 9, 1_000_000, 900, 25_000_000)
    known = facts(key_users=(near, far))
    assert severity("key_quota", known) is expected
    assert RULES["key_quota"].evaluate(known).culprits[0].name == "uid 33"


@pytest.mark.parametrize(
    ("instances", "watches", "expected"),
    [(10, 100, None), (10, 7000, Severity.WARNING), (127, 5, Severity.CRITICAL)],
)
def test_the_nearer_of_both_limits_of_watching_counts(instances, watches, expected):
    user = Watcher(1000, instances, watches, "node (x) (77)")
    other = Watcher(0, 1, 1, "systemd (1)")
    known = facts(inotify_users=(other, user))
    assert severity("inotify_limit", known) is expected
    (culprit,) = RULES["inotify_limit"].evaluate(known).culprits
    if expected:
        assert (culprit.name, culprit.id, culprit.detail) == ("node (x)", "77", "uid 1000")


def test_nobody_who_watches_is_no_trouble_and_quick_sweeps_do_not_know():
    assert RULES["inotify_limit"].evaluate(facts(inotify_users=())).value == 0
    assert RULES["inotify_limit"].evaluate(facts(inotify_users=None)) is None


def test_only_the_limit_that_is_near_is_raised():
    names = ("fs.inotify.max_user_watches", "fs.inotify.max_user_instances")
    settings = dict(zip(names, ("8192", "128"), strict=True))
    known = facts(settings, inotify_users=(Watcher(1000, 10, 8000, "node (77)"),))
    rule = RULES["inotify_limit"]
    advice = list(rule.advise(known, rule.evaluate(known)))
    assert [(a.id, a.proposed) for a in advice] == [(f"sysctl:{names[0]}", "16384")]
