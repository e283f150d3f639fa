"""Which UDP sockets lost datagrams in the window, and who should have read them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from collectors.base import Context
from collectors.model import Cause
from collectors.net_tables import hexadecimal
from collectors.sock_diag import address_of
from collectors.socket_owners import Holder, find, holder
from collectors.text import natural

# Losses that are worth a list of all sockets; fewer, and an earlier list is good enough
# to count from.
_MANY, _FEW = 50, 10
_MOST_LOSERS = 20
# Every datagram that a socket drops counts there, whatever for.
_ERRORS = ("Udp.InErrors", "Udp6.InErrors")
_OVERFLOWS = ("Udp.RcvbufErrors", "Udp6.RcvbufErrors")
_COLUMNS = 13


@dataclass(frozen=True, slots=True)
class UdpLoser:
    """
    A UDP socket that lost datagrams.

    Attributes:
        address: Local address.
        port: Local port.
        lost: Datagrams it dropped in the window; those that were damaged or that a
            filter refused are among them.
        queue_bytes: What waits to be read, at the window's end [bytes].
        process: Who holds it, with the same number; None when unknown, as for a
            socket of the kernel's own.

    """

    address: str
    port: int
    lost: int
    queue_bytes: int
    process: Holder | None = None


class Row(NamedTuple):
    """
    A socket in the kernel's list.

    Attributes:
        address: Local address.
        port: Local port.
        queue: Bytes not yet read, with the kernel's own for them.
        drops: Datagrams dropped since it was made.

    """

    address: str
    port: int
    queue: int
    drops: int


def parse_udp(raw: bytes) -> dict[int, Row]:
    """
    Parse the list of UDP sockets, as far as they lost anything.

    Args:
        raw: Content of /proc/net/udp or udp6; a last line that is cut is left out.

    Returns:
        dict inode -> socket.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        udp4_format_sock() in net/ipv4/udp.c: local address and port in hexadecimal
        digits, queues, inode and drops.

    """
    table: dict[int, Row] = {}
    for line in raw[: raw.rfind(b"\n") + 1].split(b"\n")[1:]:
        fields = line.split()
        if not fields or fields[-1] == b"0":
            continue
        if len(fields) < _COLUMNS:
            raise ValueError(f"not a socket: {line[:40]!r}")
        address, _, port = fields[1].partition(b":")
        queue = hexadecimal(fields[4].partition(b":")[2])
        row = Row(_address(address), hexadecimal(port), queue, natural(fields[12]))
        table[natural(fields[9])] = row
    return table


def _address(digits: bytes) -> str:
    """Read an address, which is printed as one or four numbers of this machine's byte order."""
    words = [hexadecimal(digits[n : n + 8]) for n in range(0, len(digits), 8)]
    if len(words) not in (1, 4) or len(digits) != 8 * len(words):
        raise ValueError(f"not an address: {digits[:40]!r}")
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return address_of(family, struct.pack(f"={len(words)}I", *words))


class _Known(NamedTuple):
    """A list of sockets, and at how many errors it was read; kept from sweep to sweep."""

    errors: int
    rows: Mapping[int, Row]


class UdpLosses:
    """
    Watches the sockets through a window, and reads their list only when they lose.

    Args:
        ctx: Paths, and where the newest list is kept.

    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._before: _Known | None = None
        self._looks: list[tuple[Path, Mapping[str, int]]] = []

    def look(self, net: Path, counters: Mapping[str, int]) -> None:
        """
        Take the protocols' counters, at each end of the window.

        Args:
            net: The folder of the host's network tables.
            counters: As read just now.

        """
        self._looks.append((net, counters))
        if len(self._looks) == 1:
            self._before = self._start(net, _sum(counters, _ERRORS))

    def losers(self) -> tuple[UdpLoser, ...]:
        """
        Tell which sockets lost datagrams between the first look and the last.

        Returns:
            At most 20, most first; none when fewer than 50 were lost in all, or when
            the list cannot be read.

        Source:
            /proc/net/{udp,udp6} of the host's network namespace; /proc/PID/fd.

        """
        if len(self._looks) < 2 or self._before is None:  # noqa: PLR2004
            return ()
        (_, first), (net, last) = self._looks[0], self._looks[-1]
        if _sum(last, _OVERFLOWS) - _sum(first, _OVERFLOWS) < _MANY:
            return ()
        before, now = self._before, self._read(net, _sum(last, _ERRORS))
        if now is None:
            return ()
        steps = {i: row.drops - _drops(before.rows.get(i)) for i, row in now.rows.items()}
        ranked = sorted((i for i in steps if steps[i] > 0), key=lambda i: -steps[i])
        ranked = ranked[:_MOST_LOSERS]
        owners = find(self._ctx, ranked)
        return tuple(self._loser(now.rows[i], steps[i], owners.get(i)) for i in ranked)

    def _start(self, net: Path, errors: int) -> _Known | None:
        """Give what the sockets had dropped before: known, nothing, or to be read now."""
        known: _Known | None = self._ctx.memory.get("udp")
        if known is None:
            # Of a host that has lost nothing yet, the list is empty without being read.
            known = self._ctx.memory["udp"] = _Known(0, {})
        if 0 <= errors - known.errors < _FEW:
            return known
        return self._read(net, errors)

    def _read(self, net: Path, errors: int) -> _Known | None:
        """Read the list; None when that fails."""
        rows: dict[int, Row] = {}
        try:
            for name in ("udp", "udp6"):
                rows |= parse_udp(self._ctx.try_read(net / name) or b"")
        except ValueError as error:
            self._ctx.note(f"{net}/udp", Cause.GARBLED, f"{net}/udp: {error}")
            return None
        known = self._ctx.memory["udp"] = _Known(errors, rows)
        return known

    def _loser(self, row: Row, lost: int, pid: int | None) -> UdpLoser:
        """Describe a socket."""
        process = None if pid is None else holder(self._ctx, pid, lost)
        return UdpLoser(row.address, row.port, lost, row.queue, process)


def _sum(counters: Mapping[str, int], names: tuple[str, ...]) -> int:
    """Add up both address families; a kernel may lack the second."""
    return sum(counters.get(name, 0) for name in names)


def _drops(row: Row | None) -> int:
    """Give what a socket had dropped; one that is new began at 0."""
    return row.drops if row else 0
