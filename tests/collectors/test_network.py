"""Interfaces."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from collectors.base import Context
from collectors.model import Unavailable
from collectors.network import collect, parse

HEAD = "Inter-| Receive | Transmit\n face |bytes packets\n"


def row(name, received=0, sent=0, **counters):
    order = ("rx_errors", "rx_dropped", "rx_fifo", "rx_frame", "", "")
    rx = [received, received // 100, *(counters.get(n, 0) for n in order)]
    order = ("tx_errors", "tx_dropped", "tx_fifo", "collisions", "tx_carrier", "")
    tx = [sent, sent // 100, *(counters.get(n, 0) for n in order)]
    return f"{name}: {' '.join(map(str, rx + tx))}\n"


def dev(*rows):
    return {"proc/net/dev": HEAD + "".join(rows)}


def physical(name, **files):
    files = {"speed": 1000, "mtu": 1500, "operstate": "up", "carrier_changes": 2, **files}
    files = {f"sys/class/net/{name}/{n.replace('__', '/')}": f"{v}\n" for n, v in files.items()}
    return {f"sys/class/net/{name}/device/numa_node": "-1\n", **files}


def test_throughput_is_held_against_the_speed_of_the_link_in_its_busier_direction(host):
    ctx = host(
        {**dev(row("eth0", 0, 0)), **physical("eth0")},
        dev(row("eth0", 100_000_000, 5_000)),
        dev(row("eth0", 125_000_000, 5_000)),
    )
    link = collect(ctx).interfaces["eth0"]
    assert link.speed_bytes_per_second == 125_000_000
    assert (link.receive.mean, link.receive.peak) == (62_500_000, 100_000_000)
    assert (link.utilization.mean, link.utilization.peak) == (0.5, 0.8)
    assert link.packets_received == 625_000
    assert link.transmit.mean == 2_500
    assert (link.state, link.mtu, link.numa_node, link.master) == ("up", 1500, None, None)


@pytest.mark.parametrize("speed", ["-1", "", "0", "x"])
def test_a_link_that_tells_no_speed_has_no_utilization(host, speed):
    ctx = host({**dev(row("eth0")), **physical("eth0", speed=speed)}, dev(row("eth0", 9_000)))
    link = collect(ctx).interfaces["eth0"]
    assert link.receive.mean == 9_000
    assert link.speed_bytes_per_second is None
    assert link.utilization.mean is None


def test_a_virtual_interface_has_no_speed_whatever_it_says(host):
    files = {"sys/class/net/veth1/speed": "10000\n"}
    ctx = host({**dev(row("veth1")), **files}, dev(row("veth1", 5)))
    link = collect(ctx).interfaces["veth1"]
    assert (link.physical, link.speed_bytes_per_second) == (False, None)


def test_errors_and_drops_stay_apart(host):
    before = row("eth0", 100, rx_errors=5, rx_dropped=7, tx_carrier=1)
    after = row("eth0", 900, rx_errors=6, rx_dropped=9, tx_dropped=3, collisions=4, tx_carrier=1)
    first = physical("eth0", statistics__rx_missed_errors=10)
    last = physical("eth0", statistics__rx_missed_errors=14, carrier_changes=5)
    link = collect(host({**dev(before), **first}, {**dev(after), **last})).interfaces["eth0"]
    told = {n: v for n, v in link.increases.items() if v}
    assert told == {
        "rx_errors": 1, "rx_dropped": 2, "tx_dropped": 3, "collisions": 4, "rx_missed_errors": 4
    }  # fmt: skip
    assert (link.totals["rx_dropped"], link.totals["tx_carrier"]) == (9, 1)
    assert link.carrier_changes == 3


def test_a_counter_of_sysfs_that_went_back_is_unknown(host):
    first, last = (physical("eth0", statistics__rx_missed_errors=n) for n in (10, 4))
    link = collect(host({**dev(row("eth0")), **first}, last)).interfaces["eth0"]
    assert link.increases["rx_missed_errors"] is None
    assert link.totals["rx_missed_errors"] == 4


def test_an_interface_that_came_or_was_replaced_is_unknown_and_one_that_went_is_gone(host):
    ctx = host(
        dev(row("lo"), row("old"), row("swapped", 500)),
        dev(row("lo", 5), row("new", 10), row("swapped", 100)),
        dev(row("lo", 9), row("new", 90), row("swapped", 900)),
    )
    links = collect(ctx).interfaces
    assert set(links) == {"lo", "new", "swapped"}
    assert links["new"].receive.mean is None
    assert set(links["new"].increases.values()) == {None}
    assert links["swapped"].receive.mean is None
    assert links["lo"].receive.mean == 4.5


def test_an_idle_interface_is_known_to_be_idle(host):
    link = collect(host(dev(row("eth0", 7)), {}, {})).interfaces["eth0"]
    assert (link.receive.mean, link.receive.samples) == (0.0, (0.0, 0.0))
    assert set(link.increases.values()) == {0}


def test_a_single_look_tells_totals_and_no_rates(host):
    link = collect(host(dev(row("eth0", 7, rx_errors=3)))).interfaces["eth0"]
    assert link.receive.mean is None
    assert (link.totals["rx_errors"], link.increases["rx_errors"]) == (3, None)


def test_odd_names_are_harmless_and_stay_apart(host):
    raw = (HEAD + row("A") + row("B")).encode()
    raw = raw.replace(b"A:", b"\xff\x1b:").replace(b"B:", b"\xfe\x1b:")
    assert set(parse(raw)) == {b"\xff\x1b", b"\xfe\x1b"}
    links = collect(host({"proc/net/dev": raw}, {})).interfaces
    assert len(links) == 2
    assert all("\x1b" not in name and links[name].name == name for name in links)


def test_of_hundreds_of_interfaces_the_physical_ones_are_asked(host):
    rows = [row(f"veth{n}") for n in range(200)] + [row("wan0")]
    links = collect(host({**dev(*rows), **physical("wan0")}, {})).interfaces
    assert len(links) == 201
    assert links["wan0"].mtu == 1500


def test_no_interface_is_an_answer(host):
    with pytest.raises(Unavailable):
        collect(host({"proc/net/dev": HEAD}, {}))


@pytest.mark.parametrize(
    "line", ["eth0: 1 2 3\n", row("e").replace("0", "1_0"), row("e").replace("0", "-1")]
)
def test_a_line_that_is_not_the_kernels_is_refused(line):
    with pytest.raises(ValueError, match="not a"):
        parse((HEAD + line).encode())


def test_below_another_procfs_the_hosts_namespace_is_read(host):
    ctx = host({**dev(row("container0")), "proc/1/net/dev": HEAD + row("host0")}, {})
    assert set(collect(ctx).interfaces) == {"host0"}


def test_this_hosts_interfaces_are_those_of_ip():
    told = subprocess.run(["ip", "-j", "-s", "link"], capture_output=True, check=True)
    links = {link["ifname"]: link for link in json.loads(told.stdout)}
    sample = collect(Context(duration=0.0))
    assert set(sample.interfaces) == set(links)
    for name, link in sample.interfaces.items():
        assert link.mtu == links[name]["mtu"]
        assert link.state == links[name]["operstate"].lower()
        assert link.totals["rx_errors"] == links[name]["stats64"]["rx"]["errors"]
        assert link.physical is Path(f"/sys/class/net/{name}/device").exists()
