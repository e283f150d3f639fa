"""Asking a network driver what only it knows, the way ethtool(8) does, without a process to run."""

from __future__ import annotations

import array
import fcntl
import re
import socket
import struct
from typing import NamedTuple, Self

from collectors.text import label

_ASK = 0x8946  # SIOCETHTOOL
_DRIVER, _COALESCE, _RINGS, _NAMES, _STATISTICS, _CHANNELS = 0x03, 0x0E, 0x10, 0x1B, 0x1D, 0x3C
_SWITCHES = {"tso": 0x1E, "gso": 0x23, "gro": 0x2B}
_FLAGS, _LRO = 0x25, 1 << 15
_SET_OF_STATISTICS = 1  # ETH_SS_STATS
_NAME_LENGTH = 32
_DRIVER_INFO = struct.Struct("=I32s32s32s32s32s12sIIIII")
_LONGEST_NAME = 15
# More counters than this no driver had when last looked; and the kernel writes
# all it has, so there is room for queues that come between two questions.
_MOST_COUNTERS = 16_384
_SPARE_COUNTERS = 1_024
_TELLING = re.compile(
    rb"drop|discard|err|miss|no_|nobuf|out_of_buffer|overrun|overflow|timeout|exceeded|fail"
    rb"|starv|congest|fifo|crc|full|reset",
    re.IGNORECASE,
)
_DIGITS = re.compile(rb"\d+")


class Driver(NamedTuple):
    """
    Who drives a card.

    Attributes:
        name: The driver.
        firmware: The card's own software; None when it tells none.
        bus: Where the card is, such as a PCI address.
        counters: How many counters the driver keeps.

    """

    name: str
    firmware: str | None
    bus: str | None
    counters: int


class Ethtool:
    """
    Questions to the drivers of the own network namespace.

    Source: ioctl SIOCETHTOOL, include/uapi/linux/ethtool.h; none of these
    questions needs a right.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def __enter__(self) -> Self:
        """Ask within."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket."""
        self._socket.close()

    def driver(self, name: bytes) -> Driver | None:
        """
        Ask who drives a card.

        Args:
            name: The interface.

        Returns:
            The driver; None when it does not tell.

        Source:
            ETHTOOL_GDRVINFO.

        """
        raw = self._ask(name, _DRIVER, _DRIVER_INFO.size)
        return None if raw is None else parse_driver(raw)

    def numbers(self, name: bytes, command: int, count: int) -> tuple[int, ...] | None:
        """
        Ask for an answer that is a row of numbers.

        Args:
            name: The interface.
            command: The question.
            count: Numbers in the answer, the question itself left out.

        Returns:
            The numbers; None when the driver does not know the question.

        """
        raw = self._ask(name, command, 4 + 4 * count)
        return None if raw is None else struct.unpack(f"={count}I", raw[4 : 4 + 4 * count])

    def rings(self, name: bytes) -> tuple[int, ...] | None:
        """
        Ask for the sizes of the rings.

        Args:
            name: The interface.

        Returns:
            Most for rx, mini, jumbo, tx; then the present ones in the same order.

        Source:
            ETHTOOL_GRINGPARAM.

        """
        return self.numbers(name, _RINGS, 8)

    def channels(self, name: bytes) -> tuple[int, ...] | None:
        """
        Ask for the numbers of queues.

        Args:
            name: The interface.

        Returns:
            Most for rx, tx, other, combined; then the present ones in the same order.

        Source:
            ETHTOOL_GCHANNELS.

        """
        return self.numbers(name, _CHANNELS, 8)

    def coalescing(self, name: bytes) -> tuple[int, bool] | None:
        """
        Ask how long a card waits for more packets before it interrupts.

        Args:
            name: The interface.

        Returns:
            Microseconds on receipt, and whether the driver adapts them.

        Source:
            ETHTOOL_GCOALESCE.

        """
        told = self.numbers(name, _COALESCE, 22)
        return None if told is None else (told[0], bool(told[9]))

    def offloads(self, name: bytes) -> dict[str, bool]:
        """
        Ask what the card or the kernel does in bulk.

        Args:
            name: The interface.

        Returns:
            "tso", "gso", "gro", "lro" to whether it is on; without those not told.

        Source:
            ETHTOOL_GTSO, ETHTOOL_GGSO, ETHTOOL_GGRO, ETHTOOL_GFLAGS.

        """
        told = {n: self.numbers(name, command, 1) for n, command in _SWITCHES.items()}
        table = {n: bool(answer[0]) for n, answer in told.items() if answer}
        flags = self.numbers(name, _FLAGS, 1)
        return table if flags is None else {**table, "lro": bool(flags[0] & _LRO)}

    def counter_names(self, name: bytes, count: int) -> dict[int, str]:
        """
        Ask for the names of the counters that tell of losses.

        Args:
            name: The interface.
            count: How many counters there are.

        Returns:
            dict place -> name, see `parse_names`.

        Source:
            ETHTOOL_GSTRINGS.

        """
        if not 0 < count <= _MOST_COUNTERS:
            return {}
        room = (count + _SPARE_COUNTERS) * _NAME_LENGTH
        raw = self._ask(name, _NAMES, 12 + room, struct.pack("=II", _SET_OF_STATISTICS, count))
        return {} if raw is None else parse_names(raw[12 : 12 + count * _NAME_LENGTH])

    def counters(self, name: bytes, count: int, names: dict[int, str]) -> dict[str, int]:
        """
        Ask for the counters.

        Args:
            name: The interface.
            count: How many there are.
            names: Those that are wanted, by place.

        Returns:
            dict name -> value, those of one name added up; empty when not told, and
            when their number is another than it was.

        Source:
            ETHTOOL_GSTATS.

        """
        if not names:
            return {}
        raw = self._ask(
            name, _STATISTICS, 8 + 8 * (count + _SPARE_COUNTERS), struct.pack("=I", count)
        )
        if raw is None or struct.unpack_from("=I", raw, 4)[0] != count:
            return {}
        values = struct.unpack_from(f"={count}Q", raw, 8)
        sums: dict[str, int] = {}
        for place, key in names.items():
            sums[key] = sums.get(key, 0) + values[place]
        return sums

    def _ask(self, name: bytes, command: int, size: int, more: bytes = b"") -> bytes | None:
        """Put one question; None when the driver or the kernel does not know it."""
        if len(name) > _LONGEST_NAME:
            return None
        head = struct.pack("=I", command) + more
        answer = array.array("B", head + bytes(size - len(head)))
        try:
            fcntl.ioctl(self._socket, _ASK, struct.pack("16sP16x", name, answer.buffer_info()[0]))
        except OSError:
            return None
        return answer.tobytes()


def parse_driver(raw: bytes) -> Driver | None:
    """
    Decode who drives a card.

    Args:
        raw: A struct ethtool_drvinfo.

    Returns:
        The driver; None when there is no name.

    Raises:
        ValueError: When it is cut short.

    Source:
        include/uapi/linux/ethtool.h.

    """
    if len(raw) < _DRIVER_INFO.size:
        raise ValueError("a driver's answer is cut short")
    fields = _DRIVER_INFO.unpack_from(raw)
    driver, _, firmware, bus = (label(f.partition(b"\0")[0]) for f in fields[1:5])
    known = firmware if firmware.strip("N/A ") else None
    return Driver(driver, known, bus or None, fields[8]) if driver else None


def parse_names(raw: bytes) -> dict[int, str]:
    """
    Choose the counters that tell of losses and errors.

    Args:
        raw: Names of 32 bytes each, filled up with zeros.

    Returns:
        dict place -> name with "*" for numbers, so that all queues share one name.

    Source:
        Every driver has its own names; by their words they are told apart.

    """
    count = len(raw) // _NAME_LENGTH
    words = (raw[n * _NAME_LENGTH :][:_NAME_LENGTH].partition(b"\0")[0] for n in range(count))
    return {
        n: label(_DIGITS.sub(b"*", word)) for n, word in enumerate(words) if _TELLING.search(word)
    }
