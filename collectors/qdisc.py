"""Queues in front of network interfaces: what waits to be sent, and what was dropped there."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from collectors import net_tables
from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.rates import Track
from collectors.text import label

_GET = 38  # RTM_GETQDISC
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_QDISC = struct.Struct("=BxxxiIII")  # struct tcmsg
_ROOT = 0xFFFFFFFF
_KIND, _STATISTICS, _QUEUE = 1, 7, 3
_BUFFER = 1 << 18
_WAIT = 2.0  # [s] for a whole list
_MOST = 256
_NO_QUEUE = "noqueue"


@dataclass(frozen=True, slots=True)
class Queue:
    """
    The queue of one interface, all its parts together.

    Attributes:
        interface: Whose it is.
        kind: The discipline: fq_codel, mq, pfifo_fast, htb, ...
        backlog_bytes: Waiting now [bytes].
        backlog_packets: Waiting now.
        dropped_total: Packets dropped since the queue was set up.
        dropped: The same in the window.
        overlimits: Packets that had to wait for their turn by a set rate, in the window.
        requeued: Packets that the card had no room for, in the window.

    """

    interface: str
    kind: str
    backlog_bytes: int
    backlog_packets: int
    dropped_total: int
    dropped: int | None = None
    overlimits: int | None = None
    requeued: int | None = None


@dataclass(frozen=True, slots=True)
class QdiscSample:
    """
    The queues of the own network namespace's interfaces.

    Attributes:
        window_seconds: Observed time [s].
        queues: Interface to its queue, those without one left out, 256 at most.

    """

    window_seconds: float
    queues: Mapping[str, Queue] = field(default_factory=dict)


class Row(NamedTuple):
    """
    The numbers of one queue.

    Attributes:
        kind: The discipline.
        packets: Waiting now.
        backlog: Waiting now [bytes].
        dropped: Packets dropped so far.
        requeued: Packets given back by the card so far.
        overlimits: Packets that had to wait for a set rate so far.

    """

    kind: str
    packets: int
    backlog: int
    dropped: int
    requeued: int
    overlimits: int


def decode(raw: bytes) -> tuple[dict[int, Row], bool]:
    """
    Decode one part of the list of queues.

    Args:
        raw: One datagram.

    Returns:
        dict interface's number -> its root queue; and whether this was the end.

    Raises:
        Unavailable: When the kernel answers with an error, or says that queues may
            be missing because they changed while it listed them.
        ValueError: When a message is cut short.

    Source:
        struct tcmsg and TCA_*, include/uapi/linux/rtnetlink.h; struct
        gnet_stats_queue, include/uapi/linux/gen_stats.h. What is dropped below
        the root counts at the root as well, so that is all that is needed.

    """
    rows: dict[int, Row] = {}
    place, end = 0, len(raw)
    while place < end:
        if place + _HEADER.size > end:
            raise ValueError("a message of the kernel is cut short")
        length, kind, flags, _, _ = _HEADER.unpack_from(raw, place)
        if length < _HEADER.size or place + length > end:
            raise ValueError("a message of the kernel is cut short")
        if kind == _ERROR:
            raise _failure(OSError(-_number(raw[place + _HEADER.size : place + length]), ""))
        if flags & _INTERRUPTED:
            raise Unavailable("netlink: queues changed while listed", Cause.UNREADABLE)
        if kind == _DONE:
            return rows, True
        body = raw[place + _HEADER.size : place + length]
        if len(body) < _QDISC.size:
            raise ValueError("a queue of the kernel is cut short")
        _, interface, _, parent, _ = _QDISC.unpack_from(body)
        row = _row(body[_QDISC.size :]) if parent == _ROOT else None
        if row is not None:
            rows[interface] = row
        place += (length + 3) & ~3
    return rows, False


def _number(body: bytes) -> int:
    """Read the number that an error carries."""
    return int(struct.unpack_from("=i", body)[0]) if len(body) >= 4 else -errno.EIO  # noqa: PLR2004


def _row(raw: bytes) -> Row | None:
    """Read a queue's kind and numbers; None without them, and for no queue at all."""
    found = dict(_attributes(raw))
    kind = label(found.get(_KIND, b"").rstrip(b"\0"))
    numbers = dict(_attributes(found.get(_STATISTICS, b""))).get(_QUEUE, b"")
    if not kind or kind == _NO_QUEUE or len(numbers) < 20:  # noqa: PLR2004
        return None
    return Row(kind, *struct.unpack_from("=IIIII", numbers))


def _attributes(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk through attributes: length, kind, content, filled up to four bytes."""
    place = 0
    while place + 4 <= len(raw):
        length, kind = struct.unpack_from("=HH", raw, place)
        if length < 4 or place + length > len(raw):  # noqa: PLR2004
            return
        yield kind & 0x3FFF, raw[place + 4 : place + length]
        place += (length + 3) & ~3


@collector(category="network")
def collect(ctx: Context) -> QdiscSample:
    """
    List the queues at the window's ends.

    Args:
        ctx: Paths and window.

    Returns:
        The queues.

    Raises:
        Unavailable: When the kernel does not list them, or only those of another
            network namespace than the host's.

    Source:
        NETLINK_ROUTE, RTM_GETQDISC, rtnetlink(7).

    """
    net = net_tables.folder(ctx)
    if not net_tables.is_own(net):
        text = f"the kernel lists queues of another network namespace than {net}"
        raise Unavailable(f"{text} (run in the host's network namespace)", Cause.UNREADABLE)
    track: Track[tuple[int, str]] = Track()
    rows: dict[int, Row] = {}
    for at in ctx.ends():
        rows = _list()
        track.add(at, {(n, f): getattr(r, f) for n, r in rows.items() for f in _COUNTERS})
    queues = [_queue(n, row, track) for n, row in list(rows.items())[:_MOST]]
    return QdiscSample(track.seconds, {q.interface: q for q in queues if q is not None})


_COUNTERS = ("dropped", "overlimits", "requeued")


def _queue(number: int, row: Row, track: Track[tuple[int, str]]) -> Queue | None:
    """Describe a queue; None when its interface has just gone."""
    try:
        name = socket.if_indextoname(number)
    except OSError:
        return None
    return Queue(
        interface=label(name),
        kind=row.kind,
        backlog_bytes=row.backlog,
        backlog_packets=row.packets,
        dropped_total=row.dropped,
        **{counter: track.increase((number, counter)) for counter in _COUNTERS},
    )


def _list() -> dict[int, Row]:
    """Ask the kernel for all root queues."""
    until, done = time.monotonic() + _WAIT, False
    rows: dict[int, Row] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as netlink:
            netlink.settimeout(_WAIT)
            netlink.send(_HEADER.pack(_HEADER.size + _QDISC.size, _GET, _DUMP, 1, 0) + bytes(20))
            while not done:
                netlink.settimeout(max(until - time.monotonic(), 0.001))
                part, done = decode(netlink.recv(_BUFFER))
                rows |= part
    except OSError as error:
        raise _failure(error) from error
    return rows


def _failure(error: OSError) -> Unavailable:
    """Tell why there is no list; EOPNOTSUPP is a kernel without queueing disciplines."""
    absent = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP)
    late = isinstance(error, TimeoutError)
    cause = Cause.ABSENT if error.errno in absent else Cause.UNREADABLE
    text = "no answer in time" if late else os.strerror(error.errno or errno.EIO).lower()
    return Unavailable(f"netlink: {text}", Cause.TIMEOUT if late else cause)
