"""
Who opens the connections that are tracked, and where they go, from a part of the table.

The kernel lists the table in the order of a hash that no address decides, so its
first thousand entries are a fair draw of all; to read all would take a second.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from collectors import rights
from collectors.model import Cause, Unavailable
from collectors.sock_diag import address_of

_NETFILTER = 12
_LIST = 0x0101  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("=BBH")  # struct nfgenmsg
_ATTRIBUTE = struct.Struct("=HH")
_KIND = 0x3FFF  # without the marks of nesting and byte order
_ORIGINAL = 1  # CTA_TUPLE_ORIG
_ADDRESSES, _PROTOCOL = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 58: "icmpv6", 132: "sctp"}
_BUFFER = 1 << 16
_MOST_ENTRIES = 1_000
_WAIT = 0.5  # [s] for all of them
_MOST_PEERS = 3
_SIZES = (4, 16)  # of an address [bytes]


class Tracked(NamedTuple):
    """
    A tracked connection, as the side that opened it sees it.

    Attributes:
        source: Who opened it.
        target: Where it goes.
        protocol: Its number.
        port: Where it goes; 0 for a protocol without ports.

    """

    source: bytes
    target: bytes
    protocol: int
    port: int


@dataclass(frozen=True, slots=True)
class Peer:
    """
    One side of many tracked connections.

    Attributes:
        address: Its address.
        port: The port they go to; None for the side that opened them.
        protocol: Of a port, such as "tcp".
        share: Its part of the entries that were looked at [ratio].

    """

    address: str
    port: int | None
    protocol: str | None
    share: float


@dataclass(frozen=True, slots=True)
class Peers:
    """
    What a part of the table says of all.

    Attributes:
        looked_at: Entries that were looked at, at most 1,000.
        openers: Addresses that opened most of them, most first; at most 3.
        services: Addresses and ports that most go to, most first; at most 3.

    """

    looked_at: int
    openers: tuple[Peer, ...]
    services: tuple[Peer, ...]


def decode(raw: bytes) -> tuple[list[Tracked], bool]:
    """
    Decode a part of the table.

    Args:
        raw: One datagram.

    Returns:
        The connections, and whether this was the end.

    Raises:
        Unavailable: When the kernel answers with an error.
        ValueError: When a message is cut short.

    Source:
        nfnetlink(7); the attributes of include/uapi/linux/netfilter/nfnetlink_conntrack.h.

    """
    found: list[Tracked] = []
    place = 0
    while place < len(raw):
        if place + _HEADER.size > len(raw):
            raise ValueError("a message of the kernel is cut short")
        length, kind, *_ = _HEADER.unpack_from(raw, place)
        body, end = place + _HEADER.size, place + length
        if length < _HEADER.size or end > len(raw):
            raise ValueError("a message of the kernel is cut short")
        if kind in (_ERROR, _DONE):
            _check(raw[body:end])
            return found, True
        found.extend(_original(raw, body + _FAMILY.size, end))
        place += (length + 3) & ~3
    return found, False


def _check(body: bytes) -> None:
    """Raise what the kernel says when it ends a list in an error."""
    number = -int.from_bytes(body[:4], sys.byteorder, signed=True)
    if number <= 0:
        return
    if number == errno.EPERM:
        way = rights.way_out("CAP_NET_ADMIN")
        raise Unavailable(f"conntrack: operation not permitted ({way})", Cause.PERMISSION)
    known = number if number in errno.errorcode else errno.EIO
    raise Unavailable(f"conntrack: {os.strerror(known).lower()}", Cause.UNREADABLE)


def _attributes(raw: bytes, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give each attribute's kind and where its value begins and ends."""
    while place + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(raw, place)
        if length < _ATTRIBUTE.size or place + length > end:
            raise ValueError("an attribute of the kernel is cut short")
        yield kind & _KIND, place + _ATTRIBUTE.size, place + length
        place += (length + 3) & ~3


def _original(raw: bytes, place: int, end: int) -> Iterator[Tracked]:
    """Find the direction in which a connection was opened."""
    for kind, first, last in _attributes(raw, place, end):
        if kind == _ORIGINAL:
            parts = {
                (outer, inner): raw[begin:over]
                for outer, start, stop in _attributes(raw, first, last)
                if outer in (_ADDRESSES, _PROTOCOL)
                for inner, begin, over in _attributes(raw, start, stop)
            }
            yield _tracked(parts)
            return


def _tracked(parts: dict[tuple[int, int], bytes]) -> Tracked:
    """Put a connection together: of addresses the third and fourth are those of IPv6."""
    source, target = (
        parts.get((_ADDRESSES, four)) or parts.get((_ADDRESSES, six)) or b""
        for four, six in ((1, 3), (2, 4))
    )
    if len(source) not in _SIZES or len(target) not in _SIZES:
        raise ValueError("a connection has no address")
    protocol = int.from_bytes(parts.get((_PROTOCOL, 1), b""), "big")
    return Tracked(source, target, protocol, int.from_bytes(parts.get((_PROTOCOL, 3), b""), "big"))


def peers() -> Peers:
    """
    Look at a part of the table of this network namespace.

    Returns:
        Who opened most connections, and where most go.

    Raises:
        Unavailable: When netlink cannot be used or does not answer.
        ValueError: When an answer is cut short.

    Source:
        NETLINK_NETFILTER, which needs CAP_NET_ADMIN.

    """
    found: list[Tracked] = []
    try:
        for part in _parts():
            found.extend(part)
            if len(found) >= _MOST_ENTRIES:
                break
    except OSError as error:
        raise Unavailable(f"conntrack: {(error.strerror or str(error)).lower()}",
                          Cause.UNREADABLE) from error  # fmt: skip
    openers = Counter((t.source, None, None) for t in found)
    services = Counter((t.target, t.port, t.protocol) for t in found)
    return Peers(
        len(found),
        tuple(_peer(key, n / len(found)) for key, n in openers.most_common(_MOST_PEERS)),
        tuple(_peer(key, n / len(found)) for key, n in services.most_common(_MOST_PEERS)),
    )


def _parts() -> Iterator[list[Tracked]]:
    """Ask the kernel for its table, and take what it gives datagram by datagram."""
    until, done = time.monotonic() + _WAIT, False
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _NETFILTER) as netlink:
        length = _HEADER.size + _FAMILY.size
        header = _HEADER.pack(length, _LIST, _REQUEST_DUMP, 1, 0)
        netlink.send(header + _FAMILY.pack(socket.AF_UNSPEC, 0, 0))
        while not done:
            netlink.settimeout(max(until - time.monotonic(), 0.001))
            found, done = decode(netlink.recv(_BUFFER))
            yield found


def _peer(key: tuple[bytes, int | None, int | None], share: float) -> Peer:
    """Describe one side."""
    raw, port, protocol = key
    family = socket.AF_INET if len(raw) == _SIZES[0] else socket.AF_INET6
    name = None if protocol is None else _NAMES.get(protocol, f"protocol {protocol}")
    return Peer(address_of(family, raw), port, name, share)
