"""What to look at next names the culprit itself, and can be pasted into a shell safely."""

from __future__ import annotations

import re
import shlex

import pytest

from analysis.evidence import Culprit
from analysis.next_steps import with_culprits
from analysis.registry import discover_rules

PROCESS = Culprit("process", "leaker", "41,42,…", detail="/system.slice/leaker.service")
GROUP = Culprit("cgroup", "web", "/system.slice/web.service/workers")
LINK, MOUNT = Culprit("interface", "eth0"), Culprit("mount", "/srv/data")


@pytest.mark.parametrize(
    ("step", "culprits", "told"),
    [
        ("ls -l /proc/PID/fd", [LINK, PROCESS], "ls -l /proc/41/fd"),
        ("systemctl status UNIT", [PROCESS], "systemctl status leaker.service"),
        ("ethtool -S INTERFACE | head", [PROCESS, LINK], "ethtool -S eth0 | head"),
        ("du -x MOUNT; lsof +f -- MOUNT", [MOUNT], "du -x /srv/data; lsof +f -- /srv/data"),
        ("dig @SERVER", [Culprit("remote", "192.0.2.1")], "dig @192.0.2.1"),
        ("lspci -vvs DEVICE", [Culprit("device", "0000:01:00.0")], "lspci -vvs 0000:01:00.0"),
    ],
)
def test_a_step_names_the_first_culprit_of_its_kind(step, culprits, told):
    assert with_culprits((step,), culprits) == (told,)


@pytest.mark.parametrize(
    ("step", "culprit"),
    [
        ("ls -l /proc/PID/fd", LINK),
        ("ls -l /proc/PID/fd", Culprit("process", "leaker")),
        ("ls -l /proc/PID/fd", Culprit("victim", "leaker", "41")),
        ("systemctl status UNIT", GROUP),
        ("grep -c PIDS SUBUNIT /proc/status", PROCESS),
    ],
)
def test_a_word_stays_where_no_culprit_has_what_it_stands_for(step, culprit):
    assert with_culprits((step,), [culprit]) == (step,)
    assert with_culprits((step,), []) == (step,)


def test_a_name_that_somebody_chose_is_no_command():
    mount = Culprit("mount", "/media/a b; reboot")
    (step,) = with_culprits(("du -x MOUNT",), [mount])
    assert shlex.split(step) == ["du", "-x", mount.name]


def test_every_word_that_stands_for_a_culprit_is_known():
    """Capital words of the steps of all rules, but for what is one in its own right."""
    words = {
        word
        for rule in discover_rules().values()
        for step in rule.next_steps
        for word in re.findall(r"\b[A-Z]{3,}\b", step)
    }
    culprits = [PROCESS, LINK, MOUNT, Culprit("remote", "a"), Culprit("device", "b")]
    unknown = {word for word in words if with_culprits((word,), culprits) == (word,)}
    own = "AER CPU ECC EDAC FUSE GPU NVRM RPS RSS DEV NAME PERFORMANCE POWER SCPU TEMPERATURE"
    assert unknown <= {*own.split()}
