"""Numbers as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.text import duration, number, percent, size


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.968, "1.97"), (99.94, "99.9"), (99.96, "100"),
     (412.4, "412"), (-12345.6, "-12,346")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "unknown"), (0, "0 %"), (0.97, "97 %"), (0.1, "10 %"), (0.0949, "9.5 %"),
     (0.003, "0.3 %"), (0.05, "5 %"), (1.5, "150 %"), (1e-5, "0.001 %"),
     (9e-6, "below 0.001 %")],
)  # fmt: skip
def test_percent(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "unknown"), (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"),
     (1010 * 1024, "1,010 KiB"), (1024**2 - 1, "1 MiB"), (3.25 * 1024**3, "3.25 GiB"),
     (1024**4, "1 TiB"), (5 * 1024**5, "5 PiB"), (5000 * 1024**5, "5,000 PiB"), (-2048, "-2 KiB")],
)  # fmt: skip
def test_size(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (0, "0 us"), (5e-5, "50 us"), (9.999e-4, "1 ms"), (0.012, "12 ms"),
     (0.9999, "1 s"), (1, "1 s"), (3.44, "3.44 s"), (119.4, "119 s"), (120, "2 min"),
     (7000, "117 min"), (7200, "2 h 0 min"), (7530, "2 h 6 min")],
)  # fmt: skip
def test_duration(seconds, text):
    assert duration(seconds) == text


@given(st.floats(0, 1e18))
def test_nothing_is_written_with_an_exponent_or_as_a_thousand_of_the_smaller_unit(value):
    for text in (size(value), duration(value), percent(min(value, 1e6))):
        assert not re.search(r"\de[+-]?\d", text) or text.endswith(" us")
        assert not re.search(r"\b(1,?0(2[4-9]|[3-9]\d)) [KMGT]iB", text)
        assert not text.startswith(("1,000 ms", "1e+03"))
