"""Rules on processes."""

from __future__ import annotations

import pytest

from analysis.model import Facts
from analysis.registry import discover_rules
from analysis.rules.process import blocked_tasks, process_file_descriptors, zombies
from collectors.model import Outcome, Status, Sweep
from collectors.process_sample import Process, ProcessSample


def facts(**parts):
    values = {"window_seconds": 10.0, "scans": 10, "total": 9, "threads": 9, "states": {}}
    sample = ProcessSample(**(values | parts))
    outcome = Outcome("p", "process", "quick", False, Status.OK, None, None, 0.0, 0.0, sample)
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes={"p": outcome}))


def process(pid=7, comm="app", **parts):
    return Process(pid, 1, comm, parts.pop("state", "S"), 1, **parts)


def test_a_process_that_waits_but_runs_is_not_stuck():
    busy = process(state="D", blocked_seconds=0.0)
    assert blocked_tasks(facts(blocked=(busy,), states={"D": 1})).value == 0


def test_the_longest_stuck_process_is_named_with_where_it_sleeps():
    stuck = process(state="D", blocked_seconds=130.0, wchan="nfs_wait")
    known = facts(blocked=(stuck,), states={"D": 1})
    signal = blocked_tasks(known)
    assert (signal.value, signal.culprits[0].detail) == (130, "nfs_wait")
    assert "nfs_wait" in signal.message
    (advice,) = discover_rules()["blocked_tasks"].advise(known, signal)
    assert "/proc/7/stack" in advice.commands[0]


def test_one_look_cannot_tell_what_is_stuck():
    assert blocked_tasks(facts(scans=1)) is None


def test_zombies_are_charged_to_their_parent():
    signal = zombies(facts(states={"Z": 60}, zombie_parents={"bad (x) (5)": 58, "sh (6)": 2}))
    assert signal.value == 60
    assert (signal.culprits[0].name, signal.culprits[0].id) == ("bad (x)", "5")


def test_descriptors_count_against_the_process_own_limit():
    near, far = process(8, fds=900, fd_limit=1000), process(9, fds=5000, fd_limit=100_000)
    signal = process_file_descriptors(facts(top_fd_share=(far, near), top_fds=(far,)))
    assert (signal.value, signal.culprits[0].id) == (pytest.approx(0.9), "8")


def test_a_sandbox_with_a_tiny_limit_is_no_finding():
    sandbox = process(fds=9, fd_limit=1)
    assert process_file_descriptors(facts(top_fd_share=(sandbox,), top_fds=(sandbox,))).value == 0


def test_unreadable_descriptors_are_unknown():
    assert process_file_descriptors(facts()) is None


def test_a_blocked_process_of_which_nothing_more_is_known_is_not_taken_for_a_running_one():
    told, hidden = process(state="D", blocked_seconds=40.0), process(8, state="D")
    assert blocked_tasks(facts(blocked=(hidden,), states={"D": 1})) is None
    assert blocked_tasks(facts(blocked=(hidden, told), states={"D": 2})).value == 40


def test_a_limit_that_cannot_be_read_is_unknown_and_a_tiny_one_is_no_trouble():
    hidden, tiny = process(fds=9), process(8, fds=9, fd_limit=10)
    assert process_file_descriptors(facts(top_fds=(hidden,))) is None
    assert process_file_descriptors(facts(top_fds=(hidden, tiny))).value == 0
