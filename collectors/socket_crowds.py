"""Which sockets are so many of a kind that it is worth asking who holds them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from collectors.sock_diag import STATES, Socket, address_of, details, dump_both, flow, inode_of

CLOSE_WAIT = STATES.index("close_wait")
# A crowd is this many: fewer are no burden to anybody, and no program's leak.
MANY_HALF_CLOSED = 100
MANY_UNREAD = 20
_ANY = ("0.0.0.0", "::")  # noqa: S104  no address is bound here


def half_closed(listeners: Iterable[Socket]) -> list[int]:
    """
    List connections that the other side closed and this side did not.

    Args:
        listeners: All listening sockets.

    Returns:
        Their inode numbers. A connection that nobody accepted has none, and is the
        listener's in whose queue it is; 0 where that is not clear.

    Raises:
        Unavailable: When netlink cannot be used.

    Source:
        sock_diag(7).

    """
    queues: dict[tuple[str, int], set[int]] = defaultdict(set)
    for listener in listeners:
        queues[listener.address, listener.port].add(listener.inode)
    inodes = []
    for raw, found in dump_both(1 << CLOSE_WAIT):
        for *_, place in found:
            inodes.append(inode_of(raw, place) or _queued(details(raw, place), queues))
    return inodes


def _queued(waiting: Socket, queues: dict[tuple[str, int], set[int]]) -> int:
    """Tell in which listener's queue a connection is; 0 when there are several or none."""
    for address in (waiting.address, *_ANY):
        at = queues.get((address, waiting.port), set())
        if at:
            return next(iter(at)) if len(at) == 1 else 0
    return 0


def connected(states: int, ports: tuple[int, int], family: int, key: bytes) -> list[int]:
    """
    List the connections from one address to one service.

    Args:
        states: One bit for each wanted state.
        ports: First and last local port.
        family: AF_INET or AF_INET6.
        key: Remote port and both addresses, as given by `flow`.

    Returns:
        Their inode numbers; 0 for one that no process has any more.

    Raises:
        Unavailable: When netlink cannot be used.

    Source:
        sock_diag(7).

    """
    return [
        inode_of(raw, place)
        for raw, found in dump_both(states, ports)
        for *_, place in found
        if raw[place] == family and flow(raw, place)[1] == key
    ]


def service(family: int, key: bytes) -> str:
    """
    Name the service that connections go to.

    Args:
        family: AF_INET or AF_INET6.
        key: As for `connected`.

    Returns:
        Such as "192.0.2.1:443" or "[2001:db8::1]:443".

    """
    return place_of(address_of(family, key[18:34]), int.from_bytes(key[:2], "big"))


def place_of(address: str, port: int) -> str:
    """
    Write an address with a port.

    Args:
        address: Of either family; an IPv4 address within IPv6 becomes one of its own.
        port: The port.

    Returns:
        Such as "192.0.2.1:443" or "[2001:db8::1]:443".

    """
    plain = address.removeprefix("::ffff:")
    address = plain if "." in plain else address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
