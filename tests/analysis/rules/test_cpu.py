"""Rules on the CPUs."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.cpu import CpuSample, collect
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.pressure import PressureSample, Stall
from collectors.process_sample import Process, ProcessSample

RULES = discover_rules()
W, C = Severity.WARNING, Severity.CRITICAL


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "cpu", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def steady(value, *samples):
    return Distribution(value, value, samples or (value,))


def cpu(busy=0.5, online=4, **fields):
    return CpuSample(10.0, online, steady(busy), **fields)


def pressure(some):
    return PressureSample(10.0, Stall(steady(some)), None, None, None)


def hog(name="hog", pid=7, used=3.0):
    return Process(pid, 1, name, "R", 1, cpu=used, read_bytes_per_second=used)


def processes(*found):
    return ProcessSample(10.0, 10, 9, 9, {}, top_cpu=found, top_io=found)


def seen(name, *samples):
    signal = RULES[name].evaluate(facts(*samples))
    assert signal is not None
    return signal


def severity(name, *samples):
    found = findings([(RULES[name], seen(name, *samples))])
    return found[0].severity if found else None


@pytest.mark.parametrize(
    ("busy", "steal", "expected"),
    [(0.89, 0.0, None), (0.91, 0.0, W), (1.0, 0.0, W), (0.95, 0.2, None), (0.2, 0.5, None)],
)
def test_busy_cpus_only_warn_and_stolen_time_is_not_their_use(busy, steal, expected):
    assert severity("cpu_utilization", cpu(busy, states={"steal": steal})) is expected


def test_utilization_is_never_below_nothing():
    assert seen("cpu_utilization", cpu(0.2, states={"steal": 0.5})).value == 0
    assert seen("cpu_utilization", cpu(0.2, states={"steal": None})).value == 0.2


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("cpu_utilization", CpuSample(10.0, 4)),
        ("run_queue", CpuSample(10.0, 4)),
        ("cpu_steal", cpu(states={"steal": None})),
        ("cpu_iowait", cpu(states={"iowait": None})),
        ("interrupt_load", cpu(interrupts={0: None})),
        ("hot_core", cpu(per_cpu={0: None})),
        ("context_switches", CpuSample(10.0, 4)),
        ("context_switches", CpuSample(10.0, 0, context_switches=steady(1e6))),
        ("fork_storm", CpuSample(10.0, 4)),
        ("fork_storm", CpuSample(10.0, 0, forks_per_second=9e4)),
        ("cpu_pressure", PressureSample(10.0, None, None, None, None)),
        ("cpu_pressure", PressureSample(10.0, Stall(), None, None, None)),
        ("cpu_pressure", cpu(1.0)),
    ],
)
def test_what_the_kernel_did_not_tell_is_not_judged(name, sample):
    assert RULES[name].evaluate(facts(sample)) is None


@pytest.mark.parametrize(
    ("some", "busy", "running", "expected"),
    [
        (0.24, 1.0, 9.0, None),
        (0.26, 1.0, 9.0, W),
        (0.61, 1.0, 9.0, C),
        (0.90, 0.69, 4.0, None),  # bursts on CPUs with time and no queue
        (0.90, 0.70, 4.0, C),
        (0.90, 0.10, 5.0, C),
    ],
)
def test_waiting_counts_when_cpus_are_short(some, busy, running, expected):
    sample = cpu(busy, running=steady(running))
    assert severity("cpu_pressure", pressure(some), sample) is expected


def test_waiting_counts_when_the_cpus_themselves_are_unknown():
    signal = seen("cpu_pressure", pressure(0.7))
    assert signal.value == 0.7
    assert [e.value for e in signal.evidence] == [0.7]
    assert seen("cpu_pressure", pressure(0.7), CpuSample(10.0, 4)).value == 0.7


@pytest.mark.parametrize(
    ("running", "expected"),
    [((4.0, 4.0), None), ((8.0, 7.0), None), ((8.0, 8.0), W), ((0.0, 16.0), W), ((20.0, 20.0), C)],
)
def test_the_run_queue_is_what_exceeds_the_cpus_at_each_instant(running, expected):
    sample = cpu(running=steady(sum(running) / len(running), *running))
    assert severity("run_queue", sample) is expected


@pytest.mark.parametrize(("share", "expected"), [(0.049, None), (0.05, W), (0.2, C)])
def test_stolen_time(share, expected):
    assert severity("cpu_steal", cpu(states={"steal": share})) is expected


@pytest.mark.parametrize(
    ("share", "blocked", "expected"),
    [(0.14, 2.0, None), (0.2, 2.0, W), (0.5, 2.0, C), (0.9, 0.0, None)],
)
def test_idle_time_is_waiting_only_when_somebody_waits(share, blocked, expected):
    sample = cpu(states={"iowait": share}, blocked=steady(blocked))
    assert severity("cpu_iowait", sample) is expected


def test_waiting_for_storage_is_judged_when_blocked_tasks_are_unknown_and_charged_to_the_disk():
    assert severity("cpu_iowait", cpu(states={"iowait": 0.5})) is C
    assert RULES["cpu_iowait"].resource == "disk"
    guilty = seen("cpu_iowait", cpu(states={"iowait": 0.5}), processes(hog())).culprits
    assert [c.name for c in guilty] == ["hog"]


def test_interrupts_are_judged_on_the_most_interrupted_cpu():
    signal = seen("interrupt_load", cpu(interrupts={0: 0.1, 1: 0.4, 2: None}))
    assert (signal.value, signal.subject, signal.culprits[0].name) == (0.4, "cpu1", "cpu1")


@pytest.mark.parametrize(
    ("shares", "stalled", "expected"),
    [
        ((1.0, 0.1, 0.1, 0.1), 0.2, W),
        ((1.0, 0.1, 0.1, 0.1), 0.1, W),
        ((1.0, 0.1, 0.1, 0.1), 0.09, None),  # one thread at work harms nobody
        ((1.0, 0.1, 0.1, 0.1), None, None),
        ((1.0, 0.6, 0.6, 0.6), 0.9, None),
        ((1.0, 0.1, 0.1), 0.9, None),
        ((0.9, 0.1, 0.1, 0.1), 0.9, None),
    ],
)
def test_a_hot_core_matters_only_beside_idle_ones_and_with_a_queue(shares, stalled, expected):
    sample = cpu(per_cpu=dict(enumerate(shares)))
    known = [sample] if stalled is None else [sample, pressure(stalled)]
    assert severity("hot_core", *known) is expected
    assert seen("hot_core", *known).subject == "cpu0"


@pytest.mark.parametrize(("each", "expected"), [(49_000, None), (51_000, W), (210_000, C)])
def test_rates_are_judged_per_cpu(each, expected):
    switching = cpu(online=8, context_switches=steady(8.0 * each))
    assert severity("context_switches", switching) is expected
    forking = cpu(online=8, forks_per_second=8.0 * each / 100)
    assert severity("fork_storm", forking) is expected


def test_a_few_forks_have_no_culprit():
    few, many = cpu(forks_per_second=100.0), cpu(forks_per_second=101.0)
    assert seen("fork_storm", few, processes(hog())).culprits == ()
    assert seen("fork_storm", many, processes(hog())).culprits != ()


def test_the_advice_names_the_consumers_and_asks_before_it_limits():
    known = facts(cpu(), pressure(0.9), processes(hog(), hog("other", 8, 2.0)))
    rule = RULES["cpu_pressure"]
    (advice,) = rule.advise(known, rule.evaluate(known))
    assert (advice.kind, advice.title) == (
        "investigate",
        "Ask whether hog and other should run now, and here",
    )
    assert "-p 7,8" in advice.commands[0]
    assert list(rule.advise(facts(), rule.evaluate(known))) == []


def test_a_saturated_host_is_charged_once_and_a_busy_one_only_warned_of():
    names = ("cpu_utilization", "cpu_pressure", "run_queue")
    assert {RULES[n].cause for n in names} == {"cpu_saturation"}


STAT = "cpu {0} 0 0 {1}\ncpu0 {0} 0 0 {1} 0 0 0 0\nctxt {2}\nprocesses {2}\nprocs_running 2\n"


@pytest.mark.parametrize("ticks", [[(10, 10, 9)], [(900, 900, 900), (10, 10, 9)]])
def test_a_first_sample_and_a_reset_counter_are_unknown_and_no_finding(host, ticks):
    known = facts(collect(host(*({"proc/stat": STAT.format(*t)} for t in ticks))))
    for name in ("cpu_utilization", "cpu_steal", "context_switches", "fork_storm", "hot_core"):
        assert RULES[name].evaluate(known) is None, name


def test_a_cpu_that_came_within_the_window_is_no_hot_one(host):
    first = STAT.format(100, 100, 9)
    second = STAT.format(110, 190, 19) + "cpu1 999999 0 0 0 0 0 0 0\n"
    sample = collect(host({"proc/stat": first}, {"proc/stat": second}))
    assert seen("cpu_utilization", sample).value == pytest.approx(0.1)
    assert sample.per_cpu == {0: pytest.approx(0.1), 1: None}


@pytest.mark.parametrize(("share", "expected"), [(0.29, None), (0.3, W), (0.59, W), (0.6, C)])
def test_interrupts_slow_everything_on_their_cpu(share, expected):
    assert severity("interrupt_load", cpu(interrupts={0: share})) is expected


@pytest.mark.parametrize(
    ("name", "sample", "sentence"),
    [
        ("cpu_utilization", cpu(0.97), "4 CPUs were 97 % busy over 10 s, peak 97 %"),
        ("cpu_pressure", pressure(0.98), "Tasks waited for a CPU in 98 % of the time"),
        (
            "run_queue",
            cpu(running=steady(9.0)),
            "5.0 runnable tasks waited for 4 CPUs on average",
        ),
        (
            "cpu_steal",
            cpu(states={"steal": 0.2}),
            "The hypervisor took 20 % of the CPU time",
        ),
        (
            "cpu_iowait",
            cpu(states={"iowait": 0.2}),
            "CPUs waited for storage in 20 % of the time",
        ),
        (
            "interrupt_load",
            cpu(interrupts={3: 0.4}),
            "CPU 3 spent 40 % of its time in interrupts",
        ),
        (
            "hot_core",
            cpu(per_cpu={2: 0.99, 3: 0.1}),
            "CPU 2 was 99 % busy while the others had time",
        ),
        (
            "context_switches",
            cpu(context_switches=steady(4e6)),
            "1,000,000 context switches per second on each of 4 CPUs",
        ),
        ("fork_storm", cpu(forks_per_second=4e3), "4,000 new tasks per second"),
    ],
)
def test_the_sentence_has_the_numbers_and_evidence_says_where_they_are_from(name, sample, sentence):
    signal = seen(name, sample)
    assert signal.message == sentence
    assert signal.evidence
    for evidence in signal.evidence:
        assert evidence.value is not None
        assert evidence.unit in {"ratio", "tasks", "1/s", "1/s per CPU"}
        assert evidence.source.startswith("/proc/")


@pytest.mark.parametrize(
    ("name", "warning", "critical"),
    [
        ("cpu_utilization", 0.9, 0.98),
        ("context_switches", 50_000, 200_000),
        ("fork_storm", 500, 2_000),
    ],
)
def test_thresholds_are_those_their_source_speaks_of(name, warning, critical):
    assert (RULES[name].warning, RULES[name].critical) == (warning, critical)


def test_others_that_are_half_busy_have_no_time_to_spare():
    shares = dict(enumerate((1.0, 0.5, 0.5, 0.5)))
    assert severity("hot_core", cpu(per_cpu=shares), pressure(0.9)) is None
    two = processes(hog(), hog("other", 8))
    assert len(seen("hot_core", cpu(per_cpu=shares), pressure(0.9), two).culprits) == 1
