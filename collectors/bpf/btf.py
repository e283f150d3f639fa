"""Offsets of kernel structures, from the type information that the kernel carries."""

from __future__ import annotations

import bisect
import struct
import sys
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
# Bytes of a type without and for each of its members, by kind.
_OWN = [12 + {1: 4, 3: 12, 14: 4, 17: 4}.get(kind, 0) for kind in range(32)]
_PER_MEMBER = [{4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}.get(kind, 0) for kind in range(32)]
_STEP = 2048  # types


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
        self._words = memoryview(self._types).cast("I")
        self._places: list[int] = [0]  # by number; 0 is void
        self._end = 0  # of the types whose places are known

    def _walk(self, place: int, number: int = 0) -> None:
        """Note where types begin, until a place and a number are passed."""
        places, size = self._places, len(self._types)
        while self._end < size and (self._end <= place or len(places) <= number):
            self._step()

    def _step(self) -> None:
        """Note where the next types begin."""
        # A type's place follows from all before it, and there are 130,000. What probes ask for
        # is in the first third, so that no more is walked: 12 instead of 50 ms. Kept flat.
        words, note, at, size = self._words, self._places.append, self._end, len(self._types)
        for _ in range(_STEP):
            if at >= size:
                break
            note(at)
            info = words[(at >> 2) + 1]
            kind = info >> 24 & 0x1F
            at += _OWN[kind] + _PER_MEMBER[kind] * (info & 0xFFFF)
        self._end = at

    def _place(self, number: int) -> int:
        """Tell where a type begins."""
        self._walk(0, number)
        return self._places[number]

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
            yield from self._headed((place + 1).to_bytes(4, sys.byteorder))

    def _headed(self, name: bytes) -> Iterator[int]:
        """Yield the structures that begin with the four bytes of a name."""
        place = -1
        while (place := self._types.find(name, place + 1, -8)) >= 0:
            if place % 4 == 0 and self._words[place // 4 + 1] >> 24 & 0x1F in (_STRUCT, _UNION):
                # It may still be four bytes that happen to be the same.
                self._walk(place)
                number = bisect.bisect_left(self._places, place, 1)
                if self._places[number] == place:
                    yield number

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
            _, info, target = _TYPE.unpack_from(self._types, self._place(number))
            if info >> 24 & 0x1F not in _TRANSPARENT:
                return number
            number = target

    def _member(self, number: int, wanted: bytes) -> tuple[int, int] | None:
        """Find a member: offset [bytes] and type; unnamed members are looked into."""
        place = self._place(number)
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
