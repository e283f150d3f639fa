"""Fitting probes to kernels, and joining them."""

from __future__ import annotations

import pytest

from collectors.bpf.model import Verdict
from collectors.bpf.probe import Part, Probe, Recorder
from collectors.bpf.source import Filters, Host, Planned, Rejected, plan, write
from collectors.bpf.tracefs import Tracefs

FORMAT = "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
FORMAT += "\tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n"


@pytest.fixture
def host(tmp_path):
    for event in ("sched/wake", "sched/switch"):
        place = tmp_path / "events" / event
        place.mkdir(parents=True)
        (place / "format").write_text(FORMAT)
    return Host(Tracefs(tmp_path), None)


def probe(*parts, **more):
    return Probe("cpu", Recorder, "/* shared */\n", parts, name="sut", **more)


def programs(outcome):
    assert isinstance(outcome, Planned), outcome
    return [p.part.on for p in outcome.programs]


def test_what_the_kernel_has_is_planned(host):
    assert programs(plan(probe(Part("sched:wake", ""), Part("perf:cpu_clock:99", "")), host)) == [
        "sched:wake",
        "perf:cpu_clock:99",
    ]


@pytest.mark.parametrize(
    ("part", "verdict", "told"),
    [
        (Part("sched:none", ""), Verdict.MISSING_TRACEPOINT, "sched:none"),
        (Part("sched:wake", "", fields=("cpu",)), Verdict.MISSING_FIELD, "cpu"),
        (Part("kprobe:do_it", ""), Verdict.MISSING_TRACEPOINT, "do_it"),
        (Part("raw:none", ""), Verdict.MISSING_TRACEPOINT, "none"),
    ],
)
def test_what_is_missing_rejects_the_probe_with_its_reason(host, part, verdict, told):
    outcome = plan(probe(Part("sched:wake", ""), part), host)
    assert isinstance(outcome, Rejected)
    assert outcome.verdict is verdict
    assert told in outcome.text


def test_without_tracefs_there_are_no_tracepoints(host):
    outcome = plan(probe(Part("sched:wake", "")), Host(None, None))
    assert outcome.verdict is Verdict.NO_TRACEFS


def test_an_optional_part_is_left_out_with_a_note(host):
    outcome = plan(probe(Part("sched:wake", ""), Part("sched:none", "", optional=True)), host)
    assert programs(outcome) == ["sched:wake"]
    assert "sched:none" in outcome.notes[0]


def test_a_stand_in_is_used_only_where_the_first_choice_is_missing(host):
    choice = probe(Part("sched:none", ""), Part("sched:wake", "", instead_of="sched:none"))
    assert programs(plan(choice, host)) == ["sched:wake"]
    choice = probe(Part("sched:switch", ""), Part("sched:wake", "", instead_of="sched:switch"))
    assert programs(plan(choice, host)) == ["sched:switch"]
    choice = probe(Part("sched:none", ""), Part("sched:no", "", instead_of="sched:none"))
    assert plan(choice, host).verdict is Verdict.MISSING_TRACEPOINT


def test_a_function_is_probed_where_the_kernel_lets_it(host):
    able = Host(host.tracefs, None, frozenset({"do_it"}))
    assert programs(plan(probe(Part("kprobe:do_it", "")), able)) == ["kprobe:do_it"]


def test_an_offset_that_is_missing_rejects_and_an_optional_one_does_not(host):
    wanted = {"SUT_OFFSET": ("rq.none",)}
    assert plan(probe(Part("sched:wake", ""), offsets=wanted), host).verdict is Verdict.NO_BTF
    outcome = plan(probe(Part("sched:wake", ""), optional_offsets=wanted), host)
    assert outcome.defines == {}
    assert outcome.notes


def test_the_module_has_each_event_once_and_its_own_processes_left_out(host):
    planned = plan(probe(Part("sched:wake", "\n    return 7;\n")), host)
    text = write([planned, planned], host, Filters(own=(11, 13), pid=17, cgroup=19, cgroup_level=2))
    assert text.count("struct tp__sched__wake {") == 1
    assert "common_pid" not in text
    assert "int sut__sched_wake(struct tp__sched__wake *args)" in text
    for line in ("tgid == 11", "tgid == 13", "ONLY_TGID 17", "ONLY_CGROUP 19ULL", "LEVEL 2"):
        assert line in text


def test_tables_are_local_so_that_bcc_compiles_no_printing_of_them(host):
    text = write([plan(probe(Part("sched:wake", "")), host)], host, Filters())
    begins, ends = text.index("internal_linkage"), text.index("attribute pop")
    assert begins < text.index("BPF_ARRAY(gate_") < text.index("/* shared */") < ends
    assert text[ends:].count("\n") == 1
