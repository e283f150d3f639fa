"""Offsets of kernel structures."""

from __future__ import annotations

import struct

import pytest

from collectors.bpf.btf import VMLINUX, Btf


def btf(*types, names):
    """Write BTF: types are (name, kind, flag, size or type, members)."""
    table = b"\0"
    places = {}
    for name in names:
        places[name] = len(table)
        table += name.encode() + b"\0"
    places[""] = 0
    body = b""
    for name, kind, flag, size, members in types:
        body += struct.pack("<III", places[name], flag << 31 | kind << 24 | len(members), size)
        if kind == 1:
            body += struct.pack("<I", 32)
        for member, number, offset in members:
            body += struct.pack("<III", places[member], number, offset)
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(table))
    return Btf(header + body + table)


INT = ("int", 1, 0, 4, ())


def test_members_are_found_by_path_through_embedded_and_unnamed_structures():
    sut = btf(
        INT,
        ("inner", 4, 0, 8, (("a", 1, 0), ("b", 1, 32))),
        ("", 5, 0, 8, (("c", 1, 0), ("d", 2, 0))),
        ("typed", 8, 0, 2, ()),
        ("outer", 4, 0, 32, (("first", 1, 0), ("", 3, 64), ("last", 4, 128))),
        names=("int", "inner", "a", "b", "c", "d", "typed", "outer", "first", "last"),
    )
    offsets = {p: sut.offset(p) for p in ("outer.first", "outer.c", "outer.d.b", "outer.last.b")}
    assert offsets == {"outer.first": 0, "outer.c": 8, "outer.d.b": 12, "outer.last.b": 20}
    assert sut.offset("outer.none") is None
    assert sut.offset("none.a") is None
    assert sut.offset("outer.first.a") is None


def test_bit_fields_do_not_spoil_the_offsets_beside_them():
    sut = btf(
        INT,
        ("flags", 4, 1, 8, (("bits", 1, 3 << 24 | 0), ("after", 1, 32))),
        names=("int", "flags", "bits", "after"),
    )
    assert sut.offset("flags.after") == 4


def test_bytes_that_only_look_like_a_structure_are_none():
    names = ("int", "bits", "m", "rq", "nr", "clock", "other")
    number = len("\0int\0bits\0m\0")  # where the name "rq" stands
    sut = btf(
        INT,
        # Its member is of the type of that number, and a bit field 4 wide: as if "rq" began there.
        ("bits", 4, 1, 8, (("m", number, 4 << 24), ("nr", 1, 32))),
        ("other", 4, 0, 16, (("clock", 1, 96),)),
        ("rq", 4, 0, 4, (("clock", 1, 0),)),
        ("rq", 4, 0, 16, (("clock", 1, 64), ("nr", 1, 96))),
        names=names,
    )
    assert (sut.offset("rq.clock"), sut.offset("rq.nr")) == (0, 12)


def test_members_are_found_far_behind_their_structure():
    far = 10_000
    sut = btf(
        INT,
        ("outer", 4, 0, 16, (("first", 1, 0), ("last", far + 3, 64))),
        *(("", 2, 0, 1, ()) for _ in range(far)),
        ("inner", 4, 0, 8, (("a", 1, 0), ("b", 1, 32))),
        names=("int", "outer", "first", "last", "inner", "a", "b"),
    )
    assert (sut.offset("outer.last.b"), sut.offset("inner.b")) == (12, 4)


@pytest.mark.parametrize("raw", [b"", b"\x9f\xeb", b"ELF" * 20])
def test_what_is_no_btf_is_refused(raw):
    with pytest.raises(ValueError, match="no BTF"):
        Btf(raw)


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel carries no type information")
def test_this_kernels_structures_are_read():
    sut = Btf(VMLINUX.read_bytes())
    assert sut.offset("list_head.next") == 0
    assert sut.offset("list_head.prev") == struct.calcsize("P")
    assert sut.offset("sock.__sk_common.skc_daddr") == 0
    assert sut.offset("task_struct.se.cfs_rq") > 0
