"""Memory."""

from __future__ import annotations

import mmap
import threading

import psutil
import pytest

from collectors.base import Context
from collectors.memory import MemorySample, collect, parse_arcstats, parse_choice, parse_meminfo
from collectors.model import Cause, Unavailable

MEMINFO = """MemTotal:        1000 kB
MemFree:          100 kB
MemAvailable:     {} kB
SwapTotal:       2000 kB
SwapFree:        1500 kB
HardwareCorrupted:    {} kB
HugePages_Total:       7
Hugepagesize:       2048 kB
"""
VMSTAT = "nr_dirty 5\noom_kill {}\npgmajfault {}\nallocstall_normal 1\n"


def tick(available=400, corrupted=0, kills=3, faults=10):
    return {
        "proc/meminfo": MEMINFO.format(available, corrupted),
        "proc/vmstat": VMSTAT.format(kills, faults),
    }


def test_kilobytes_become_bytes_and_counts_stay_counts():
    table = parse_meminfo(MEMINFO.format(400, 0).encode())
    assert (table["MemTotal"], table["HugePages_Total"]) == (1_024_000, 7)


def test_a_nodes_fields_are_named_as_the_hosts():
    assert parse_meminfo(b"Node 0 MemFree:  12 kB\n") == {"MemFree": 12288}


@pytest.mark.parametrize("bad", [b"MemTotal: nan kB", b"MemTotal: 1_0 kB", b"MemTotal:", b"A: -1"])
def test_garbage_is_refused(bad):
    with pytest.raises(ValueError, match="number"):
        parse_meminfo(bad)


def test_what_is_not_available_is_followed_through_the_window(host):
    sample = collect(host(tick(400), tick(200), tick(300)))
    assert sample.utilization.samples == pytest.approx((0.6, 0.8, 0.7))
    assert sample.utilization.peak == pytest.approx(0.8)
    assert sample.available_bytes == 300 << 10


def test_without_memavailable_the_use_is_unknown_and_not_full(host):
    old = {"proc/meminfo": "MemTotal: 1000 kB\nMemFree: 10 kB\nBuffers: 1 kB\n"}
    sample = collect(host(old, old))
    assert (sample.utilization.mean, sample.available_bytes) == (None, None)
    assert (sample.swap_total_bytes, sample.swap_used_bytes) == (None, None)


def test_more_available_than_there_is_counts_as_unused(host):
    assert collect(host(tick(1001), tick(1001))).utilization.mean == 0.0


def test_counters_tell_their_increase_in_the_window(host):
    sample = collect(host(tick(faults=10), tick(faults=9000), tick(faults=50), step=2.0))
    assert (sample.increases["pgmajfault"], sample.totals["pgmajfault"]) == (40, 50)
    assert sample.per_second("pgmajfault") == 10.0


def test_a_counter_that_went_back_is_unknown(host):
    sample = collect(host(tick(kills=3), tick(kills=1)))
    assert sample.increases["oom_kill"] is None
    assert sample.per_second("oom_kill") is None


def test_summed_rates_leave_out_what_the_kernel_lacks_and_need_one():
    sample = MemorySample(2.0, None, None, increases={"a": 4, "b": 2, "c": None})
    assert sample.per_second("a", "b", "absent") == 3.0
    assert sample.per_second("absent") is None
    assert sample.per_second("a", "c") is None


def test_pages_lost_to_memory_errors_are_counted(host):
    size = mmap.PAGESIZE >> 10
    sample = collect(host(tick(corrupted=size), tick(corrupted=3 * size)))
    assert (sample.totals["hardware_corrupted"], sample.increases["hardware_corrupted"]) == (3, 2)


def test_swap_and_levels_are_read_at_the_end(host):
    sample = collect(host(tick(), tick()))
    assert sample.swap_used_bytes == 500 << 10
    assert sample.levels == {"nr_dirty": 5}


def test_huge_pages_zswap_and_arc_are_read_where_they_exist(host):
    folder = "sys/kernel/mm/transparent_hugepage"
    files = {
        f"{folder}/enabled": "always [madvise] never\n",
        "sys/module/zswap/parameters/enabled": "Y\n",
        "proc/spl/kstat/zfs/arcstats": "13 1 0x01\nname type data\nsize 4 900\nc_min 4 300\n",
    }
    sample = collect(host(tick() | files, {}))
    assert (sample.huge_pages, sample.huge_pages_defrag) == ("madvise", None)
    assert (sample.zswap, sample.arc_reclaimable_bytes) == (True, 600)


def test_where_they_do_not_exist_they_are_unknown(host):
    sample = collect(host(tick(), tick()))
    assert (sample.huge_pages, sample.zswap, sample.arc_reclaimable_bytes) == (None, None, None)


def test_half_told_arc_is_unknown_and_a_small_one_gives_nothing():
    assert parse_arcstats(b"size 4 900\n") is None
    assert parse_arcstats(b"size 4 100\nc_min 4 300\n") == 0


def test_a_choice_without_brackets_is_unknown():
    assert parse_choice(b"always madvise") is None


def test_no_meminfo_is_unavailable_and_an_empty_one_is_garbled(host):
    with pytest.raises(Unavailable, match="meminfo") as missing:
        collect(host({}))
    with pytest.raises(Unavailable, match="empty") as empty:
        collect(host({"proc/meminfo": ""}))
    assert (missing.value.cause, empty.value.cause) == (Cause.MISSING, Cause.GARBLED)


def test_the_real_host_is_what_other_tools_say():
    sample = collect(Context(duration=0.1, interval=0.1))
    assert sample.total_bytes == psutil.virtual_memory().total
    assert sample.swap_total_bytes == psutil.swap_memory().total
    assert sample.available_bytes == pytest.approx(psutil.virtual_memory().available, rel=0.1)


def test_faults_taken_in_the_window_are_seen():
    def touch():
        with mmap.mmap(-1, 2000 * mmap.PAGESIZE) as area:
            area.madvise(mmap.MADV_NOHUGEPAGE)
            for page in range(2000):
                area[page * mmap.PAGESIZE] = 1

    timer = threading.Timer(0.1, touch)
    timer.start()
    sample = collect(Context(duration=0.6, interval=0.3))
    timer.join()
    assert sample.increases["pgfault"] >= 2000
    assert sample.totals["oom_kill"] >= 0
