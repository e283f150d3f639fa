"""Lines for a terminal: columns that line up, cells that wrap, nothing that moves the cursor."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Sequence

from collectors.text import label

WIDTH = 100  # [columns]
_LONGEST = 4000  # [characters] of one text
_SURROGATE = re.compile("[\ud800-\udfff]")  # legal in JSON, and in no encoding
_GAP = "  "
_SHORTEST = 8  # a first column that had to give way [columns]
_NARROWEST = 16  # a wrapped cell, however little room is left [columns]


def safe(text: object) -> str:
    """
    Make a text harmless and a single line.

    Args:
        text: Anything; what a report holds comes from other programs.

    Returns:
        Valid Unicode without control characters.

    """
    return label(_SURROGATE.sub("\ufffd", f"{text}"), _LONGEST)


def paragraph(text: object, indent: str = "", width: int = WIDTH, hang: str | None = None) -> str:
    """
    Wrap a text.

    Args:
        text: The text.
        indent: Before its first line.
        width: Longest line [columns].
        hang: Before its other lines; None for the same as before the first.

    Returns:
        One or more lines.

    """
    return textwrap.fill(
        safe(text),
        max(width, len(indent) + _NARROWEST),
        initial_indent=indent,
        subsequent_indent=indent if hang is None else hang,
        break_on_hyphens=False,
    )


def shorten(name: str, width: int) -> str:
    """
    Cut a name in its middle: what tells names apart is often at their end.

    Args:
        name: The name.
        width: Longest result [columns].

    Returns:
        Such as "6acebd79d060a7…3f91:cpu".

    """
    if len(name) <= width:
        return name
    tail = (width - 1) // 3
    return f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"


def _narrow(widths: list[int], lack: int, flush: Collection[int]) -> None:
    """Make columns give way until the last one has room: names are cut, not numbers."""
    for place in range(len(widths) - 1):
        if lack > 0 and place not in flush:
            narrower = min(widths[place], max(_SHORTEST, widths[place] - lack))
            lack -= widths[place] - narrower
            widths[place] = narrower


def grid(
    rows: Iterable[Sequence[str]],
    indent: str = "",
    width: int = WIDTH,
    right: Iterable[int] = (),
) -> str:
    """
    Line up columns; the last one wraps at the right edge.

    Args:
        rows: The cells, as many in each row.
        indent: Before each line.
        width: Longest line [columns]; 0 wraps nothing.
        right: Columns whose cells are flush right.

    Returns:
        The lines, without blanks at their ends.

    """
    cells = [[safe(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    flush = frozenset(right)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = width - len(indent) - sum(size + len(_GAP) for size in widths[:-1])
    if width:
        _narrow(widths, min(_NARROWEST, widths[-1]) - room, flush)
        cells = [[*map(shorten, row[:-1], widths), row[-1]] for row in cells]
    room = max(room, _NARROWEST) if width else widths[-1] or 1
    lines = []
    for *first, last in cells:
        start = [
            cell.rjust(size) if place in flush else cell.ljust(size)
            for place, (cell, size) in enumerate(zip(first, widths, strict=False))
        ]
        for end in textwrap.wrap(last, room, break_on_hyphens=False) or [""]:
            lines.append((indent + _GAP.join([*start, end])).rstrip())
            start = [" " * len(cell) for cell in start]
    return "\n".join(lines)
