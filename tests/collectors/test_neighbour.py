"""Tables of neighbours."""

from __future__ import annotations

import subprocess

import pytest

from collectors.base import Context
from collectors.model import Cause, Unavailable
from collectors.neighbour import collect

HEAD = "entries allocs lookups table_fulls\n"


def tables(entries, fulls, six=None):
    row = f"{entries:08x} 00000001 00000002 {fulls:08x}\n"
    return {"proc/net/stat/arp_cache": HEAD + row * 2} | (
        {"proc/net/stat/ndisc_cache": HEAD + f"{six:08x} 0 0 0\n"} if six is not None else {}
    )


def test_entries_are_told_once_and_refusals_of_all_cpus_in_the_window(host):
    sample = collect(host(tables(900, 7, six=3), {}, tables(1024, 12, six=4)))
    assert (sample.entries, sample.refused) == (1024, 10)
    assert (sample.entries_six, sample.refused_six) == (4, 0)


def test_without_ipv6_its_table_is_unknown(host):
    sample = collect(host(tables(1, 0), {}))
    assert (sample.entries, sample.entries_six, sample.refused_six) == (1, None, None)


def test_a_kernel_that_does_not_tell_lacks_nothing(host):
    with pytest.raises(Unavailable) as answer:
        collect(host({"proc/net/dev": ""}))
    assert answer.value.cause is Cause.ABSENT


def test_this_hosts_neighbours_are_at_least_those_of_ip():
    rows = subprocess.run(["ip", "-4", "neigh"], capture_output=True, check=True).stdout
    assert collect(Context(duration=0.0)).entries >= len(rows.splitlines())
