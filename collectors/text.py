"""Bytes from the kernel into numbers and harmless text."""

from __future__ import annotations

import re
from collections.abc import Iterator

LABEL_LENGTH = 64
# C0 and C1 controls, line and paragraph separators, and the marks that reorder
# text: any of them could forge a line, a label or what a terminal shows.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")

# Surrogates that no lossy decode of bytes makes: half a character, as JSON may carry it.
_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def label(raw: bytes | str, limit: int = LABEL_LENGTH) -> str:
    r"""
    Make a name from the kernel or another process safe to show anywhere.

    Args:
        raw: The name as read; a str may carry surrogates from a lossy decode.
        limit: Longest result [characters]; a longer name ends in an ellipsis.

    Returns:
        Valid Unicode without control characters, which become `\xNN`.

    """
    if isinstance(raw, str):
        raw = _LONE.sub("\ufffd", raw).encode("utf-8", "surrogateescape")
    text = _UNSAFE.sub(lambda m: f"\\x{ord(m[0]):02x}", raw.decode("utf-8", "replace"))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def natural(raw: bytes) -> int:
    """
    Read a non-negative decimal integer, and nothing that merely looks like one.

    Args:
        raw: The digits, without sign, blanks or separators.

    Returns:
        The number.

    Raises:
        ValueError: When there is anything but ASCII digits, or more than 20 of them.

    """
    # isdigit() on bytes accepts ASCII digits alone; 20 digits hold any u64.
    if not raw.isdigit() or len(raw) > 20:  # noqa: PLR2004
        raise ValueError(f"not a number: {raw[:40]!r}")
    return int(raw)


def integer(raw: bytes) -> int:
    """
    Read a decimal integer that may be negative.

    Args:
        raw: Digits, optionally after one minus sign.

    Returns:
        The number.

    Raises:
        ValueError: When there is anything else.

    """
    return -natural(raw[1:]) if raw[:1] == b"-" else natural(raw)


def decimal(raw: bytes) -> float:
    """
    Read a non-negative decimal number with an optional fraction.

    Args:
        raw: Digits, optionally with one dot among them.

    Returns:
        The number; never NaN or infinite.

    Raises:
        ValueError: When there is anything else.

    """
    whole, _, fraction = raw.partition(b".")
    natural(whole)
    if fraction:
        natural(fraction)
    return float(raw)


def natural_or_none(raw: bytes | None) -> int | None:
    """
    Read a non-negative integer where "unknown" is a possible answer.

    Args:
        raw: The digits with optional white space around; None stays None.

    Returns:
        The number; None when there is none or when it is not one ("max", "-1", "").

    """
    if raw is None:
        return None
    raw = raw.strip()
    return int(raw) if raw.isdigit() and len(raw) <= 20 else None  # noqa: PLR2004


def key_values(raw: bytes, separator: bytes = b" ") -> dict[str, int]:
    """
    Parse lines of "key number", as in vmstat, memory.stat or cpu.stat.

    Args:
        raw: The file's content.
        separator: What stands between key and number.

    Returns:
        dict key -> number; a line that is not of this form is left out.

    """
    table: dict[str, int] = {}
    for line in raw.splitlines():
        key, _, value = line.partition(separator)
        value = value.strip()
        if value.isdigit() and len(value) <= 20:  # noqa: PLR2004
            table[key.strip().decode("ascii", "replace")] = int(value)
    return table


def lines_of(raw: bytes) -> Iterator[list[bytes]]:
    """
    Split a table into its non-empty lines and each line into its fields.

    Args:
        raw: The file's content.

    Yields:
        The fields of one line, separated by white space.

    """
    for line in raw.splitlines():
        fields = line.split()
        if fields:
            yield fields
