"""TCP sockets by state, listeners' queues, and socket memory against its limits."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from collectors.base import Context, collector
from collectors.model import Unavailable
from collectors.sock_diag import LISTEN, STATES, Socket, decode, details, dump
from collectors.text import label, natural

# TIME_WAIT is not dumped: there may be 100,000, and sockstat counts them.
_WANTED = sum(1 << n for n in range(1, len(STATES)) if STATES[n] != "time_wait")
_FULL_QUEUE = 65_536
_MOST_PROCESSES = 2_000
_ESTABLISHED = STATES.index("established")


@dataclass(frozen=True, slots=True)
class Listener:
    """
    A listening TCP socket.

    Attributes:
        address: Local address.
        port: Local port.
        queue: Connections waiting to be accepted.
        backlog: Most of them.
        process: Who listens, as "name (pid)"; read only when connections wait.

    """

    address: str
    port: int
    queue: int
    backlog: int
    process: str | None = None


@dataclass(frozen=True, slots=True)
class SocketsSample:
    """
    Sockets at the window's end.

    Attributes:
        states: TCP state to sockets, both address families.
        listeners: Those with waiting connections, fullest first; at most 20.
        listening: How many listeners there are.
        unread: Established connections with more than 64 KiB unread.
        time_wait: Sockets in TIME_WAIT.
        orphans: TCP sockets without a process.
        tcp_memory_pages: Memory of TCP sockets [pages].
        udp_memory_pages: Memory of UDP sockets [pages].
        udp_sockets: UDP sockets in use.
        fragments: Packets being put together.

    """

    states: Mapping[str, int] = field(default_factory=dict)
    listeners: tuple[Listener, ...] = ()
    listening: int | None = None
    unread: int | None = None
    time_wait: int | None = None
    orphans: int | None = None
    tcp_memory_pages: int | None = None
    udp_memory_pages: int | None = None
    udp_sockets: int | None = None
    fragments: int | None = None


def parse(raw: bytes) -> dict[str, int]:
    """
    Parse the summary of sockets.

    Args:
        raw: Content of /proc/net/sockstat.

    Returns:
        dict "TCP.inuse", "TCP.tw", "UDP.mem" and so on -> number.

    Raises:
        ValueError: When a value is no number.

    Source:
        /proc/net/sockstat.

    """
    table: dict[str, int] = {}
    for line in raw.splitlines():
        name, colon, rest = line.partition(b":")
        fields = rest.split()
        if colon:
            for key, value in zip(fields[::2], fields[1::2], strict=False):
                table[f"{label(name)}.{label(key)}"] = natural(value)
    return table


@collector(category="network")
def collect(ctx: Context) -> SocketsSample:
    """
    Count sockets once, at the window's end.

    Args:
        ctx: Paths and window.

    Returns:
        The sockets.

    Raises:
        Unavailable: When neither netlink nor sockstat answers.

    Source:
        NETLINK_SOCK_DIAG, sock_diag(7); /proc/net/sockstat. Both tell of the
        network namespace this program runs in.

    """
    for _ in ctx.ends():
        pass
    raw = ctx.try_read(ctx.paths.proc / "net/sockstat")
    summary = parse(raw) if raw else {}
    sample = SocketsSample(
        time_wait=summary.get("TCP.tw"),
        orphans=summary.get("TCP.orphan"),
        tcp_memory_pages=summary.get("TCP.mem"),
        udp_memory_pages=summary.get("UDP.mem"),
        udp_sockets=summary.get("UDP.inuse"),
        fragments=summary.get("FRAG.inuse"),
    )
    # A written root has no kernel behind it that netlink could tell of.
    if not (ctx.paths.proc / "net").exists():
        raise Unavailable(f"{ctx.paths.proc}/net does not exist")
    try:
        return _count(ctx, sample)
    except Unavailable as error:
        if raw is None:
            raise
        ctx.note("sock_diag", error.cause, str(error))
        return sample


def _count(ctx: Context, sample: SocketsSample) -> SocketsSample:
    """Add what netlink tells."""
    states: Counter[int] = Counter()
    listeners: list[Socket] = []
    unread = 0
    for family in (socket.AF_INET, socket.AF_INET6):
        for raw in dump(family, _WANTED):
            found, done = decode(raw)
            for state, received, _, place in found:
                states[state] += 1
                if state == LISTEN:
                    listeners.append(details(raw, place))
                elif received > _FULL_QUEUE and state == _ESTABLISHED:
                    unread += 1
            if done:
                break
    waiting = sorted((s for s in listeners if s.receive_queue), key=_fill, reverse=True)[:20]
    owners = _owners(ctx, {s.inode for s in waiting}) if waiting else {}
    return replace(
        sample,
        states={STATES[s]: n for s, n in sorted(states.items()) if s < len(STATES)},
        listening=len(listeners),
        unread=unread,
        listeners=tuple(
            Listener(s.address, s.port, s.receive_queue, s.send_queue, owners.get(s.inode))
            for s in waiting
        ),
    )


def _fill(listener: Socket) -> float:
    """Give how full a listener's queue is [ratio]."""
    return listener.receive_queue / max(listener.send_queue, 1)


def _owners(ctx: Context, inodes: set[int]) -> dict[int, str]:
    """Find who holds sockets, by walking descriptors; only done when connections wait."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[int, str] = {}
    base = os.fspath(ctx.paths.proc)
    pids = [n for n in os.listdir(base) if n.isdigit()][:_MOST_PROCESSES]  # noqa: PTH208
    for pid in pids:
        try:
            links = [os.readlink(f"{base}/{pid}/fd/{n}") for n in os.listdir(f"{base}/{pid}/fd")]  # noqa: PTH115, PTH208
        except OSError:
            continue
        for link in wanted.keys() & set(links):
            owners.setdefault(wanted[link], f"{_name(ctx, pid)} ({pid})")
        if len(owners) == len(inodes):
            break
    return owners


def _name(ctx: Context, pid: str) -> str:
    """Read a process's name."""
    return label((ctx.try_read(ctx.paths.proc / pid / "comm") or b"?").rstrip(b"\n"))
