"""Building blocks of recommendations."""

from __future__ import annotations

import pytest

from analysis.advice import investigate, sysctl
from analysis.model import Evidence, Facts
from collectors.model import Outcome, Status, Sweep
from collectors.sysctl import SysctlSample


def facts(**values):
    sample = SysctlSample({n.replace("__", "."): v for n, v in values.items()})
    outcome = Outcome("s", "kernel", "quick", False, Status.OK, None, None, 0.0, 1.0, sample)
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"s": outcome}))


TEXTS = {"rule": "r", "resource": "memory", "why": "W.", "risk": "R", "source": "S"}


def proposed(current, value, direction="set"):
    found = sysctl(facts(vm__x=current), "vm.x", value, direction=direction, **TEXTS)
    return found[0].proposed if found else None


def test_a_setting_is_changed_kept_and_taken_back():
    mine = Evidence("e", 1.0, "", "f")
    (advice,) = sysctl(facts(vm__x="60"), "vm.x", 10, evidence=(mine,), **TEXTS)
    assert (advice.id, advice.kind, advice.resource) == ("sysctl:vm.x", "tune", "memory")
    assert (advice.current, advice.proposed, advice.scope) == ("60", "10", "persistent")
    assert advice.title == "Set vm.x from 60 to 10"
    assert advice.commands == ("sysctl -w vm.x='10'",)
    assert advice.persistent == ("echo 'vm.x = 10' > /etc/sysctl.d/90-vm.x.conf",)
    assert advice.undo == ("sysctl -w vm.x='60'", "rm -f /etc/sysctl.d/90-vm.x.conf")
    assert advice.evidence == (mine, Evidence("vm.x", 60.0, "", "sysctl vm.x"))
    told = (advice.addresses, advice.why, advice.risk, advice.source)
    assert told == ("r", "W.", "R", "S")


@pytest.mark.parametrize(
    ("current", "value", "direction", "expected"),
    [
        ("60", 10, "set", "10"),
        ("5", 10, "set", "10"),
        ("10", 10, "set", None),
        ("60", 10, "lower", "10"),
        ("10", 10, "lower", None),
        ("5", 10, "lower", None),
        ("5", 10, "raise", "10"),
        ("10", 10, "raise", None),
        ("60", 10, "raise", None),
        ("4096  131072\t6291456", "4096 131072 6291456", "set", None),
        ("4096 131072 6291456", "4096 131072 9000000", "raise", "4096 131072 9000000"),
        ("4096 131072 9000000", "4096 131072 6291456", "raise", None),
        ("-1", 0, "raise", "0"),
        ("cubic", "bbr", "set", "bbr"),
        ("cubic", "bbr", "raise", "bbr"),
        ("cubic", 5, "raise", "5"),
        ("", 5, "raise", "5"),
    ],
)
def test_only_what_is_not_that_good_already_is_changed(current, value, direction, expected):
    assert proposed(current, value, direction) == expected


def test_a_setting_that_is_not_here_is_not_advised():
    assert proposed(None, 10) is None
    assert sysctl(facts(vm__y="1"), "vm.x", 10, **TEXTS) == ()
    assert sysctl(Facts(Sweep("quick", 0.0, 0.0, 0.0, 0.0)), "vm.x", 10, **TEXTS) == ()


def test_a_word_is_no_number_in_the_evidence():
    (advice,) = sysctl(facts(net__x="cubic"), "net.x", "bbr", **TEXTS)
    assert advice.evidence[0].value is None


def test_looking_changes_nothing():
    mine = Evidence("e", 1.0, "", "f")
    advice = investigate(
        "i", resource="cpu", rule="r", title="T", why="W.", commands=("c",), evidence=(mine,)
    )
    assert (advice.id, advice.kind, advice.resource, advice.title) == (
        "i",
        "investigate",
        "cpu",
        "T",
    )
    assert (advice.why, advice.commands, advice.evidence, advice.addresses) == (
        "W.", ("c",), (mine,), "r",
    )  # fmt: skip
    assert (advice.undo, advice.persistent, advice.current, advice.risk) == ((), (), None, "none")
