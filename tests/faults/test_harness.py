"""The harness itself: what it must find wrong, what it must put back, and two real faults."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.evidence import Culprit
from analysis.hypothesis import Hypothesis
from analysis.model import Anomaly, Assessment, Recommendation, Severity
from tests.faults import quiet, silence
from tests.faults.scenario import Fault, Impossible, Scenario, as_it_is, discover
from tests.faults.table import markdown, row, text, totals
from tests.faults.tools.processes import program
from tests.faults.tools.settings import setting
from tests.faults.trial import run

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="faults need root")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """What else runs here matters only to real faults, and those of the tests are told apart."""
    monkeypatch.setattr(quiet, "wait", lambda _: True)


def anomaly(rule, *culprits):
    return Anomaly(
        rule=rule, resource="cpu", cause=rule, severity=Severity.WARNING, message="", subject=None,
        value=1.0, unit="ratio", warning=1.0, critical=None, since=0.0, explanation="",
        culprits=culprits,
    )  # fmt: skip


def assessment(*anomalies, causes=(), score=80.0, advice=()):
    return Assessment(
        verdict="",
        health_score=score if anomalies else 100.0,
        coverage=1.0,
        band="healthy",
        anomalies=anomalies,
        hypotheses=tuple(Hypothesis(c, "cpu", "", 1.0, (), ()) for c in causes),
        recommendations=tuple(Recommendation(a, "fix", "cpu", "", "") for a in advice),
    )


class Script:
    """Looks at a host that says what was written down for it, and then is silent."""

    def __init__(self, *seen):
        self.alter = as_it_is
        self.left = list(seen)
        self.altered = []

    def look(self, _window, _probes=()):
        self.altered.append(self.alter)
        return self.left.pop(0) if self.left else assessment()


@contextmanager
def nothing(_folder):
    yield Fault(pid=7)


def scenario(**changes):
    plain = {
        "name": "made_up", "title": "made up", "induce": nothing, "expect": frozenset({"storm"}),
        "cause": "storm", "culprit": ("process", "guilty"), "score_below": 90,
        "advice": "storm:calm",
    }  # fmt: skip
    return Scenario(**(plain | changes))


def look(seen, **changes):
    return run(scenario(**changes), lambda: Script(*seen))


GUILTY = anomaly("storm", Culprit("process", "guilty-one", "7"))
FOUND = assessment(GUILTY, causes=("storm",), advice=("storm:calm",))


def test_a_fault_that_is_found_and_clears_meets_every_target():
    outcome = look([assessment(), assessment(), FOUND, FOUND])
    assert outcome.detected
    assert (outcome.alarms, outcome.lingering) == ((), frozenset())
    assert all(total.met for total in totals([outcome]))
    assert row(outcome)[3:6] == ("yes", "1", "yes")


def test_what_induces_nothing_is_not_detected():
    outcome = look([])
    assert not outcome.detected
    assert row(outcome)[1] == "NO"
    assert not totals([outcome])[0].met


def test_a_third_sweep_is_too_late():
    assert not look([assessment(), assessment(), assessment(), FOUND]).detected


def test_an_unexpected_rule_is_a_false_alarm():
    outcome = look([assessment(), assessment(GUILTY, anomaly("other"))])
    assert outcome.alarms == ("other",)
    assert not outcome.early
    assert not all(total.met for total in totals([outcome]))


def test_a_rule_that_is_allowed_is_no_false_alarm():
    seen = [assessment(), assessment(GUILTY, anomaly("other"))]
    assert look(seen, allowed=frozenset({"other"})).alarms == ()


def test_a_rule_that_fires_before_there_is_any_fault_is_a_false_alarm():
    outcome = look([assessment(GUILTY), FOUND])
    assert outcome.early == {"storm"}
    assert "storm (before)" in row(outcome)[6]


def test_one_of_each_group_has_to_fire():
    groups = (frozenset({"left", "right"}),)
    assert not look([assessment(), FOUND, FOUND], any_of=groups).detected
    both = assessment(GUILTY, anomaly("right"))
    assert look([assessment(), both], any_of=groups).detected


@pytest.mark.parametrize(
    "culprit",
    [
        Culprit("process", "innocent", "7"),
        Culprit("process", "guilty-one", "8"),
        Culprit("cgroup", "guilty-one", "7"),
    ],
)
def test_a_wrong_name_pid_or_kind_is_the_wrong_culprit(culprit):
    outcome = look([assessment(), assessment(anomaly("storm", culprit))])
    assert row(outcome)[3] == "NO"


def test_the_first_culprit_of_the_kind_is_the_one_who_is_accused():
    disk = Culprit("device", "vda")
    seen = assessment(anomaly("storm", disk, Culprit("process", "guilty", "7")))
    assert row(look([assessment(), seen]))[3] == "yes"


def test_a_cause_that_ranks_second_misses_its_target():
    outcome = look([assessment(), assessment(GUILTY, causes=("other", "storm"))])
    assert row(outcome)[4] == "2"
    assert not totals([outcome])[2].met


def test_a_score_that_hardly_falls_is_told():
    outcome = look([assessment(), assessment(GUILTY, score=95.0)])
    assert "not below 90" in row(outcome)[7]


@pytest.mark.parametrize(("said", "word"), [("Next: look there.", "yes"), ("Ends.", "NO")])
def test_where_nothing_is_recommended_the_verdict_must_say_what_to_do(said, word):
    told = replace(FOUND, verdict=f"A storm. {said}", recommendations=())
    assert row(look([assessment(), told], advice=None, step="look there"))[5] == word


def test_what_does_not_clear_is_told():
    outcome = look([assessment(), *[FOUND] * 5])
    assert row(outcome)[8] == "no: storm"


def test_a_scenario_that_crashes_costs_only_itself():
    @contextmanager
    def broken(_folder):
        raise OSError("no such thing")
        yield

    outcome = look([], induce=broken)
    assert outcome.crash == "OSError: no such thing"
    assert "crashed" in row(outcome)[1]
    assert not totals([outcome])[0].met


def test_what_this_machine_cannot_have_does_not_count():
    @contextmanager
    def impossible(_folder):
        raise Impossible("no disk")
        yield

    outcome = look([], induce=impossible)
    assert row(outcome)[1] == "not possible here: no disk"
    assert all(total.of == 0 for total in totals([outcome]))


def test_a_fixture_stands_in_only_as_long_as_the_fault_is_there():
    def alter(sweep):
        return sweep

    @contextmanager
    def recorded(_folder):
        yield Fault(alter=alter)

    eye = Script(assessment(), FOUND)
    run(scenario(induce=recorded, recorded=True), lambda: eye)
    assert eye.altered == [as_it_is, alter, as_it_is]


def test_what_was_changed_is_put_back_when_inducing_fails_half_way(tmp_path):
    knob = tmp_path / "knob"
    knob.write_text("1")

    @contextmanager
    def half(_folder):
        with setting(knob, 2):
            raise RuntimeError("half way")
        yield

    assert look([], induce=half).crash == "RuntimeError: half way"
    assert knob.read_text() == "1"


def test_what_was_changed_is_put_back_when_the_run_is_ended(tmp_path):
    knob = tmp_path / "knob"
    knob.write_text("always [madvise] never")

    @contextmanager
    def ended(_folder):
        with setting(knob, "always"):
            yield sys.exit(143)

    with pytest.raises(SystemExit):
        look([], induce=ended)
    assert knob.read_text() == "madvise"


def test_a_program_is_gone_with_its_children_when_its_context_is_left():
    code = "child = os.fork()\nif child: ready()\nwhile True: time.sleep(60)"
    with program("sysdx-test", code) as process:
        found = _named("sysdx-test", process.pid)
        assert len(found) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in found)


def _named(comm, session):
    """Processes of a name and a session."""
    words = ["ps", "-o", "pid=", "-s", str(session)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    pids = done.stdout.split()
    return [p for p in pids if Path(f"/proc/{p}/comm").read_text().strip() == comm]


def test_a_program_that_cannot_begin_says_so():
    with pytest.raises(RuntimeError, match="did not get ready"), program("sysdx-test", "1 / 0"):
        pass


def test_every_scenario_names_rules_and_causes_that_exist():
    from analysis.registry import discover_rules

    rules, scenarios = discover_rules(), discover()
    assert len(scenarios) > 30
    for one in scenarios.values():
        assert one.known <= rules.keys(), one.name
        assert one.expect, one.name


def test_the_document_marks_fixtures_and_tells_the_totals():
    outcome = look([assessment(), FOUND], recorded=True)
    document = markdown([outcome])
    assert "| made_up * |" in document
    assert "- detected in time: 1 of 1" in document
    assert "made_up *" in text([outcome])


def test_the_document_says_what_it_does_not_prove():
    outcome = look([assessment(), FOUND], culprit=None, note="made up")
    document = markdown([outcome])
    assert "- No culprit is asked for by 1 of them: made_up." in document
    assert "- made_up: made up." in document
    assert "No advice" not in document
    assert "No advice" in markdown([look([], advice=None)])
    assert "No advice" not in markdown([look([], advice=None, step="look")])


def test_every_scenario_says_what_to_do():
    assert [s.name for s in discover().values() if not (s.advice or s.step)] == []


def test_the_table_on_silence_takes_the_place_of_an_earlier_one():
    spells = [silence.Spell("idle", (99.0, 98.0), {}, 97.0)]
    once = silence.appended("# Title\n", spells)
    assert silence.appended(once, spells) == once
    assert "| idle | 2 | 98.0 | none |" in once
    assert silence.carried("# Anew\n", once) == once.replace("# Title", "# Anew")
    assert silence.carried("# Anew\n", "") == "# Anew\n"
    assert spells[0].good
    assert not silence.Spell("idle", (96.9,), {}, 97.0).good
    assert not silence.Spell("idle", (99.0,), {"storm": 1}, 97.0).good


@needs_root
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["zombies", "filesystem_full"])
def test_a_real_fault_is_found_and_explained(name):
    outcome = run(discover()[name])
    if outcome.impossible:
        pytest.skip(outcome.impossible)
    assert outcome.crash is None
    assert outcome.detected
    assert outcome.verdict.named
    # Whatever else this host does meanwhile has causes of its own.
    assert outcome.verdict.rank is not None
    assert not outcome.lingering & outcome.scenario.expect
