"""Who does it."""

from __future__ import annotations

import pytest

from analysis import culprits
from analysis.model import Culprit, Facts
from collectors.cpu import CpuSample
from collectors.memory import MemorySample
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.process_sample import Process, ProcessSample


def facts(*samples):
    outcomes = {
        str(n): Outcome(str(n), "process", "quick", False, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in enumerate(samples)
    }
    return Facts(Sweep("quick", 0.0, 0.0, 10.0, 10.0, outcomes=outcomes))


def process(name="hog", pid=7, cgroup="/a", **fields):
    return Process(pid, 1, name, "R", 1, cgroup, **fields)


def sample(**tops):
    return ProcessSample(10.0, 10, 9, 9, {}, **tops)


@pytest.mark.parametrize(
    ("function", "top", "field", "unit"),
    [
        (culprits.by_cpu, "top_cpu", "cpu", "cores"),
        (culprits.by_wait, "top_wait", "run_wait", "ratio"),
        (culprits.by_memory, "top_memory", "rss_bytes", "bytes"),
        (culprits.by_io, "top_io", "write_bytes_per_second", "bytes/s"),
        (culprits.by_io, "top_io", "read_bytes_per_second", "bytes/s"),
        (culprits.by_fds, "top_fds", "fds", "descriptors"),
        (culprits.by_threads, "top_threads", "threads", "threads"),
        (culprits.by_faults, "top_faults", "major_faults_per_second", "1/s"),
    ],
)
def test_each_ranks_its_own_number_with_its_unit_and_share(function, top, field, unit):
    small, large = process("small", 1, **{field: 25}), process("large", 2, **{field: 75})
    found = function(facts(sample(**{top: (small, large)})))
    assert found == (
        Culprit("process", "large", "2", 75, unit, 0.75, "/a"),
        Culprit("process", "small", "1", 25, unit, 0.25, "/a"),
    )
    assert function(facts()) == ()
    assert function(facts(sample())) == ()


def test_a_share_is_that_of_all_there_is_where_that_is_known():
    known = facts(
        sample(top_cpu=(process(cpu=1.0),), top_memory=(process(rss_bytes=25),)),
        CpuSample(10.0, 4, Distribution(0.5, 0.5)),
        MemorySample(10.0, 100, 50),
    )
    assert culprits.by_cpu(known)[0].share == 0.5
    assert culprits.by_memory(known)[0].share == 0.25


def test_a_share_is_never_more_than_all_and_unknown_totals_are_not_guessed():
    measured_apart = CpuSample(10.0, 1, Distribution(0.9, 0.9))
    top = sample(top_cpu=(process(cpu=1.0),), top_memory=(process(rss_bytes=25),))
    assert culprits.by_cpu(facts(top, measured_apart))[0].share == 1
    assert culprits.by_cpu(facts(top, CpuSample(10.0, 4)))[0].share == 1
    assert culprits.by_memory(facts(top, MemorySample(10.0, None, None)))[0].share == 1


@pytest.mark.parametrize(
    ("values", "count"),
    [((), 0), ((1.0,), 1), ((1.0, 0.5), 2), ((1.0, 0.49), 1), ((1.0, 0.9, 0.8, 0.7), 3)],
)
def test_who_is_worth_asking_about_takes_nearly_as_much_as_the_first(values, count):
    found = [Culprit("process", str(n), "1", v, "cores") for n, v in enumerate(values)]
    assert culprits.leaders(found) == tuple(found[:count])


def test_several_of_one_name_and_group_are_one_culprit():
    four = [process("stress", pid, cpu=0.5) for pid in (9, 5, 7, 8)]
    other = process("stress", 6, "/b", cpu=1.0)
    found = culprits.by_cpu(facts(sample(top_cpu=(*four, other))))
    assert [(c.id, c.value, c.detail) for c in found] == [("9,5,7,8", 2.0, "/a"), ("6", 1.0, "/b")]
    assert found[0].share == pytest.approx(2 / 3)


def test_of_many_of_one_name_five_ids_are_told():
    many = [process("w", pid, cpu=0.1) for pid in range(6)]
    assert culprits.by_cpu(facts(sample(top_cpu=tuple(many))))[0].id == "0,1,2,3,4,…"
    assert culprits.by_cpu(facts(sample(top_cpu=tuple(many[:5]))))[0].id == "0,1,2,3,4"


def test_at_most_five_and_nobody_who_hardly_takes_part():
    many = [process(f"p{pid}", pid, cpu=1.0) for pid in range(8)]
    assert len(culprits.by_cpu(facts(sample(top_cpu=tuple(many))))) == 5
    pair = (process("a", 1, cpu=95.0), process("b", 2, cpu=5.0))
    assert len(culprits.by_cpu(facts(sample(top_cpu=pair)))) == 2
    pair = (process("a", 1, cpu=95.1), process("b", 2, cpu=4.9))
    assert [c.name for c in culprits.by_cpu(facts(sample(top_cpu=pair)))] == ["a"]


def test_unknown_and_nothing_are_nobody():
    idle = (process(cpu=None), process("b", 8, cpu=0.0))
    assert culprits.by_cpu(facts(sample(top_cpu=idle))) == ()


def test_traffic_is_both_directions_and_one_alone_where_the_other_is_unknown():
    both = process("a", 1, read_bytes_per_second=10.0, write_bytes_per_second=30.0)
    half = process("b", 2, write_bytes_per_second=20.0)
    none = process("c", 3)
    found = culprits.by_io(facts(sample(top_io=(half, none, both))))
    assert [(c.name, c.value) for c in found] == [("a", 40.0), ("b", 20.0)]


def person(name, identity="1"):
    return Culprit("process", name, identity)


def reclaiming(freed=None, page_bytes=4096, **tops):
    steps = {} if freed is None else {"pgsteal_direct": 10 * freed, "pgsteal_kswapd": 0}
    known = MemorySample(10.0, 100, 50, increases=steps)
    tops = {
        "top_memory": (process("large", 9, rss_bytes=80),),
        "top_taken": (process("small", 3, pages_taken_per_second=100.0),
                      process("asking", 2, pages_taken_per_second=900.0)),
        "top_io": (process("reader", 4, read_bytes_per_second=4096e3),),
        **tops,
    }  # fmt: skip
    return [c.name for c in culprits.by_demand(facts(known, sample(page_bytes=page_bytes, **tops)))]


def test_who_asks_for_memory_is_named_and_not_who_has_most():
    assert reclaiming() == ["asking", "small"]
    assert reclaiming(freed=1900) == ["asking", "small"]
    told = culprits.by_demand(facts(sample(top_taken=(process(pages_taken_per_second=5.0),))))
    assert (told[0].value, told[0].unit) == (5.0, "pages/s")


def test_what_page_faults_do_not_explain_is_reading_or_nobody_knows():
    assert reclaiming(freed=2001) == ["large"]
    assert reclaiming(freed=2001, top_taken=()) == ["large"]
    quiet = (process("small", 3, pages_taken_per_second=10.0),)
    assert reclaiming(freed=2000, top_taken=quiet) == ["reader"]
    assert reclaiming(freed=2000, top_taken=quiet, page_bytes=65_536) == ["large"]
    assert reclaiming(freed=2000, top_taken=quiet, page_bytes=None) == ["large"]
    assert reclaiming(freed=9000, top_taken=quiet) == ["large"]
    assert reclaiming(top_taken=()) == ["large"]
    assert culprits.by_demand(facts()) == ()


@pytest.mark.parametrize(
    ("found", "text"),
    [("", ""), ("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcd", "a, b and c"),
     ("aa", "a"), ("aab", "a and b")],
)  # fmt: skip
def test_names_for_a_title(found, text):
    assert culprits.names([person(n) for n in found]) == text


def test_ids_for_a_command_are_numbers_only():
    found = [person("a", "7,8,…"), person("b", None), person("c", "9")]
    assert culprits.pids(found) == "7,8,9"
