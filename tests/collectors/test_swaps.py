"""Swap devices."""

from __future__ import annotations

import pytest

from collectors.swaps import Swap, parse_mm_stat, parse_swaps, read_swaps

SWAPS = b"""Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/sda2                               partition\t2097148\t\t1024\t\t-2
/swap\\040file                           file\t\t1048572\t\t0\t\t5
"""


def test_devices_are_read_in_bytes():
    assert parse_swaps(SWAPS) == (
        Swap("/dev/sda2", "partition", 2097148 << 10, 1 << 20, -2),
        Swap("/swap\\040file", "file", 1048572 << 10, 0, 5),
    )


@pytest.mark.parametrize("bad", [b"\n/a file 1 2", b"\n/a file x 2 3", b"\n/a file 1 2 high"])
def test_garbage_is_refused(bad):
    with pytest.raises(ValueError, match=r"swap|number"):
        parse_swaps(bad)


def test_a_compressed_device_tells_what_it_takes_of_memory(host):
    ctx = host(
        {
            "proc/swaps": b"head\n/dev/zram0 partition 1000 500 100\n/dev/zramx file 1 1 1\n",
            "sys/block/zram0/mm_stat": "512000 100000 131072 0 131072 0 0 0 0\n",
        }
    )
    first, second = read_swaps(ctx)
    assert (first.in_memory, first.memory_bytes) == (True, 131072)
    assert second.memory_bytes is None


def test_a_kernel_without_swap_has_no_devices(host):
    assert read_swaps(host({})) == ()


@pytest.mark.parametrize("bad", [b"", b"1 2", b"1 2 -3"])
def test_a_memory_line_of_another_form_is_refused(bad):
    with pytest.raises(ValueError, match=r"zram|number"):
        parse_mm_stat(bad)
