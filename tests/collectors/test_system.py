"""What kind of host this is."""

from __future__ import annotations

import json
import os
import subprocess
import time

import psutil
import pytest

from collectors.base import Context
from collectors.system import collect, parse_cpu_model, parse_os_release

CPUINFO = "processor\t: 0\nmodel name\t: Fast CPU\nflags\t\t: fpu vme{}\n"
FILES = {
    "proc/sys/kernel/hostname": "web-1\n",
    "proc/sys/kernel/osrelease": "6.1.0-9\n",
    "proc/sys/kernel/random/boot_id": "8f2c\n",
    "proc/sys/kernel/tainted": "4097\n",
    "proc/version": "Linux version 6.1.0-9\n",
    "proc/uptime": "351735.47 234388.90\n",
    "proc/cpuinfo": CPUINFO.format(""),
    "proc/meminfo": "MemTotal:       16384256 kB\nMemFree: 1 kB\n",
    "proc/1/comm": "systemd\n",
    "proc/2/comm": "kthreadd\n",
    "sys/devices/system/cpu/online": "0-3,6\n",
    "sys/class/dmi/id/sys_vendor": "Dell Inc.\n",
    "sys/class/dmi/id/product_name": "R740\n",
    "root/etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
    "root/etc/machine-id": "0123456789abcdef\n",
}


def sample(host, **changes):
    renamed = {key.replace("__", "/"): value for key, value in changes.items()}
    return collect(host(FILES | renamed))


def test_a_machine_is_described_by_its_own_files(host):
    told = sample(host)
    assert (told.hostname, told.kernel, told.os) == ("web-1", "6.1.0-9", "Debian GNU/Linux 12")
    assert (told.cpus, told.cpu_model, told.memory_bytes) == (5, "Fast CPU", 16384256 * 1024)
    assert (told.vendor, told.product, told.virtualization) == ("Dell Inc.", "R740", "none")
    assert (told.uptime_seconds, told.boot_id, told.taints) == (351735.47, "8f2c", 4097)
    assert told.in_container is False


def test_another_hosts_cores_are_not_those_of_this_one(host):
    assert sample(host).cores is None


def test_the_machine_id_itself_is_not_told(host):
    told = sample(host)
    assert "0123456789abcdef" not in repr(told)
    assert len(told.machine_id_hash) == 16


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sys/hypervisor/type": "xen\n"}, "xen"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, "qemu"),
        ({"sys/class/dmi/id/product_name": "VMware7,1\n"}, "vmware"),
        ({"proc/cpuinfo": CPUINFO.format(" hypervisor")}, "unnamed hypervisor"),
        ({"proc/cpuinfo": None}, None),
        ({"proc/cpuinfo": "Processor: ARM\n"}, None),
    ],
)
def test_the_hypervisor_is_told_only_where_something_tells_it(host, changes, expected):
    assert sample(host, **changes).virtualization == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("systemd\n", "kthreadd\n", False),
        ("nginx\n", "nginx\n", True),
        ("nginx\n", None, True),
        (None, None, None),
    ],
)
def test_a_container_is_known_by_a_process_two_that_is_no_kernel_thread(
    host, first, second, expected
):
    told = sample(host, **{"proc/1/comm": first, "proc/2/comm": second})
    assert told.in_container is expected


def test_what_is_missing_is_unknown(host):
    told = collect(host({"proc/uptime": "garbage"}))
    assert told.uptime_seconds is None
    assert told.cpus is told.memory_bytes is told.os is told.taints is told.boot_id is None


@pytest.mark.parametrize("online", ["", "3-1", "0-x", "0,,1"])
def test_a_list_of_cpus_that_makes_no_sense_is_unknown(host, online):
    assert sample(host, **{"sys/devices/system/cpu/online": online}).cpus is None


def test_names_are_made_safe():
    assert parse_os_release(b'PRETTY_NAME="a\x1b[31m\xff"\n') == "a\\x1b[31m\ufffd"
    assert parse_cpu_model(b"model name\t: a\tb\n") == "a\\x09b"
    assert parse_os_release(b"") is parse_cpu_model(b"") is None


def test_this_host_is_what_other_programs_say_it_is():
    told = collect(Context())
    assert told.kernel == os.uname().release
    assert told.arch == os.uname().machine
    assert told.memory_bytes == psutil.virtual_memory().total
    assert time.time() - told.uptime_seconds == pytest.approx(psutil.boot_time(), abs=5)
    shown = json.loads(subprocess.check_output(["lscpu", "--json"], text=True))["lscpu"]
    fields = {f["field"]: f.get("data") for f in flatten(shown)}
    assert told.cpus == int(fields["CPU(s):"])
    assert told.cores == int(fields["Core(s) per socket:"]) * int(fields["Socket(s):"])
    assert told.cpu_model == fields["Model name:"]


def flatten(fields):
    for field in fields:
        yield field
        yield from flatten(field.get("children", []))
