"""Clients that scrape at the same time, in one thread, so that they cost little themselves."""

from __future__ import annotations

import heapq
import selectors
import socket
import time
from dataclasses import dataclass, field

_REQUEST = (
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n"
    b"Accept: text/plain;version=0.0.4\r\nConnection: close\r\n\r\n"
)
_PATIENCE = 20.0  # [s]


@dataclass(slots=True)
class _Scrape:
    """One scrape on its way."""

    socket: socket.socket
    began: float
    answer: bytearray = field(default_factory=bytearray)


def scrape(port: int, clients: int, count: int, every: float = 0.0) -> list[float]:
    """
    Let so many clients scrape until enough scrapes have ended.

    Args:
        port: Where, on loopback.
        clients: How many there are.
        count: Scrapes in all.
        every: Each client's time between two starts [s]; 0 to begin again at once, so
            that all always have a request on its way.

    Returns:
        How long each took, from connecting to its last byte, in ascending order [ms].

    """
    taken: list[float] = []
    began, begun = time.perf_counter(), 0
    due = [began + every * n / clients for n in range(clients)]
    with selectors.DefaultSelector() as selector:
        while len(taken) < count:
            while begun < count and due and due[0] <= time.perf_counter():
                heapq.heappop(due)
                _begin(selector, port)
                begun += 1
            for done in _ended(selector, due[0] if due and begun < count else None):
                heapq.heappush(due, done.began + every)
                taken.append(_end(done))
    return sorted(taken)


def _ended(selector: selectors.BaseSelector, until: float | None) -> list[_Scrape]:
    """Take what comes, waiting no longer than until the next is due; give what has ended."""
    wait = _PATIENCE if until is None else max(until - time.perf_counter(), 0)
    ready = selector.select(wait)
    if not ready and until is None:
        raise RuntimeError(f"no answer in {_PATIENCE:.0f} s")
    ended = [key.data for key, _ in ready if not _goes_on(key.data)]
    for one in ended:
        selector.unregister(one.socket)
    return ended


def _begin(selector: selectors.BaseSelector, port: int) -> None:
    """Send a request."""
    began = time.perf_counter()
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
    connection.sendall(_REQUEST)
    connection.setblocking(False)
    selector.register(connection, selectors.EVENT_READ, _Scrape(connection, began))


def _goes_on(scrape: _Scrape) -> bool:
    """Take what has come; False at the answer's end."""
    part = scrape.socket.recv(1 << 16)
    scrape.answer += part
    return bool(part)


def _end(scrape: _Scrape) -> float:
    """Close a connection; give how long its scrape took [ms]."""
    seconds = time.perf_counter() - scrape.began
    scrape.socket.close()
    head, _, body = bytes(scrape.answer).partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")) or not body:
        raise RuntimeError(f"no page: {head[:80]!r}")
    return seconds * 1000


def percentile(ascending: list[float], share: float) -> float:
    """
    Give the value below which a share of all lies.

    Args:
        ascending: The values.
        share: The share [ratio].

    Returns:
        One of the values.

    """
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)]
