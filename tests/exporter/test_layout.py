"""Lines for a terminal."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.layout import grid, paragraph, safe, shorten

TEXT = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=200)
BAD = set(map(chr, [*range(32), *range(127, 160), 0x2028, 0x2029, 0x202E]))


def test_columns_line_up_and_lines_end_in_no_blank():
    assert grid([("a", "1", "x"), ("bcd", "22", "")], "  ", right=(1,)) == (
        "  a     1  x\n"
        "  bcd  22"
    )  # fmt: skip


def test_the_last_column_wraps_below_itself():
    shown = grid([("key", "one two three four five six seven")], width=25)
    assert shown == "key  one two three four\n     five six seven"


def test_without_a_width_nothing_wraps():
    assert "\n" not in grid([("key", "word " * 100)], width=0)


@example([("", "000000" + "\x1f" * 5 + "\u2028", ""), ("00000000", "", "0000000\x1f\x1f")])
@example([("long" * 4, "\u2028" * 12, "word " * 9)])
@given(st.lists(st.tuples(TEXT, TEXT.map(lambda t: t[:12]), TEXT), max_size=5))
def test_no_cell_breaks_the_width_or_moves_the_cursor(rows):
    shown = grid(rows, "  ", 60)
    assert all(len(line) <= 60 for line in shown.split("\n"))
    assert not (BAD - {"\n"}) & set(shown)
    shown.encode()


@given(TEXT, st.integers(min_value=20, max_value=120))
def test_a_paragraph_keeps_to_its_width(text, width):
    lines = paragraph(text, "  ", width).split("\n")
    assert all(len(line) <= width for line in lines)
    assert not (BAD - {"\n"}) & set("".join(lines))


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\udcff", "\u202e", None, 3])
def test_anything_becomes_one_harmless_line(text):
    shown = safe(text)
    assert not BAD & set(shown)
    shown.encode()


def test_a_long_name_is_cut_in_its_middle_so_that_its_end_tells():
    names = [f"{'ab' * 32}:{kind}" for kind in ("cpu", "memory")]
    cut = [shorten(name, 26) for name in names]
    assert [len(name) for name in cut] == [26, 26]
    assert cut[0].endswith(":cpu")
    assert cut[1].endswith(":memory")
    assert shorten("short", 26) == "short"
