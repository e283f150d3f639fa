"""Bytes from the kernel into numbers and harmless text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.text import decimal, integer, key_values, label, natural, natural_or_none

NUMBERS = [b"nan", b"inf", b"-1", b"1_000", b"", b" 1", b"+1", b"\xd9\xa1", b"1" * 21, b"0x1"]


@pytest.mark.parametrize("raw", NUMBERS)
def test_only_digits_are_a_number(raw):
    with pytest.raises(ValueError, match="number"):
        natural(raw)


@pytest.mark.parametrize("raw", [b"nan", b"inf", b"-1.0", b"1e5", b".5", b"1.", b"1_0.5"])
def test_only_digits_and_one_dot_are_a_decimal(raw):
    if raw == b"1.":
        assert decimal(raw) == 1.0
        return
    with pytest.raises(ValueError, match="number"):
        decimal(raw)


def test_numbers_are_read():
    assert (natural(b"18446744073709551615"), integer(b"-7"), decimal(b"0.25")) == (
        2**64 - 1,
        -7,
        0.25,
    )
    assert [natural_or_none(b) for b in (b" 5\n", b"max\n", None, b"-1")] == [5, None, None, None]


def test_lines_that_are_no_pairs_are_left_out():
    assert key_values(b"a 1\nb -1\nc nan\n\nd 2 3\ne 4\n") == {"a": 1, "e": 4}


@given(st.binary(max_size=200))
def test_a_label_is_valid_short_and_without_controls(raw):
    text = label(raw)
    text.encode()
    assert len(text) <= 64
    assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in text)


@given(st.text(max_size=100))
def test_a_label_of_text_may_hold_surrogates(raw):
    label(raw.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")).encode()


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"nginx", "nginx"),
        ("größe".encode(), "größe"),
        (b"a\nb\x1b[0m", "a\\x0ab\\x1b[0m"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"x" * 70, "x" * 63 + "…"),
        ("\u202eexe".encode(), "\\x202eexe"),
    ],
)
def test_a_label_shows_what_was_there(raw, shown):
    assert label(raw) == shown
