"""Pressure stall information."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.base import Context
from collectors.model import Cause, Unavailable
from collectors.pressure import collect, parse

FILE = """some avg10=1.50 avg60=0.25 avg300=0.00 total={}
full avg10=0.00 avg60=0.00 avg300=0.00 total={}
"""


def test_a_line_is_read_in_ratios_and_microseconds():
    line = parse(FILE.format(2368355, 7).encode())["some"]
    assert (line.avg10, line.avg60, line.total) == (0.015, 0.0025, 2368355)


@pytest.mark.parametrize("bad", [b"some avg10=nan avg60=0 avg300=0 total=1", b"some total=1", b"x"])
def test_garbage_is_refused(bad):
    with pytest.raises(ValueError, match=r"number|pressure"):
        parse(bad)


def test_stalled_microseconds_become_a_share_of_the_measured_window(host):
    ctx = host(
        {"proc/pressure/cpu": FILE.format(0, 0)},
        {"proc/pressure/cpu": FILE.format(500_000, 0)},
        {"proc/pressure/cpu": FILE.format(600_000, 0)},
    )
    cpu = collect(ctx).cpu
    assert cpu is not None
    assert (cpu.some.mean, cpu.some.peak, cpu.full.mean) == (0.3, 0.5, 0.0)


def test_a_total_that_went_back_is_unknown(host):
    ctx = host({"proc/pressure/cpu": FILE.format(9, 9)}, {"proc/pressure/cpu": FILE.format(5, 9)})
    cpu = collect(ctx).cpu
    assert cpu is not None
    assert cpu.some.mean is None


def test_a_resource_without_a_file_is_none(host):
    files = {"proc/pressure/cpu": FILE.format(0, 0)}
    assert collect(host(files, files)).memory is None


def test_a_kernel_without_psi_is_absent_and_names_the_way_out(host):
    with pytest.raises(Unavailable, match="psi=1") as caught:
        collect(host({}))
    assert caught.value.cause is Cause.ABSENT


def test_the_real_kernel_is_read_through_the_window():
    sample = collect(Context(duration=0.3, interval=0.1))
    total = parse(Path("/proc/pressure/cpu").read_bytes())["some"].total
    assert sample.cpu is not None
    assert len(sample.cpu.some.samples) == 3
    assert total > 0
