"""What boots the other kernels, as far as it can be checked without booting them."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from collectors.bpf.probe import discover
from tests.kernels import expected, machine
from tests.kernels.__main__ import Outcome, _job, _tests
from tests.kernels.debian import Kernel, newest

HERE = Path(__file__).parent
BPF = HERE.parent / "bpf"
OFFERED = [
    "linux-image-6.1.0-9-amd64",
    "linux-image-6.1.0-59-amd64-dbg",
    "linux-image-6.1.0-57-cloud-amd64-unsigned",
    "linux-image-6.1.0-58-rt-amd64-unsigned",
    "linux-image-6.1.0-56-amd64-unsigned",
    "linux-image-6.12-amd64",
    "linux-image-6.12.9+deb12-amd64",
    "linux-image-6.12.117+deb12-amd64-unsigned",
    "linux-image-6.12.118+deb12-rt-amd64-unsigned",
    "linux-image-6.12.118+deb12-arm64-unsigned",
]
KERNEL = Kernel("6.1", Path("/nowhere"), "6.1.0-56-amd64")


@pytest.mark.parametrize(
    ("series", "name"),
    [
        ("6.1", "linux-image-6.1.0-56-amd64-unsigned"),
        ("6.12", "linux-image-6.12.117+deb12-amd64-unsigned"),
        ("6.13", None),
    ],
)
def test_the_newest_plain_kernel_of_a_series_is_chosen(series, name):
    assert newest(series, OFFERED) == newest(series, OFFERED[::-1]) == name


@pytest.mark.parametrize("script", ["initramfs.sh", "init.sh"])
def test_what_starts_in_a_guest_is_shell(script):
    subprocess.run(["sh", "-n", HERE / script], check=True)


def test_what_a_guest_is_to_do_is_shell_for_any_argument():
    job = _job("6.1", ["tests/bpf/test_x.py::test[a b]", "-k", "it's"])
    subprocess.run(["sh", "-n"], input=job.encode(), check=True)


@pytest.mark.parametrize("series", expected.VERDICTS)
def test_each_probe_has_a_test_that_runs_in_the_guests_where_it_works(series):
    chosen = list(expected.chosen(series))
    assert {name.partition("::")[0] for name in chosen} == {
        f"tests/bpf/test_{probe}.py" for probe in discover() if expected.works(series, probe)
    }
    for name in chosen:
        file, test = name.split("::")
        assert test in expected.tests_in(BPF / Path(file).name)


def test_nothing_is_expected_of_a_probe_that_there_is_not():
    assert {p for p in discover() if not expected.works("6.12", p)} == set()
    named = {probe for verdicts in expected.VERDICTS.values() for probe in verdicts}
    assert named | set(expected.TESTS) <= set(discover())


def outcome(ended, **tests):
    return Outcome(KERNEL, {}, Counter(tests), 1.0, ended)


def test_only_a_guest_that_ended_with_tests_passed_and_none_failed_is_good():
    assert outcome(True, passed=3, skipped=1).good
    assert not outcome(False, passed=3).good
    assert not outcome(True, passed=3, failed=1).good
    assert not outcome(True, passed=3, errors=1).good
    assert not outcome(True, skipped=3).good


def test_tests_are_counted_by_what_became_of_them(tmp_path):
    file = tmp_path / "junit.xml"
    assert _tests(file) == Counter()
    file.write_text('<testsuites><testsuite errors="1" failures="2" skipped="3" tests="13"/>')
    assert _tests(file) == Counter()
    file.write_text(file.read_text() + "</testsuites>")
    assert _tests(file) == Counter(errors=1, failed=2, skipped=3, passed=7)


def test_a_guest_that_hangs_is_switched_off(capsys):
    started = time.monotonic()
    machine.run(["sh", "-c", "echo here; exec sleep 60"], 0.5)
    assert time.monotonic() - started < 30
    assert capsys.readouterr().out == "here\n"


def test_a_guest_does_not_outlive_whoever_started_it():
    command = machine.command(KERNEL, Path("/nowhere"), Path("/nowhere"), Path("/nowhere"))
    assert " ".join(command).startswith("setpriv --pdeathsig KILL qemu-system-x86_64 ")


def test_the_command_is_told_of():
    told = subprocess.check_output(["./dev", "help"], cwd=HERE.parents[1], text=True)
    assert "\n  test-kernels " in told
