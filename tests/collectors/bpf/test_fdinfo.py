"""What a descriptor tells, and when the kernel does not count."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from collectors.bpf import fdinfo


@pytest.fixture
def plain():
    """A descriptor of a file: it has neither of the fields of eBPF."""
    fd = os.open("/proc/self/stat", os.O_RDONLY)
    yield fd
    os.close(fd)


def kernel(monkeypatch, release, text="recursion_misses:\t53\n"):
    monkeypatch.setattr(fdinfo.os, "uname", lambda: SimpleNamespace(release=release))
    monkeypatch.setattr(fdinfo.Path, "read_text", lambda _: text)


@pytest.mark.parametrize("release", ["6.7.0", "6.12.117+deb12-amd64", "6.18.44-fc", "7.0-rc1"])
def test_newer_kernels_count_what_they_leave_out(monkeypatch, release):
    kernel(monkeypatch, release)
    assert fdinfo.skipped(3, raw=False) == fdinfo.skipped(3, raw=True) == 53


@pytest.mark.parametrize("release", ["5.10.0", "6.1.0-57-amd64", "6.6.9", "unheard-of"])
def test_older_ones_count_for_raw_tracepoints_only(monkeypatch, release):
    kernel(monkeypatch, release, "recursion_misses:\t0\n")
    assert (fdinfo.skipped(3, raw=False), fdinfo.skipped(3, raw=True)) == (None, 0)


def test_a_field_that_is_not_there_is_unknown(plain):
    assert fdinfo.skipped(plain, raw=True) is None
