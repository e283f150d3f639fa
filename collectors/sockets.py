"""TCP sockets by state, listeners' queues, and socket memory against its limits."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from collectors import net_tables, socket_crowds
from collectors.base import Context, collector
from collectors.model import Cause, Unavailable
from collectors.sock_diag import (
    LISTEN,
    STATES,
    Found,
    Socket,
    details,
    dump_both,
    flow,
    inode_of,
)
from collectors.socket_crowds import CLOSE_WAIT, MANY_HALF_CLOSED, MANY_UNREAD
from collectors.socket_owners import Crowd, crowd, find, holder
from collectors.text import label, natural

_TIME_WAIT = STATES.index("time_wait")
# There may be 100,000 in TIME_WAIT, and sockstat counts them.
_WANTED = sum(1 << n for n in range(1, len(STATES)) if n != _TIME_WAIT)
_FULL_QUEUE = 65_536
_MOST_LISTENERS = 20
_ESTABLISHED = STATES.index("established")
# These have no peer yet or no longer.
_ALONE = (LISTEN, STATES.index("close"))


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
        ports: How many ports there are for outgoing connections.
        ports_to_one: Those taken by connections from one address to one service,
            TIME_WAIT included: each needs its own. Exact from half of `ports` on;
            below that all sockets in TIME_WAIT are counted as if they were such.
        time_wait: Sockets in TIME_WAIT.
        orphans: TCP sockets without a process.
        page_bytes: Of the memory below [bytes].
        tcp_memory_pages: Memory of TCP sockets [pages].
        udp_memory_pages: Memory of UDP sockets [pages].
        udp_sockets: UDP sockets in use, both address families.
        fragments: Packets being put together, both address families.
        fragment_bytes: Their memory [bytes].
        crowds: Who holds sockets that are many of a kind: "close_wait" from 100 on,
            "unread" from 20 on, "ports" when `ports_to_one` is more than half of
            `ports`, and "queued", those with more than 64 KiB unread or not yet taken by
            their peers, when TCP sockets hold more than half of the memory they may;
            others are not looked for, and not in it.

    """

    states: Mapping[str, int] = field(default_factory=dict)
    listeners: tuple[Listener, ...] = ()
    listening: int | None = None
    unread: int | None = None
    ports: int | None = None
    ports_to_one: int | None = None
    time_wait: int | None = None
    orphans: int | None = None
    page_bytes: int | None = None
    tcp_memory_pages: int | None = None
    udp_memory_pages: int | None = None
    udp_sockets: int | None = None
    fragments: int | None = None
    fragment_bytes: int | None = None
    crowds: Mapping[str, Crowd] = field(default_factory=dict)


def parse(raw: bytes) -> dict[str, int]:
    """
    Parse the summary of sockets.

    Args:
        raw: Content of /proc/net/sockstat or sockstat6.

    Returns:
        dict "TCP.inuse", "TCP.tw", "UDP.mem" and so on -> number.

    Raises:
        ValueError: When a value is no number.

    Source:
        /proc/net/sockstat, /proc/net/sockstat6.

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
        The sockets of the host's network namespace, see `net_tables`.

    Raises:
        Unavailable: When neither netlink nor sockstat answers.

    Source:
        NETLINK_SOCK_DIAG, sock_diag(7), which always tells of the own network
        namespace and is asked only if that is the host's; /proc/net/sockstat;
        /proc/PID/fd for who holds sockets that are many.

    """
    for _ in ctx.ends():
        pass
    net = net_tables.folder(ctx)
    sample = _summary(ctx, net)
    try:
        return _count(ctx, sample, net)
    except Unavailable as error:
        if sample.time_wait is None:
            raise
        ctx.note("sock_diag", error.cause, str(error))
        return sample


def _summary(ctx: Context, net: Path) -> SocketsSample:
    """Read what the kernel has counted itself."""
    table = parse(ctx.try_read(net / "sockstat") or b"")
    table |= parse(ctx.try_read(net / "sockstat6") or b"")
    return SocketsSample(
        time_wait=table.get("TCP.tw"),
        orphans=table.get("TCP.orphan"),
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        tcp_memory_pages=table.get("TCP.mem"),
        udp_memory_pages=table.get("UDP.mem"),
        udp_sockets=_both(table, "UDP{}.inuse"),
        fragments=_both(table, "FRAG{}.inuse"),
        fragment_bytes=_both(table, "FRAG{}.memory"),
    )


def _both(table: Mapping[str, int], name: str) -> int | None:
    """Add up both address families; a kernel may lack the second."""
    first = table.get(name.format(""))
    return None if first is None else first + table.get(name.format("6"), 0)


@dataclass(slots=True)
class _Tally:
    """What is counted while the kernel lists its sockets."""

    ports: range
    states: Counter[int] = field(default_factory=Counter)
    flows: defaultdict[int, Counter[bytes]] = field(default_factory=lambda: defaultdict(Counter))
    listeners: list[Socket] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)

    def add(self, raw: bytes, found: list[Found]) -> None:
        """Count the sockets of one datagram, which are all of one address family."""
        flows = self.flows[raw[found[0][3]]] if found else Counter()
        for state, received, sent, place in found:
            self.states[state] += 1
            if state in _ALONE:
                if state == LISTEN:
                    self.listeners.append(details(raw, place))
                continue
            if received + sent > _FULL_QUEUE:
                self._note_queue(state, received, inode_of(raw, place))
            port, key = flow(raw, place)
            if port in self.ports:
                flows[key] += 1

    def _note_queue(self, state: int, received: int, inode: int) -> None:
        """Remember a socket in which much lies, unread or not yet taken by its peer."""
        self.queued.append(inode)
        if received > _FULL_QUEUE and state == _ESTABLISHED:
            self.unread.append(inode)

    def most(self) -> int:
        """Give the connections from one address to one service."""
        return max((max(flows.values(), default=0) for flows in self.flows.values()), default=0)

    def busiest(self) -> tuple[int, int, bytes]:
        """Give the same with address family and key."""
        return max((n, family, key) for family, flows in self.flows.items()
                   for key, n in flows.most_common(1))  # fmt: skip


def _count(ctx: Context, sample: SocketsSample, net: Path) -> SocketsSample:
    """Add what netlink tells."""
    if not net_tables.is_own(net):
        text = f"sock_diag tells of another network namespace than {net}"
        raise Unavailable(f"{text} (run in the host's network namespace)", Cause.UNREADABLE)
    tally = _Tally(_port_range(ctx))
    for raw, found in dump_both(_WANTED):
        tally.add(raw, found)
    waiting = sorted((s for s in tally.listeners if s.receive_queue), key=_fill, reverse=True)
    waiting = waiting[:_MOST_LISTENERS]
    taken = _ports_to_one(ctx, tally, sample.time_wait)
    members = _members(ctx, tally, taken)
    if tally.queued and _squeezed(ctx, sample.tcp_memory_pages):
        members["queued"] = tally.queued
    # One walk over all descriptors serves all.
    owners = find(ctx, {s.inode for s in waiting}.union(*members.values()))
    return replace(
        sample,
        states={STATES[s]: n for s, n in sorted(tally.states.items()) if s < len(STATES)},
        listening=len(tally.listeners),
        unread=len(tally.unread),
        ports=len(tally.ports) or None,
        ports_to_one=taken,
        listeners=tuple(_listener(ctx, s, owners.get(s.inode)) for s in waiting),
        crowds={name: _crowd(ctx, name, tally, owners, found) for name, found in members.items()},
    )


def _listener(ctx: Context, found: Socket, pid: int | None) -> Listener:
    """Describe a listener."""
    name = None if pid is None else f"{holder(ctx, pid, 1).comm} ({pid})"
    return Listener(found.address, found.port, found.receive_queue, found.send_queue, name)


def _members(ctx: Context, tally: _Tally, taken: int | None) -> dict[str, list[int]]:
    """List the sockets of each crowd; below its size there is nothing to list."""
    members = {"unread": tally.unread} if len(tally.unread) >= MANY_UNREAD else {}
    try:
        if tally.states[CLOSE_WAIT] >= MANY_HALF_CLOSED:
            members["close_wait"] = socket_crowds.half_closed(tally.listeners)
        if taken is not None and taken > len(tally.ports) // 2:
            bounds = tally.ports[0], tally.ports[-1]
            members["ports"] = socket_crowds.connected(_WANTED, bounds, *tally.busiest()[1:])
    except Unavailable as error:
        ctx.note("sock_diag owners", error.cause, str(error))
    return members


def _crowd(
    ctx: Context, name: str, tally: _Tally, owners: Mapping[int, int], inodes: list[int]
) -> Crowd:
    """Describe a crowd; to ports count those in TIME_WAIT, which no process has."""
    if name != "ports":
        return crowd(ctx, owners, inodes)
    count, family, key = tally.busiest()
    return crowd(ctx, owners, inodes, count, socket_crowds.service(family, key))


def _squeezed(ctx: Context, pages: int | None) -> bool:
    """Tell whether TCP sockets hold more than half of the memory they may [pages]."""
    raw = ctx.try_read(ctx.paths.proc / "sys/net/ipv4/tcp_mem") or b""
    most = [natural(field) for field in raw.split()][2:]
    return bool(most) and 2 * (pages or 0) > most[0]


def _port_range(ctx: Context) -> range:
    """Read which ports outgoing connections get; empty when unknown."""
    raw = ctx.try_read(ctx.paths.proc / "sys/net/ipv4/ip_local_port_range") or b""
    bounds = [natural(field) for field in raw.split()]
    return range(bounds[0], bounds[1] + 1) if len(bounds) == 2 else range(0)  # noqa: PLR2004


def _ports_to_one(ctx: Context, tally: _Tally, time_wait: int | None) -> int | None:
    """Count the ports to one service; TIME_WAIT is listed only where it may decide."""
    if not tally.ports or time_wait is None:
        return None
    if tally.most() + time_wait <= len(tally.ports) // 2:
        return tally.most() + time_wait
    try:
        # The kernel picks out those of outgoing connections: a busy server has many others.
        for raw, found in dump_both(1 << _TIME_WAIT, (tally.ports[0], tally.ports[-1])):
            if found:
                flows = tally.flows[raw[found[0][3]]]
                flows.update(flow(raw, place)[1] for *_, place in found)
    except Unavailable as error:
        ctx.note("sock_diag TIME_WAIT", error.cause, str(error))
        return None
    return tally.most()


def _fill(listener: Socket) -> float:
    """Give how full a listener's queue is [ratio]."""
    return listener.receive_queue / (listener.send_queue + 1)
