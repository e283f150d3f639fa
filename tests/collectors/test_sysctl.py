"""Kernel settings."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from collectors.base import Context
from collectors.model import Unavailable
from collectors.sysctl import WANTED, collect, parse, path_of


def test_a_value_is_read_with_single_blanks(host):
    ctx = host({"proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n"})
    assert collect(ctx).values["net.ipv4.tcp_rmem"] == "4096 131072 6291456"


def test_a_setting_that_this_kernel_lacks_is_unknown(host):
    values = collect(host({"proc/sys/vm/swappiness": "60\n"})).values
    assert values["vm.swappiness"] == "60"
    assert values["kernel.numa_balancing"] is None


def test_control_characters_do_not_pass():
    assert parse(b"cubic\x1b[2J\n") == "cubic\\x1b[2J"


def test_no_tree_is_unavailable(host):
    with pytest.raises(Unavailable, match="sys"):
        collect(host({}))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("vm.swappiness", "vm/swappiness"),
        ("net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ("net.ipv4.neigh.default.gc_thresh3", "net/ipv4/neigh/default/gc_thresh3"),
    ],
)
def test_a_slash_in_a_name_is_a_dot_in_the_file(name, path):
    assert path_of(name) == path


def test_no_setting_is_wanted_twice():
    assert len(WANTED) == len(set(WANTED))


@pytest.mark.skipif(shutil.which("sysctl") is None, reason="sysctl (procps) is not installed")
def test_the_real_settings_are_those_of_the_sysctl_command():
    values = {
        n: v for n, v in collect(Context()).values.items() if v is not None and n != "fs.aio-nr"
    }
    out = subprocess.run(["sysctl", "-n", *values], capture_output=True, text=True, check=True)
    assert [" ".join(line.split()) for line in out.stdout.splitlines()] == list(values.values())
    assert len(values) > 40
