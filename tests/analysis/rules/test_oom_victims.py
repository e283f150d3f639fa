"""Whom the kernel killed, and whose limit it was."""

from __future__ import annotations

from analysis.model import Facts
from analysis.rules.container import container_oom
from analysis.rules.memory import oom_kill
from collectors.bpf.model import ProbeSample
from collectors.cgroup import Group, GroupMemory
from collectors.cgroup_name import identify
from collectors.container import ContainerSample
from collectors.kernel_log import KernelLogSample, LogMessage, LogSubject
from collectors.memory import MemorySample
from collectors.model import Outcome, Status, Sweep
from collectors.process_sample import Process, ProcessSample

MIB = 1 << 20
TEXT = (
    "Memory cgroup out of memory: Killed process 71 (stress (x)) total-vm:270000kB, "
    "anon-rss:65536kB, file-rss:512kB, shmem-rss:0kB, UID:0 pgtables:160kB oom_score_adj:0"
)


def facts(*samples, kills=1, **probes):
    memory = MemorySample(10.0, 1 << 34, 1 << 33, increases={"oom_kill": kills})
    hog = Process(9, 1, "hog", "S", 1, rss_bytes=1 << 33)
    rows = ProcessSample(10.0, 10, 1, 1, {}, top_memory=(hog,))
    parts = dict(enumerate((memory, rows, *samples))) | probes
    outcomes = {
        str(n): Outcome(str(n), "x", "quick", False, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in parts.items()
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def log(*texts, subjects=(), new=True):
    messages = tuple(LogMessage(n, 1.0, "oom_kill", "err", t, new) for n, t in enumerate(texts))
    counts = {"oom_kill": len(texts)}
    return KernelLogSample(counts, counts, {}, {}, tuple(subjects), messages)


def groups(limit=64 * MIB):
    def group(path, kills):
        memory = GroupMemory(limit=limit, oom_kills=kills, oom_kills_increase=kills)
        return Group(path, identify(path), memory=memory)

    found = (group("/system.slice", 1), group("/system.slice/a.service", 1), group("/b.service", 0))
    return ContainerSample(10.0, "v2", found, oom_kills=1, oom_kills_increase=1)


def named(signal):
    return [(c.kind, c.name, c.id) for c in signal.culprits]


def test_the_killed_program_and_the_group_at_its_limit_are_named():
    signal = oom_kill(facts(log(TEXT), groups()))
    assert named(signal) == [
        ("victim", "stress (x)", "71"),
        ("cgroup", "a.service", "/system.slice/a.service"),
    ]
    assert signal.culprits[0].value == 64 * MIB
    assert signal.message.endswith(
        "for lack of memory: stress (x) (71), in a.service at its limit of 64 MiB"
    )


def test_where_the_host_ran_out_the_largest_processes_are_named_as_well():
    text = TEXT.replace("Memory cgroup out", "Out")
    signal = oom_kill(facts(log(text), groups(limit=None)))
    assert named(signal) == [("victim", "stress (x)", "71"), ("process", "hog", "9")]
    assert signal.message.endswith("for lack of memory: stress (x) (71)")


def test_a_victim_of_which_only_the_name_is_left_is_named():
    subjects = (LogSubject("oom_kill", "java", 2), LogSubject("oom_kill", "stress (x", 1))
    signal = oom_kill(facts(log(TEXT, subjects=subjects)))
    assert named(signal)[:2] == [("victim", "java", None), ("victim", "stress (x)", "71")]


def test_old_messages_name_nobody():
    assert named(oom_kill(facts(log(TEXT, new=False)))) == [("process", "hog", "9")]


def test_the_probe_tells_more_than_the_log():
    record = {"comm": "app", "pid": 5, "anonymous_bytes": MIB, "trigger": "cron", "trigger_pid": 6}
    probe = ProbeSample("oomkill", 10.0, 1, records=(record,))
    signal = oom_kill(facts(log(TEXT), oomkill=probe))
    assert named(signal)[0] == ("victim", "app", "5")
    assert "cron (6)" in signal.culprits[0].detail


def test_a_groups_own_rule_names_the_group_first():
    assert named(container_oom(facts(log(TEXT), groups())))[:2] == [
        ("cgroup", "a.service", "/system.slice/a.service"),
        ("victim", "stress (x)", "71"),
    ]


def test_nobody_is_blamed_when_nobody_was_killed():
    signal = oom_kill(facts(log(TEXT), kills=0))
    assert (signal.value, signal.culprits) == (0, ())
    assert signal.message.endswith("for lack of memory")


def test_without_log_and_probe_the_group_alone_is_told():
    signal = oom_kill(facts(groups()))
    assert signal.message.endswith("for lack of memory, in a.service at its limit of 64 MiB")
