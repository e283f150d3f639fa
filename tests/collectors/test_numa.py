"""Memory nodes and zones."""

from __future__ import annotations

import mmap
import threading

import pytest

from collectors.base import Context
from collectors.model import Unavailable
from collectors.numa import collect, parse_buddyinfo, parse_zoneinfo

ZONEINFO = """Node 0, zone   Normal
  per-node stats
      nr_free_cma 9
  pages free     300
        boost    0
        min      10
        low      20
        high     30
        managed  1000
        protection: (0, 0)
      nr_free_pages 300
  pagesets
    cpu: 0
              count:    363
              high:     1116
        free 99
Node 0, zone  Movable
  pages free     0
        managed  0
Node 1, zone   Normal
  pages free     7
        managed  50
"""
NODE = {
    "meminfo": "Node 0 MemTotal: 2000 kB\nNode 0 MemFree: 500 kB\n",
    "numastat": "numa_hit 100\nnuma_miss 5\n",
    "distance": "10 21\n",
    "cpulist": "0-3\n",
}


def node(number, **files):
    folder = f"sys/devices/system/node/node{number}"
    return {f"{folder}/{name}": text for name, text in (NODE | files).items()}


def test_watermarks_are_those_of_the_zone_and_not_of_its_cpus():
    table = parse_zoneinfo(ZONEINFO.encode())
    expected = {"free": 300, "min": 10, "low": 20, "high": 30, "managed": 1000}
    assert table[0, "Normal"] == expected
    assert table[1, "Normal"] == {"free": 7, "managed": 50}


@pytest.mark.parametrize("bad", [b"Node x, zone Normal\n", b"Node 0, zone\n", b"Node 0, a b\n"])
def test_a_zone_without_name_or_number_is_refused(bad):
    with pytest.raises(ValueError, match=r"zone|number"):
        parse_zoneinfo(bad)


def test_every_zone_of_buddyinfo_has_its_own_blocks():
    raw = b"Node 0, zone      DMA      1      0\nNode 0, zone   Normal      4      2\n"
    assert parse_buddyinfo(raw) == {(0, "DMA"): (1, 0), (0, "Normal"): (4, 2)}


def test_a_block_count_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="number"):
        parse_buddyinfo(b"Node 0, zone DMA 1 x\n")


def test_a_node_tells_its_increases_in_the_window(host):
    later = node(0, numastat="numa_hit 150\nnuma_miss 9\n")
    sample = collect(host(node(0) | node(1), later, step=5.0))
    first, second = sample.nodes
    assert (first.increases, second.increases["numa_hit"]) == ({"numa_hit": 50, "numa_miss": 4}, 0)
    assert (first.total_bytes, first.cpus, first.distances) == (2000 << 10, "0-3", (10, 21))
    assert sample.window_seconds == 5.0


def test_a_node_that_came_in_the_window_has_no_increases(host):
    sample = collect(host(node(0), node(0) | node(1)))
    assert [n.number for n in sample.nodes] == [0, 1]
    assert sample.nodes[1].increases == {"numa_hit": None, "numa_miss": None}


def test_zones_without_memory_are_left_out_and_fragmentation_is_told(host):
    blocks = "Node 0, zone Normal 512 0 0 0 0 0 0 0 0 1 0\n"
    sample = collect(host({"proc/zoneinfo": ZONEINFO, "proc/buddyinfo": blocks}))
    assert [(z.node, z.name) for z in sample.zones] == [(0, "Normal"), (1, "Normal")]
    assert sample.zones[0].huge_share == 0.5
    assert sample.zones[1].huge_share is None


def test_a_kernel_that_tells_of_neither_is_unavailable(host):
    with pytest.raises(Unavailable, match="zoneinfo"):
        collect(host({}))


def test_the_real_zones_add_up_to_their_nodes():
    sample = collect(Context(duration=0.0))
    for node in sample.nodes:
        pages = sum(z.managed_pages or 0 for z in sample.zones if z.node == node.number)
        assert pages * mmap.PAGESIZE == pytest.approx(node.total_bytes, rel=0.02)
    assert all(z.min_pages <= z.low_pages <= z.high_pages for z in sample.zones)


def test_pages_taken_in_the_window_are_hits_of_a_real_node():
    def touch():
        with mmap.mmap(-1, 4000 * mmap.PAGESIZE) as area:
            area.madvise(mmap.MADV_NOHUGEPAGE)
            area.write(b"1" * len(area))

    timer = threading.Timer(0.1, touch)
    timer.start()
    sample = collect(Context(duration=0.6))
    timer.join()
    assert sum(n.increases["numa_hit"] for n in sample.nodes) >= 2000
