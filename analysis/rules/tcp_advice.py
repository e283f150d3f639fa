"""Advice on sockets: a setting has one proposal, whichever rule asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from analysis.advice import investigate, sysctl
from analysis.culprits import leaders, names
from analysis.model import Culprit, Facts, Recommendation, Signal
from analysis.rules.network_advice import part_of_memory
from analysis.use.network import setting
from collectors.sockets import Listener, SocketsSample
from collectors.sysctl import SysctlSample
from collectors.tcp import TcpSample

_MOST_BACKLOG = 65_535
_USUAL_BACKLOG = 4_096  # net.core.somaxconn since Linux 5.4
_MEBI = 1 << 20
_SOCKET_BUFFER = 4 * _MEBI
_STREAM_BUFFER = 16 * _MEBI


def listeners(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the listeners with waiting connections.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, fullest first.

    """
    sample = facts.sample(SocketsSample)
    return tuple(_listener(item) for item in sample.listeners[:5]) if sample else ()


def _listener(item: Listener) -> Culprit:
    """Describe a listener."""
    name = item.process or f"port {item.port}"
    where = f"{item.address}:{item.port}"
    fill = item.queue / (item.backlog + 1)
    return Culprit("listener", name, where, float(item.queue), "connections", fill, where)


def find_loss(_: Facts, __: Signal) -> Iterable[Recommendation]:
    """
    Advise to find the connections that lose segments.

    Yields:
        What to look at.

    """
    yield investigate(
        "retransmits",
        resource="network",
        rule="tcp_retransmits",
        title="See to which peers segments are lost",
        why="One peer or path points at the network between, all peers at this host's link.",
        commands=("ss -tino state established | grep -B1 retrans:",),
    )


def longer_queue(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise to look at who does not accept, and longer queues where a setting cuts them.

    Args:
        facts: What is known of the host.

    Yields:
        What to look at, and settings where they are too small.

    """
    slow = listeners(facts)
    if slow:
        yield investigate(
            f"listener:{slow[0].name}",
            resource="network",
            rule="listen_overflows",
            title=f"See why {slow[0].name} does not accept its connections faster",
            why="A longer queue only helps against bursts; a program that is too slow for its "
            "load fills any queue, and its own listen() may ask for a short one.",
            commands=("ss -ltn",),
        )
    yield from _longer_accept_queue(facts)
    yield from _longer_syn_queue(facts)


def _longer_accept_queue(facts: Facts) -> Iterator[Recommendation]:
    """Advise a higher limit if a listener with waiting connections is cut by it."""
    limit, sample = setting(facts, "net.core.somaxconn"), facts.sample(SocketsSample)
    waiting = sample.listeners if sample else ()
    # A listener whose own backlog is below the limit gains nothing from a higher one.
    if limit is None or (waiting and all(item.backlog < limit for item in waiting)):
        return
    proposed = min(max(2 * limit, _USUAL_BACKLOG), _MOST_BACKLOG) if waiting else _USUAL_BACKLOG
    yield from sysctl(
        facts,
        "net.core.somaxconn",
        proposed,
        rule="listen_overflows",
        resource="network",
        direction="raise",
        why="Listeners may then ask for longer queues, which take bursts of connections.",
        risk="none worth naming; programs must be restarted to get the longer queue",
        source="listen(2); the default since Linux 5.4 is 4096",
    )


def _longer_syn_queue(facts: Facts) -> Iterator[Recommendation]:
    """Advise a longer queue of half-open connections, which counts only without cookies."""
    tcp, limit = facts.sample(TcpSample), setting(facts, "net.ipv4.tcp_max_syn_backlog")
    dropped = tcp.increases.get("TcpExt.TCPReqQFullDrop") if tcp else None
    if not dropped or limit is None or setting(facts, "net.ipv4.tcp_syncookies") != 0:
        return
    yield from sysctl(
        facts,
        "net.ipv4.tcp_max_syn_backlog",
        min(max(2 * limit, _USUAL_BACKLOG), _MOST_BACKLOG),
        rule="listen_drops",
        resource="network",
        direction="raise",
        why="More connections may then be half open at a time.",
        risk="about 300 bytes of kernel memory for each",
        source="Documentation/networking/ip-sysctl.rst, tcp_max_syn_backlog",
    )


def larger_buffers(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise to look at who does not read, and larger receive buffers for programs that ask.

    Args:
        facts: What is known of the host.
        signal: What was seen.

    Yields:
        What to look at, and a setting.

    """
    slow = leaders(signal.culprits)
    if slow:
        yield investigate(
            "udp:readers",
            resource="network",
            rule="udp_receive_buffer",
            title=f"See why {names(slow)} reads its datagrams so slowly",
            why="A larger buffer only helps against bursts; a program that is too slow for what "
            "arrives, or stuck, fills any.",
            commands=("ss -uanmp",),
        )
    proposed = min(_SOCKET_BUFFER, part_of_memory(facts, 512))
    if proposed:
        yield from sysctl(
            facts,
            "net.core.rmem_max",
            proposed,
            rule="udp_receive_buffer",
            resource="network",
            direction="raise",
            why="Programs may then ask (SO_RCVBUF) for buffers that take longer bursts.",
            risk=f"up to {proposed} bytes of kernel memory for each socket that asks",
            source="Documentation/admin-guide/sysctl/net.rst, rmem_max",
        )


def slow_reader(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise to find who does not read, and a larger window where memory allows.

    Args:
        facts: What is known of the host.

    Yields:
        What to look at, and a setting.

    """
    yield investigate(
        "slow_reader",
        resource="network",
        rule="unread_data",
        title="See which program leaves received data unread",
        why="Larger buffers only help against bursts.",
        commands=("ss -tnp state established | sort -k1 -n | tail",),
    )
    current = _numbers(facts, "net.ipv4.tcp_rmem")
    affordable = min(_STREAM_BUFFER, part_of_memory(facts, 256))
    if len(current) == 3 and affordable > current[2]:  # noqa: PLR2004
        yield from sysctl(
            facts,
            "net.ipv4.tcp_rmem",
            f"{current[0]} {current[1]} {min(2 * current[2], affordable)}",
            rule="tcp_receive_drops",
            resource="network",
            direction="raise",
            why="Connections may then hold longer bursts until the program reads them.",
            risk="up to that much kernel memory for each connection, within tcp_mem",
            source="Documentation/networking/ip-sysctl.rst, tcp_rmem",
        )


def more_socket_memory(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise to find who holds the memory, and more of it up to a fifth of the host's.

    Args:
        facts: What is known of the host.

    Yields:
        What to look at, and a setting.

    """
    yield investigate(
        "socket_memory",
        resource="network",
        rule="tcp_memory",
        title="See which connections hold the memory",
        why="Peers that do not read, or programs that do not, hold most of it.",
        commands=("ss -tmn | grep -o 'skmem.*' | sort | uniq -c | sort -rn | head",),
    )
    sample, current = facts.sample(SocketsSample), _numbers(facts, "net.ipv4.tcp_mem")
    if sample is None or not sample.page_bytes or len(current) != 3:  # noqa: PLR2004
        return
    most = min(2 * current[2], part_of_memory(facts, 5 * sample.page_bytes))
    if most > current[2]:
        yield from sysctl(
            facts,
            "net.ipv4.tcp_mem",
            # In the proportions that the kernel chooses itself: 3/4, 1 and 3/2 of one size.
            f"{most // 2} {most * 2 // 3} {most}",
            rule="tcp_memory",
            resource="network",
            direction="raise",
            why="Connections then get their buffers instead of being held back or killed.",
            risk="other programs have that much less memory when connections use it",
            source="Documentation/networking/ip-sysctl.rst, tcp_mem",
        )


def more_ports(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise a wider range of ports, and to use those in TIME_WAIT again.

    Args:
        facts: What is known of the host.

    Yields:
        Settings.

    """
    current, sample = _numbers(facts, "net.ipv4.ip_local_port_range"), facts.sample(SocketsSample)
    if len(current) == 2:  # noqa: PLR2004
        yield from sysctl(
            facts,
            "net.ipv4.ip_local_port_range",
            f"{min(current[0], 15_000)} {max(current[1], 65_000)}",
            rule="ephemeral_ports",
            resource="network",
            why="More outgoing connections to one destination are possible at a time.",
            risk="collides with services that listen on a port of the range",
            source="Documentation/networking/ip-sysctl.rst, ip_local_port_range",
        )
    if sample and 2 * (sample.time_wait or 0) > (sample.ports_to_one or 0):
        yield from sysctl(
            facts,
            "net.ipv4.tcp_tw_reuse",
            1,
            rule="ephemeral_ports",
            resource="network",
            why="Outgoing connections may then take a port that is in TIME_WAIT after a second.",
            risk="safe with TCP timestamps, which both sides must have",
            source="Documentation/networking/ip-sysctl.rst, tcp_tw_reuse",
        )


def _numbers(facts: Facts, name: str) -> tuple[int, ...]:
    """Read a setting of several numbers."""
    sample = facts.sample(SysctlSample)
    text = sample.values.get(name) if sample else None
    return tuple(int(word) for word in (text or "").split() if word.isdigit())
