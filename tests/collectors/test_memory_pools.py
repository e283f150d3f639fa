"""Pools, merged pages and the kernel's caches."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from collectors.base import Context
from collectors.memory import collect
from collectors.memory_pools import (
    HugePool,
    parse_slabinfo,
    read_merged,
    read_pools,
    read_slabs,
)

POOL = "sys/kernel/mm/hugepages/hugepages-{}kB/{}_hugepages"
HEAD = (
    "slabinfo - version: 2.1\n"
    "# name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables ...\n"
)


def slab(name, used, objects, pages, slabs):
    return f"{name} {used} {objects} 192 21 {pages} : tunables 0 0 0 : slabdata {slabs} {slabs} 0\n"


def test_pools_are_told_by_the_size_of_their_pages_and_empty_ones_are_not(host):
    files = {POOL.format(2048, kind): f"{n}\n" for kind, n in (("nr", 8), ("free", 3), ("resv", 2))}
    files[POOL.format(1048576, "nr")] = "0\n"
    assert read_pools(host(files)) == {2 << 20: HugePool(8, 3, 2, None)}


def test_what_this_kernel_does_not_have_is_unknown(host):
    ctx = host({})
    assert (read_pools(ctx), read_merged(ctx), read_slabs(ctx)) == ({}, None, None)


@pytest.mark.parametrize(
    ("run", "kept", "expected"),
    [("0", "0", None), ("1", "0", (True, 0)), ("0", "4", (False, 4)), ("2", "0", None)],
)
def test_merging_is_told_when_it_runs_or_has_left_something(host, run, kept, expected):
    folder = "sys/kernel/mm/ksm"
    files = {f"{folder}/run": run, f"{folder}/pages_shared": kept, f"{folder}/pages_sharing": "9"}
    merged = read_merged(host(files))
    if expected is None:
        assert merged is None
    else:
        assert (merged.running, merged.kept_bytes) == (expected[0], expected[1] * mmap.PAGESIZE)
        assert merged.saved_bytes == 9 * mmap.PAGESIZE


def test_the_largest_caches_come_first(host):
    lines = [slab(f"c{n}", n, 2 * n, 2, n) for n in range(1, 15)]
    found = read_slabs(host({"proc/slabinfo": HEAD + "".join(lines)}))
    assert [s.name for s in found] == [f"c{n}" for n in range(14, 4, -1)]
    first = found[0]
    assert (first.bytes, first.objects, first.used) == (28 * mmap.PAGESIZE, 28, 14)


@pytest.mark.parametrize(
    "bad", [b"", b"slabinfo - version: 9.0\n", HEAD.encode() + b"dentry 1 2\n"]
)
def test_a_table_of_another_form_is_refused(bad):
    with pytest.raises(ValueError, match="not "):
        parse_slabinfo(bad)


def test_caches_are_looked_at_in_long_windows_only(host):
    files = {"proc/meminfo": "MemTotal: 9 kB\n", "proc/slabinfo": HEAD + slab("a", 1, 1, 1, 1)}
    assert collect(host(files, {})).slabs is None
    assert len(collect(host(files, {}, step=30)).slabs) == 1


def test_the_caches_of_this_kernel_are_about_what_meminfo_says_they_are():
    if os.geteuid() != 0 or not Path("/proc/slabinfo").exists():
        pytest.skip("only root may read them")
    raw = Path("/proc/slabinfo").read_bytes()
    text = Path("/proc/meminfo").read_text()
    told = int(text.partition("Slab:")[2].split()[0]) * 1024
    assert sum(s.bytes for s in parse_slabinfo(raw).values()) == pytest.approx(told, rel=0.1)
    assert read_slabs(Context())
