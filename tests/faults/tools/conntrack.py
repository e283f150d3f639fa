"""Entries in the kernel's table of tracked connections, made and removed one by one."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.scenario import Impossible

_NETFILTER = 12
_NEW, _DELETE = 0x0100, 0x0102
_REQUEST, _ACK, _CREATE_EXCLUSIVELY = 0x01, 0x04, 0x600
_NESTED = 0x8000
_ORIGINAL, _REPLY, _TIMEOUT = 1, 2, 7
_SECONDS = 300  # until the kernel forgets them by itself


@contextmanager
def tracked(many: int) -> Iterator[None]:
    """
    Track connections between two addresses that nobody has until the context is left.

    Args:
        many: How many.

    Yields:
        Nothing.

    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as link:
        made = 0
        try:
            for made in range(many):
                _tell(link, _NEW, _CREATE_EXCLUSIVELY, made)
            yield
        finally:
            for number in range(made + 1):
                _tell(link, _DELETE, 0, number, strict=False)


def _tell(link: socket.socket, what: int, flags: int, number: int, *, strict: bool = True) -> None:
    """Send one message and read what the kernel says to it."""
    attributes = _tuple(_ORIGINAL, "192.0.2.1", "192.0.2.2", 1024 + number, 9)
    if what == _NEW:
        attributes += _tuple(_REPLY, "192.0.2.2", "192.0.2.1", 9, 1024 + number)
        attributes += _attribute(_TIMEOUT, struct.pack(">I", _SECONDS))
    body = struct.pack("BBH", socket.AF_INET, 0, 0) + attributes
    link.send(struct.pack("IHHII", 16 + len(body), what, _REQUEST | _ACK | flags, 1, 0) + body)
    error = -struct.unpack_from("i", link.recv(4096), 16)[0]
    if error and strict:
        raise Impossible(f"no connection can be put into the table: {os.strerror(error)}")


def _tuple(kind: int, source: str, target: str, source_port: int, target_port: int) -> bytes:
    """Describe one direction of a UDP connection."""
    addresses = _attribute(1, socket.inet_aton(source)) + _attribute(2, socket.inet_aton(target))
    ports = (
        _attribute(1, bytes([socket.IPPROTO_UDP]))
        + _attribute(2, struct.pack(">H", source_port))
        + _attribute(3, struct.pack(">H", target_port))
    )
    return _attribute(
        kind | _NESTED, _attribute(1 | _NESTED, addresses) + _attribute(2 | _NESTED, ports)
    )


def _attribute(kind: int, value: bytes) -> bytes:
    """Write an attribute."""
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
