"""Tracepoints: which there are, and their events as C structures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_FIELD = re.compile(r"field:(.+?)\s*;\s*offset:(\d+);\s*size:(\d+);\s*signed:(\d);")
_WIDTHS = (1, 2, 4, 8)
_ENUM = re.compile(r"\{\s*(\d+)\s*,\s*\"([A-Za-z0-9_]+)\"\s*\}")


@dataclass(frozen=True, slots=True)
class Field:
    """
    One field of an event.

    Attributes:
        name: Its name; `NAME_loc` for a variable-length one.
        offset: From the event's beginning [bytes].
        size: [bytes].
        type: C type, or None for an array of bytes.

    """

    name: str
    offset: int
    size: int
    type: str | None


class Tracefs:
    """
    Read tracefs.

    Args:
        root: Where it is mounted.

    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def text(self, event: str) -> str | None:
        """
        Read an event's format.

        Args:
            event: "CATEGORY:NAME".

        Returns:
            The file's content; None when this kernel has no such event.

        Source:
            tracefs events/CATEGORY/NAME/format, Documentation/trace/events.rst.

        """
        category, _, name = event.partition(":")
        try:
            return (self.root / "events" / category / name / "format").read_text()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def fields(self, event: str) -> tuple[Field, ...] | None:
        """
        Tell an event's fields.

        Args:
            event: "CATEGORY:NAME".

        Returns:
            The fields in the order of the event; None when there is no such event.

        """
        text = self.text(event)
        return None if text is None else parse_format(text)

    def names(self, event: str, field: str) -> dict[int, str]:
        """
        Read the names that an event's print format gives to the values of an enumeration.

        Args:
            event: "CATEGORY:NAME".
            field: Of the event.

        Returns:
            dict value -> name; empty when the format gives none.

        """
        return parse_names(self.text(event) or "", field)


def parse_format(text: str) -> tuple[Field, ...]:
    """
    Parse the fields of a tracepoint's format.

    Args:
        text: Content of the file.

    Returns:
        The fields.

    """
    return tuple(_field(*found.groups()) for found in map(_FIELD.search, text.split("\n")) if found)


def _field(declaration: str, offset: str, size: str, signed: str) -> Field:
    """Turn a declaration such as "char comm[16]" into a field of fixed width."""
    place, width = int(offset), int(size)
    last = declaration.rsplit(maxsplit=1)[-1]
    name = last.partition("[")[0].lstrip("*")
    if declaration.startswith(("__data_loc", "__rel_loc")):
        return Field(f"{name}_loc", place, width, "u32")
    if "[" in declaration or width not in _WIDTHS:
        return Field(name, place, width, None)
    return Field(name, place, width, f"{'s' if signed == '1' else 'u'}{8 * width}")


def parse_names(text: str, field: str) -> dict[int, str]:
    """
    Parse the names of an enumeration out of a print format.

    Args:
        text: Content of the format file.
        field: The field whose values have names.

    Returns:
        dict value -> name.

    """
    _, found, rest = text.partition(f"__print_symbolic(REC->{field},")
    return {int(value): name for value, name in _ENUM.findall(rest)} if found else {}


def struct(event: str, fields: tuple[Field, ...]) -> str:
    """
    Write an event as a C structure, with a macro `HAVE__EVENT__FIELD` for each field.

    The kernel's own type names are not used: they need its headers, and some of
    them are incomplete even there.

    Args:
        event: "CATEGORY:NAME".
        fields: Its fields.

    Returns:
        C text.

    """
    category, _, name = event.partition(":")
    lines = [*_members(fields)]
    macros = [f"#define HAVE__{name}__{f.name} 1" for f in fields]
    return "\n".join(
        [
            f"struct tp__{category}__{name} {{",
            *lines,
            # Aligned, so that clang may load a member in one instruction.
            "} __attribute__((packed, aligned(8)));",
            *macros,
            "",
        ]
    )


def _members(fields: tuple[Field, ...]) -> Iterator[str]:
    """Write the members, with explicit gaps between them."""
    end = 0
    for field in fields:
        if field.offset > end:
            yield f"    u8 gap_{end}[{field.offset - end}];"
        if field.type is None:
            yield f"    u8 {field.name}[{field.size}];"
        else:
            yield f"    {field.type} {field.name};"
        end = field.offset + field.size
