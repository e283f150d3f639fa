"""Network cards."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from collectors import nic
from collectors.base import Context
from collectors.ethtool import Driver, Ethtool, parse_driver, parse_names
from collectors.model import Unavailable
from collectors.nic import collect

NAMES = ("rx_queue_0_drops", "rx_queue_1_drops", "rx_packets", "rx_out_of_buffer", "tx_timeouts")


def raw_names(*names):
    return b"".join(n.encode().ljust(32, b"\0") for n in names)


def card(name="eth0", **files):
    files = {"device/vendor": "0x1\n", **{n.replace("__", "/"): v for n, v in files.items()}}
    return {f"sys/class/net/{name}/{n}": v for n, v in files.items()}


class FakeDriver(Ethtool):
    """A driver whose counters advance from question to question."""

    answers: list[tuple[int, ...]]
    asked_names = 0

    def driver(self, name):
        return Driver("mlx5_core", "16.35", "0000:03:00.0", len(NAMES))

    def _ask(self, name, command, size, more=b""):
        if command == 0x1B:
            type(self).asked_names += 1
            return bytes(12) + raw_names(*NAMES)
        if command == 0x1D:
            values = self.answers.pop(0)
            return struct.pack("=II", command, len(values)) + struct.pack(
                f"={len(values)}Q", *values
            )
        if command == 0x10:
            return struct.pack("=9I", command, 8192, 0, 0, 4096, 1024, 0, 0, 512)
        return None


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.setattr(nic, "Ethtool", FakeDriver)
    monkeypatch.setattr(nic.net_tables, "is_own", lambda net: True)
    FakeDriver.asked_names = 0
    return FakeDriver


def test_the_drivers_losses_of_all_queues_are_one_counter_with_its_increase(host, driver):
    driver.answers = [(1, 2, 900, 0, 0), (4, 4, 999, 7, 0)]
    found = collect(host(card(), {})).cards["eth0"]
    assert found.losses == {"rx_queue_*_drops": 8, "rx_out_of_buffer": 7}
    assert found.losses_increase == {"rx_queue_*_drops": 5, "rx_out_of_buffer": 7}
    assert (found.driver, found.firmware) == ("mlx5_core", "16.35")
    rings = (found.rx_ring, found.rx_ring_max, found.tx_ring, found.tx_ring_max)
    assert rings == (1024, 8192, 512, 4096)
    assert (found.channels, found.rx_wait_adaptive, found.offloads) == (None, None, {})


def test_names_of_counters_are_asked_once_and_not_again_next_sweep(host, driver):
    driver.answers = [(0,) * 5] * 4
    memory = {}
    for _ in range(2):
        ctx = host(card(), {})
        ctx.memory = memory
        collect(ctx)
    assert driver.asked_names == 1


def test_counters_that_became_more_or_went_back_are_unknown(host, driver):
    driver.answers = [(9, 9, 0, 5, 0), (9, 9, 0, 4, 0)]
    assert collect(host(card(), {})).cards["eth0"].losses_increase["rx_out_of_buffer"] is None
    driver.answers = [(1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1)]
    assert collect(host(card(), {})).cards["eth0"].losses == {}


def test_another_namespaces_cards_are_not_mistaken_for_those_of_their_name(
    host, driver, monkeypatch
):
    monkeypatch.setattr(nic.net_tables, "is_own", lambda net: False)
    driver.answers = []
    first, last = (card(statistics__tx_aborted_errors=f"{n}\n", carrier="1\n") for n in (2, 5))
    found = collect(host(first, last)).cards["eth0"]
    assert (found.driver, found.rx_ring, found.carrier) == (None, None, True)
    assert (found.losses, found.losses_increase) == (
        {"tx_aborted_errors": 5},
        {"tx_aborted_errors": 3},
    )


def test_the_setting_of_queues_and_the_link_is_told_and_unknown_stays_unknown(host):
    files = card(
        duplex="full\n", carrier="0\n", queues__rx__0="", **{
            "queues/rx-0/rps_cpus": "00000000,00000003\n", "queues/rx-1/rps_cpus": "0\n",
            "queues/tx-0/tx_timeout": "0\n",
        },
    )  # fmt: skip
    del files["sys/class/net/eth0/queues/rx/0"]
    found = collect(host(files, {})).cards["eth0"]
    assert (found.rx_queues, found.tx_queues, found.duplex, found.carrier) == (2, 1, "full", False)
    assert (found.packet_steering, found.transmit_steering) == (True, None)
    bare = collect(host(card("eth1", duplex="unknown\n"), {})).cards["eth1"]
    assert (bare.duplex, bare.carrier, bare.rx_queues) == (None, None, None)


def test_virtual_interfaces_alone_are_no_card(host):
    with pytest.raises(Unavailable, match="device behind it"):
        collect(host({"sys/class/net/veth0/mtu": "1500\n"}))


def test_more_cards_than_are_looked_at_are_counted(host):
    many = {k: v for n in range(40) for k, v in card(f"eth{n:02}").items()}
    sample = collect(host(many, {}))
    assert (len(sample.cards), sample.left_out) == (32, 8)


def test_only_names_that_tell_of_losses_are_kept():
    names = ("tx_bytes", "bw_in_allowance_exceeded", "rx12_buff_alloc_err", "rx_xdp_redirect")
    assert parse_names(raw_names(*names)) == {
        1: "bw_in_allowance_exceeded",
        2: "rx*_buff_alloc_err",
    }
    assert parse_names(b"") == {}


def test_an_answer_cut_short_is_refused():
    with pytest.raises(ValueError, match="cut short"):
        parse_driver(bytes(100))


SCRIPT = """
import json
from collectors.ethtool import Ethtool
with Ethtool() as tool:
    driver = tool.driver(b"sysdx0")
    names = tool.counter_names(b"sysdx0", driver.counters)
    print(json.dumps([driver.name, sorted(set(names.values())),
        tool.counters(b"sysdx0", driver.counters, names), tool.driver(b"nothing"),
        tool.counters(b"sysdx0", driver.counters + 1, names), tool.offloads(b"sysdx0")]))
"""


def test_a_real_driver_tells_its_counters():
    if os.geteuid() != 0:
        pytest.skip("making a network namespace needs root")
    make = 'ip link add sysdx0 type veth peer name sysdx1 && exec "$0" -c "$1"'
    told = subprocess.run(
        ["unshare", "-n", "sh", "-c", make, sys.executable, SCRIPT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    name, names, counters, nothing, more, offloads = json.loads(told.stdout)
    assert (name, nothing, more) == ("veth", None, {})
    assert "rx_queue_*_drops" in names
    assert counters["rx_queue_*_drops"] == 0
    assert {"tso", "gso", "gro"} <= set(offloads)


def test_the_driver_is_the_one_that_sysfs_links_to_and_errors_are_those_that_ip_tells():
    try:
        sample = collect(Context(duration=0.05, interval=0.05))
    except Unavailable as answer:
        pytest.skip(str(answer))
    told = subprocess.run(["ip", "-s", "-s", "-j", "link"], capture_output=True, check=True)
    links = {link["ifname"]: link for link in json.loads(told.stdout)}
    for name, found in sample.cards.items():
        link = Path("/sys/class/net", name, "device/driver")
        assert link.resolve().name == found.driver
        assert found.losses.get("rx_length_errors", 0) == (
            links[name]["stats64"]["rx"].get("length_errors", 0)
        )
