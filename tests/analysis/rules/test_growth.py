"""Rules on what grows from sweep to sweep."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.rules.trend import between, used_up
from analysis.score import findings
from collectors.filesystem import Filesystem, FilesystemSample
from collectors.memory import MemorySample
from collectors.model import Outcome, Status, Sweep
from collectors.process_sample import Process, ProcessSample

NAMES = ("filesystem_fill_time", "process_leak", "process_descriptor_leak")
RULES = {n: discover_rules()[n] for n in NAMES}
W, C = Severity.WARNING, Severity.CRITICAL
GIB, MIB = 1 << 30, 1 << 20


def sweep(at, samples, window=10.0):
    outcomes = {
        str(n): Outcome(str(n), "x", "quick", False, Status.OK, None, None, 0.0, 0.0, sample)
        for n, sample in enumerate(samples)
    }
    return Sweep("quick", at, at, window, window, outcomes=outcomes)


def facts(before, now, seconds=60.0):
    return Facts(sweep(seconds, now), sweep(0.0, before))


def severity(name, known):
    signal = RULES[name].evaluate(known)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


def disk(left, total=100 * GIB, mount="/", **parts):
    used = 1 - left / total
    one = Filesystem(mount, "/dev/sda1", "ext4", False, parts.pop("read_only", False), False,
                     total, left, used)  # fmt: skip
    return FilesystemSample(10.0, (one,))


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (10.0, 10.0, None),
        (10.0, 10.5, None),
        (10.0, 9.9, None),
        (10.0, 9.8, W),
        (10.0, 9.0, C),
        (60.0, 50.0, None),
    ],
)
def test_a_file_system_is_judged_by_the_time_it_still_lasts(before, now, expected):
    known = facts([disk(int(before * GIB))], [disk(int(now * GIB))])
    assert severity("filesystem_fill_time", known) is expected


def test_a_resized_or_newly_mounted_file_system_has_no_pace():
    small, large = disk(GIB), disk(5 * GIB, 200 * GIB)
    assert RULES["filesystem_fill_time"].evaluate(facts([large], [small])) is None
    assert RULES["filesystem_fill_time"].evaluate(facts([disk(GIB, mount="/a")], [small])) is None
    assert RULES["filesystem_fill_time"].evaluate(Facts(sweep(0.0, [small]))) is None


def test_who_writes_is_named_and_who_reads_is_not():
    writer = Process(7, 1, "dd", "R", 1, write_bytes_per_second=9e6)
    reader = Process(8, 1, "cat", "R", 1, read_bytes_per_second=9e6)
    rows = ProcessSample(10.0, 10, 2, 2, {}, top_io=(reader, writer))
    known = facts([disk(10 * GIB)], [disk(8 * GIB), rows])
    signal = RULES["filesystem_fill_time"].evaluate(known)
    assert [(c.kind, c.name) for c in signal.culprits] == [("mount", "/"), ("process", "dd")]


def processes(pid=7, start=1, rss=4 * GIB, fds=0, limit=0):
    one = Process(pid, start, "app", "S", 1, rss_bytes=rss, fds=fds, fd_limit=limit)
    return ProcessSample(10.0, 10, 1, 1, {}, top_memory=(one,), top_fd_share=(one,))


def memory(left, whole=16 * GIB):
    return MemorySample(10.0, whole, int(left))


@pytest.mark.parametrize(
    ("left", "grown", "shrunk", "whole", "expected"),
    [
        (6 * GIB, 0, 0, 16, None),
        (6 * GIB, 50 * MIB, 50 * MIB, 16, None),
        (6 * GIB, 200 * MIB, 200 * MIB, 16, W),
        (6 * GIB, 200 * MIB, 0, 16, None),
        (9 * GIB, 900 * MIB, 900 * MIB, 16, None),
        (6 * GIB, 200 * MIB, 200 * MIB, 64, None),
        (1 * MIB, 900 * MIB, 900 * MIB, 16, W),
    ],
)
def test_a_process_leaks_when_it_alone_would_take_what_is_left_within_an_hour(
    left, grown, shrunk, whole, expected
):
    before = [memory(left + shrunk, whole * GIB), processes(rss=4 * GIB - grown)]
    known = facts(before, [memory(left, whole * GIB), processes()])
    assert severity("process_leak", known) is expected


def test_a_leak_names_the_process_and_tells_how_long_memory_lasts():
    before = [memory(6 * GIB + 200 * MIB), processes(rss=4 * GIB - 200 * MIB)]
    known = facts(before, [memory(6 * GIB), processes()])
    rule = RULES["process_leak"]
    signal = rule.evaluate(known)
    assert (signal.culprits[0].name, signal.culprits[0].id) == ("app", "7")
    assert "31 min" in signal.message
    (advice,) = rule.advise(known, signal)
    assert "pidstat -r -p 7" in advice.commands[0]


@pytest.mark.parametrize("other", [processes(pid=8), processes(start=2)])
def test_another_process_of_that_number_did_not_grow(other):
    known = facts([memory(7 * GIB), other], [memory(6 * GIB), processes()])
    assert severity("process_leak", known) is None


def test_without_an_earlier_sweep_nothing_is_known_to_grow():
    for name in NAMES[1:]:
        assert RULES[name].evaluate(Facts(sweep(0.0, [memory(GIB), processes()]))) is None


@pytest.mark.parametrize(
    ("before", "now", "limit", "expected"),
    [
        (600, 600, 1024, None),
        (600, 601, 1024, None),
        (600, 640, 1024, W),
        (600, 640, 4096, None),
        (100, 200, 256, None),
        (500, 1024, 1024, W),
    ],
)
def test_open_files_are_judged_by_the_time_to_the_process_own_limit(before, now, limit, expected):
    known = facts([processes(fds=before, limit=limit)], [processes(fds=now, limit=limit)])
    assert severity("process_descriptor_leak", known) is expected


def test_time_counts_from_the_end_of_one_window_to_the_end_of_the_other():
    assert between(Facts(sweep(60.0, [], window=30.0), sweep(0.0, []))) == 80
    assert between(Facts(sweep(60.0, []))) is None
    assert between(Facts(sweep(1.0, []), sweep(0.0, []))) is None


@pytest.mark.parametrize(("more", "left", "pace"), [(0, 9, 0), (-3, 9, 0), (60, 3600, 1)])
def test_what_does_not_grow_is_never_used_up(more, left, pace):
    assert used_up(more, left, 60.0) == pace
    assert used_up(1, 0, 60.0) < float("inf")
