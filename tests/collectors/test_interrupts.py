"""Interrupts and softirqs."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from collectors.base import Context
from collectors.interrupts import collect, parse, parse_counts
from collectors.model import Unavailable

HEAD = "           CPU0       CPU1\n"
HARD = (
    HEAD
    + """ 24: {:10} {:10}  PCI-MSIX-0000:00:01.0   0-edge      eth0-rx
 25:          7          7  PCI-MSIX-0000:00:02.0   0-edge      still
NMI:          1          1   Non-maskable interrupts
TRM:          {}          0   Thermal event interrupts
MCE:          {}          0   Machine check exceptions
ERR:          {}
"""
)
SOFT = HEAD + "      HI:          0          0\n  NET_RX: {:10} {:10}\n"


def tick(eth=(0, 0), thermal=0, checks=0, errors=0, received=(0, 0)):
    return {
        "proc/interrupts": HARD.format(*eth, thermal, checks, errors),
        "proc/softirqs": SOFT.format(*received),
    }


def test_a_line_is_taken_apart_into_counts_and_name():
    raw = b"  5   0  PCI-MSI 1-edge   nvme0q1"
    assert parse_counts(raw, 2) == ((5, 0), "PCI-MSI 1-edge nvme0q1")
    assert parse_counts(b"   12", 4) == ((12,), "")
    assert parse_counts(b"  1 x 3  name", 3) == ((1,), "x 3 name")


def test_a_line_that_was_cut_off_is_left_out():
    assert set(parse(b"CPU0\n 1:  5 a\n 2:  1").rows) == {b"1"}


@pytest.mark.parametrize("bad", [b"", b"\n", b"1: 5\n"])
def test_a_table_without_cpus_is_refused(bad):
    with pytest.raises(ValueError, match="CPU"):
        parse(bad)


def test_rates_use_the_measured_window_and_name_the_busiest_source(host):
    sample = collect(host(tick((100, 0)), tick((1000, 100)), step=10.0))
    assert (sample.per_second, sample.cpus) == (100.0, 2)
    (source,) = sample.sources
    assert (source.id, source.per_second, source.busiest_cpu_share) == ("24", 100.0, 0.9)
    assert source.name == "PCI-MSIX-0000:00:01.0 0-edge eth0-rx"


def test_few_interrupts_say_nothing_about_their_spread(host):
    sample = collect(host(tick(), tick((99, 0), received=(50, 0))))
    assert sample.sources[0].busiest_cpu_share is None
    assert sample.network_receive_share is None


def test_received_packets_show_on_which_cpu_they_are_handled(host):
    sample = collect(host(tick(), tick(received=(600, 200)), step=4.0))
    assert (sample.network_receive_share, sample.network_receive_per_second) == (0.75, 200.0)
    assert sample.softirqs == {"HI": 0.0, "NET_RX": 200.0}


def test_mishaps_are_told_since_boot_and_in_the_window(host):
    sample = collect(host(tick(errors=4), tick(thermal=3, checks=2, errors=5)))
    assert (sample.machine_checks, sample.machine_checks_increase) == (2, 2)
    assert (sample.thermal_events, sample.thermal_events_increase) == (3, 3)
    assert (sample.nmi_increase, sample.errors_increase, sample.corrected_increase) == (0, 1, None)


def test_a_count_that_went_back_is_unknown_and_spoils_no_other(host):
    sample = collect(host(tick((9, 9), checks=5), tick((8, 20), checks=1, thermal=2)))
    assert sample.sources[0].id == "TRM"
    assert (sample.machine_checks, sample.machine_checks_increase) == (1, None)


def test_a_number_given_to_another_device_is_not_compared(host):
    later = tick((500, 500), thermal=1)
    later["proc/interrupts"] = later["proc/interrupts"].replace("eth0-rx", "nvme0q1")
    assert [s.id for s in collect(host(tick(), later)).sources] == ["TRM"]


def test_nothing_is_compared_when_a_cpu_came_or_went(host):
    later = tick((500, 500), received=(9, 9))
    moved = {n: text.replace("CPU1", "CPU2") for n, text in later.items()}
    sample = collect(host(tick(), moved))
    assert (sample.per_second, sample.sources, sample.softirqs) == (None, (), {})
    assert sample.machine_checks_increase is None
    assert sample.machine_checks == 0


def test_one_table_is_enough(host):
    files = {"proc/softirqs": SOFT.format(1, 1)}
    assert collect(host(files, files)).per_second is None


def test_no_table_is_unavailable(host):
    with pytest.raises(Unavailable, match="interrupts"):
        collect(host({}))


def test_names_from_drivers_are_made_safe(host):
    evil = HEAD + ' 24:  {}  0  chip   evil\x1b[2J"dev\n'
    sample = collect(host({"proc/interrupts": evil.format(0)}, {"proc/interrupts": evil.format(9)}))
    assert "\x1b" not in sample.sources[0].name


def test_the_real_rate_is_that_of_proc_stat():
    def total():
        lines = Path("/proc/stat").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("intr")).split()[1])

    before = total()
    sample = collect(Context(duration=1.0, interval=1.0))
    assert sample.per_second * sample.window_seconds == pytest.approx(total() - before, rel=0.3)


def test_packets_sent_in_the_window_are_received_in_it():
    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for _ in range(2000):
                out.sendto(b"x", ("127.0.0.1", 9))

    timer = threading.Timer(0.1, send)
    timer.start()
    sample = collect(Context(duration=0.8, interval=0.8))
    timer.join()
    assert sample.network_receive_per_second * sample.window_seconds >= 1000
    assert 0.5 <= sample.network_receive_share <= 1.0
