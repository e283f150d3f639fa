"""Backlogs of the CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.base import Context
from collectors.softnet import collect, parse


def row(processed, dropped, squeezed, cpu=None, limited=0):
    fields = [processed, dropped, squeezed, 0, 0, 0, 0, 0, 0, 0, limited, 0]
    fields += [] if cpu is None else [cpu, 0, 0]
    return " ".join(f"{n:08x}" for n in fields) + "\n"


def backlog(*rows):
    return {"proc/net/softnet_stat": "".join(rows)}


def test_increases_are_summed_and_the_worst_cpu_is_named(host):
    before = backlog(row(1000, 5, 10, 0), row(2000, 0, 0, 2))
    after = backlog(row(1010, 5, 12, 0), row(2190, 4, 7, 2, limited=3))
    sample = collect(host(before, {}, after))
    assert sample.processed_per_second == 100
    assert (sample.dropped, sample.dropped_total, sample.squeezed) == (4, 9, 9)
    assert (sample.busiest_cpu, sample.busiest_squeezed, sample.flow_limited) == (2, 7, 3)


def test_a_row_is_told_by_its_cpu_and_not_by_its_place(host):
    before = backlog(row(1, 0, 0, 0), row(500, 0, 0, 1), row(900, 0, 0, 2))
    after = backlog(row(9, 0, 0, 0), row(960, 0, 0, 2))
    sample = collect(host(before, after))
    assert (sample.processed_per_second, sample.dropped, sample.squeezed) == (None, None, None)
    assert (sample.busiest_cpu, sample.busiest_squeezed) == (None, None)


def test_nobody_is_blamed_when_nothing_happened(host):
    sample = collect(host(backlog(row(1, 2, 3, 0)), {}))
    assert (sample.squeezed, sample.busiest_squeezed, sample.busiest_cpu) == (0, 0, None)


def test_an_old_kernels_shorter_rows_are_read():
    table = parse(b"0000000a 00000001 00000002 0 0 0 0 0 0\n0000000b 0 0 0 0 0 0 0 0\n")
    assert table[0, "processed"] == 10
    assert table[1, "processed"] == 11
    assert (0, "flow_limited") not in table


@pytest.mark.parametrize(
    "raw", [b"1 2 3\n", b"0x1" + b" 0" * 9, b"1_0" + b" 0" * 9, b"g" + b" 0" * 9]
)
def test_what_is_not_the_kernels_is_refused(raw):
    with pytest.raises(ValueError, match="not a"):
        parse(raw)


def test_two_rows_of_one_cpu_are_refused():
    with pytest.raises(ValueError, match="two backlogs"):
        parse(row(1, 0, 0, 3).encode() * 2)


def test_this_host_has_a_row_for_each_cpu_that_is_online():
    assert collect(Context(duration=0.01)).processed_per_second is not None
    table = parse(Path("/proc/net/softnet_stat").read_bytes())
    stat = Path("/proc/stat").read_text().splitlines()
    online = {int(line[3:].split()[0]) for line in stat if line[:3] == "cpu" and line[3] != " "}
    assert {cpu for cpu, _ in table} == online
