"""Offsets of kernel structures, from the type information that the kernel carries."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")
_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_STRUCT, _UNION = 4, 5
# What stands between a member and its structure: typedef, volatile, const,
# restrict, type tag.
_TRANSPARENT = {8, 9, 10, 11, 18}
# Bytes after the 12 of every type: fixed by kind, and per member by kind.
_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}
_PER_MEMBER = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
_WORDS = [(12 + _FIXED.get(kind, 0)) // 4 for kind in range(32)]
_MEMBER_WORDS = [_PER_MEMBER.get(kind, 0) // 4 for kind in range(32)]


class Btf:
    """
    Read BTF.

    Args:
        raw: Content of /sys/kernel/btf/vmlinux.

    Raises:
        ValueError: When it is no BTF of this byte order.

    Source:
        Documentation/bpf/btf.rst.

    """

    def __init__(self, raw: bytes) -> None:
        try:
            magic, _, _, length, types, types_size, names, names_size = _HEADER.unpack_from(raw)
        except struct.error as error:
            raise ValueError(f"no BTF: {error}") from error
        if magic != _MAGIC:
            raise ValueError(f"no BTF of this byte order: magic {magic:#x}")
        self._types = raw[length + types : length + types + types_size]
        self._names = raw[length + names : length + names + names_size]
        self._places: list[int] = [0]
        self._structs: dict[int, list[int]] = {}
        self._index()

    def _index(self) -> None:
        """Note where each type begins, and the named structures."""
        # The one loop over all types (60,000 on a distribution's kernel): kept flat.
        words, place, size = memoryview(self._types).cast("I"), 0, len(self._types) // 4
        add, structs = self._places.append, self._structs
        number = 0
        while place < size:
            number += 1
            info = words[place + 1]
            kind = info >> 24 & 0x1F
            if kind in (_STRUCT, _UNION):
                structs.setdefault(words[place], []).append(number)
            add(place << 2)
            place += _WORDS[kind]
            if _MEMBER_WORDS[kind]:
                place += _MEMBER_WORDS[kind] * (info & 0xFFFF)

    def offset(self, path: str) -> int | None:
        """
        Find a member.

        Args:
            path: Such as "rq.nr_running"; members of embedded structures may follow.

        Returns:
            Its offset in the first structure [bytes]; None when this kernel has it not.

        """
        first, *members = path.split(".")
        for number in self._named(first):
            found = self._follow(number, members)
            if found is not None:
                return found
        return None

    def _named(self, name: str) -> Iterator[int]:
        """Yield the structures of a name."""
        wanted, place = b"\0" + name.encode() + b"\0", -1
        while (place := self._names.find(wanted, place + 1)) >= 0:
            yield from self._structs.get(place + 1, ())

    def _follow(self, number: int, members: list[str]) -> int | None:
        """Add up the offsets along a path."""
        total = 0
        for member in members:
            found = self._member(self._bare(number), member.encode())
            if found is None:
                return None
            total, number = total + found[0], found[1]
        return total

    def _bare(self, number: int) -> int:
        """Look through typedefs and qualifiers."""
        while True:
            _, info, target = _TYPE.unpack_from(self._types, self._places[number])
            if info >> 24 & 0x1F not in _TRANSPARENT:
                return number
            number = target

    def _member(self, number: int, wanted: bytes) -> tuple[int, int] | None:
        """Find a member: offset [bytes] and type; unnamed members are looked into."""
        place = self._places[number]
        _, info, _ = _TYPE.unpack_from(self._types, place)
        if info >> 24 & 0x1F not in (_STRUCT, _UNION):
            return None
        bits = 0xFFFFFF if info >> 31 else 0xFFFFFFFF  # the rest is a bit field's width
        for name, kind, offset in _TYPE.iter_unpack(
            self._types[place + 12 : place + 12 + 12 * (info & 0xFFFF)]
        ):
            start = (offset & bits) // 8
            if name:
                end = self._names.index(b"\0", name)
                if self._names[name:end] == wanted:
                    return start, kind
            elif (inner := self._member(self._bare(kind), wanted)) is not None:
                return start + inner[0], inner[1]
        return None
