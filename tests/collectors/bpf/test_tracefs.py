"""Tracepoint formats as C structures."""

from __future__ import annotations

import ctypes

from collectors.bpf.tracefs import Field, Tracefs, parse_format, parse_names, struct

FORMAT = """name: kfree_skb
ID: 1534
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned short protocol;\toffset:24;\tsize:2;\tsigned:0;
\tfield:enum skb_drop_reason reason;\toffset:28;\tsize:4;\tsigned:0;
\tfield:char comm[16];\toffset:32;\tsize:16;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:48;\tsize:4;\tsigned:0;
\tfield:__u8 saddr[4];\toffset:52;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:56;\tsize:4;\tsigned:1;

print fmt: "%s", __print_symbolic(REC->reason, { 1, "NOT_SPECIFIED" }, { 2, "NO_SOCKET" }), 0
"""


def test_fields_have_fixed_widths_whatever_the_kernel_calls_their_types():
    assert parse_format(FORMAT)[2:] == (
        Field("skbaddr", 8, 8, "u64"),
        Field("protocol", 24, 2, "u16"),
        Field("reason", 28, 4, "u32"),
        Field("comm", 32, 16, None),
        Field("name_loc", 48, 4, "u32"),
        Field("saddr", 52, 4, None),
        Field("pid", 56, 4, "s32"),
    )


def test_a_structure_has_every_field_at_its_offset_and_a_macro_for_each():
    fields = parse_format(FORMAT)
    text = struct("skb:kfree_skb", fields)
    assert "struct tp__skb__kfree_skb {" in text
    assert "#define HAVE__kfree_skb__reason 1" in text
    sizes = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "s32": 4}
    place, seen = 0, {}
    for line in text.partition("{\n")[2].partition("}")[0].splitlines():
        kind, _, rest = line.strip().rstrip(";").partition(" ")
        name, _, count = rest.partition("[")
        seen[name] = place
        place += sizes[kind] * int(count.rstrip("]") or 1)
    assert {f.name: f.offset for f in fields} == {k: v for k, v in seen.items() if "gap" not in k}


def test_names_of_values_are_read_from_the_print_format():
    assert parse_names(FORMAT, "reason") == {1: "NOT_SPECIFIED", 2: "NO_SOCKET"}
    assert parse_names(FORMAT, "protocol") == {}


def test_a_kernel_without_an_event_says_so(tmp_path):
    place = tmp_path / "events/skb/kfree_skb"
    place.mkdir(parents=True)
    (place / "format").write_text(FORMAT)
    sut = Tracefs(tmp_path)
    assert len(sut.fields("skb:kfree_skb")) == 9
    assert sut.fields("skb:none") is None
    assert sut.names("skb:none", "reason") == {}


def test_the_widths_are_those_of_c():
    assert [ctypes.sizeof(t) for t in (ctypes.c_uint16, ctypes.c_uint64)] == [2, 8]
