"""What this program may do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collectors import rights
from collectors.rights import missing, parse_capabilities, parse_uid_map, way_out


def given(monkeypatch, tmp_path, capabilities, uid_map, user):
    status, mapped = tmp_path / "status", tmp_path / "uid_map"
    status.write_text(f"CapPrm:\t{'f' * 16}\nCapEff:\t{capabilities:016x}\nCapBnd:\t0\n")
    mapped.write_text(uid_map)
    monkeypatch.setattr(rights, "_STATUS", status)
    monkeypatch.setattr(rights, "_UID_MAP", mapped)
    monkeypatch.setattr(os, "geteuid", lambda: user)


FIRST, LATER = "0 0 4294967295\n", "0 1000 1\n"
ALL = (1 << 41) - 1


@pytest.mark.parametrize(
    ("capabilities", "uid_map", "user", "said"),
    [
        (0, FIRST, 1000, "run as root, or grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
        (1 << 1, FIRST, 1000, "run as root, or grant CAP_SYS_PTRACE"),
        (1 << 19, FIRST, 0, "this root lacks CAP_DAC_READ_SEARCH"),
        (ALL, LATER, 0, "in this program's own user namespace"),
        (ALL, FIRST, 0, "a security module or the file itself forbids it"),
    ],
)
def test_the_way_out_is_what_is_missing_and_nothing_else(
    monkeypatch, tmp_path, capabilities, uid_map, user, said
):
    given(monkeypatch, tmp_path, capabilities, uid_map, user)
    text = way_out("CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH")
    assert text.endswith(said)
    assert ("run as root" in text) == (user != 0)


def test_unknown_rights_are_not_taken_for_held(monkeypatch, tmp_path):
    monkeypatch.setattr(rights, "_STATUS", tmp_path / "none")
    assert missing("CAP_SYS_PTRACE") == ("CAP_SYS_PTRACE",)
    assert parse_capabilities(b"Name:\tx\n") is None
    assert parse_capabilities(b"x\nCapEff:\t\n") is None
    assert (parse_uid_map(b""), parse_uid_map(FIRST.encode())) == (None, True)


def test_the_capabilities_are_those_of_the_kernels_numbers():
    raw = Path("/proc/self/status").read_bytes()
    if os.geteuid() != 0 or parse_capabilities(raw) == 0:
        pytest.skip("only a process with rights can lose one")
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        os._exit(0 if missing("CAP_SYS_PTRACE", "CAP_SYS_ADMIN") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert missing("CAP_SYS_PTRACE") == ()
