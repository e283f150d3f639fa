"""Rules on TCP and UDP: loss, queues that overflow, memory, leaks."""

from __future__ import annotations

from dataclasses import replace

from analysis.culprits import by_sockets, by_udp_losses
from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.rules.tcp_advice import (
    find_loss,
    larger_buffers,
    listeners,
    longer_queue,
    more_socket_memory,
    slow_reader,
)
from analysis.shares import share
from analysis.text import number, percent
from collectors.sockets import SocketsSample
from collectors.tcp import TcpSample

_LEAST_RETRANSMITS = 5.0  # [1/s]
_LEAST_DAMAGED = 5.0  # [1/s]
_REMOTES = 3


@rule(
    resource="network",
    cause="packet_loss",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.02,
    critical=0.10,
    scale=Scale.LOG,
    source="below 0.1 % is normal and above 1 % is loss (RFC 3155); 2 % leaves room for tail "
    "probes and reordering",
    gate="5 retransmits a second",
    explanation="Segments were lost on their way and had to be sent again.",
    next_steps=("ss -ti | grep -B1 retrans", "nstat -az | grep -i retrans"),
    advise=find_loss,
)
def tcp_retransmits(facts: Facts) -> Signal | None:
    """Watch segments sent again as a share of all sent."""
    sample = facts.sample(TcpSample)
    again = sample.per_second("Tcp.RetransSegs") if sample else None
    sent = sample.per_second("Tcp.OutSegs") if sample else None
    if again is None or sent is None:
        return None
    # OutSegs leaves retransmitted segments out (RFC 4022).
    share = again / (sent + again) if again >= _LEAST_RETRANSMITS else 0.0
    return Signal(
        value=share,
        message=f"{percent(share)} of TCP segments, {again:,.1f} per second, were sent again",
        evidence=(
            Evidence("retransmits", again, "1/s", "/proc/net/snmp Tcp RetransSegs"),
            Evidence("segments sent", sent, "1/s", "/proc/net/snmp Tcp OutSegs"),
        ),
        culprits=_remotes(facts),
    )


def _remotes(facts: Facts) -> tuple[Culprit, ...]:
    """Name the networks most segments were lost to, where a probe watched, and their port."""
    sample = facts.probe("tcpretrans")
    if sample is None or not sample.events:
        return ()
    port = next((f"port {row['remote_port']}" for row in sample.tops.get("remote_port", ())), None)
    return tuple(
        Culprit("remote", row["network"], value=row["count"], unit="retransmits",
                share=row["count"] / sample.events, detail=port)
        for row in sample.tops.get("network", ())[:_REMOTES]
    )  # fmt: skip


@rule(
    resource="network",
    cause="link_errors",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.001,
    critical=0.01,
    scale=Scale.LOG,
    source="RFC 4022, tcpInErrs: segments with a bad checksum or header; links check their own "
    "frames, so any that get through are damaged in a device's memory, a driver or a tunnel",
    gate="5 damaged segments a second",
    explanation="TCP segments arrive damaged although their frames were sound.",
    next_steps=("nstat -az TcpInErrs TcpInCsumErrors", "ethtool -k INTERFACE: checksum offloads"),
)
def tcp_bad_segments(facts: Facts) -> Signal | None:
    """Watch damaged TCP segments as a share of all received."""
    return share(
        facts,
        ("damaged", ("Tcp.InErrs",)),
        ("segments received", ("Tcp.InSegs",)),
        _LEAST_DAMAGED,
        "{share} of received TCP segments, {rate} per second, were damaged",
    )


def _rate_rule(facts: Facts, names: tuple[str, ...], sentence: str) -> Signal | None:
    """Read the rate of one or more counters."""
    sample = facts.sample(TcpSample)
    rate = sample.per_second(*names) if sample else None
    if rate is None:
        return None
    source = ", ".join(n.replace(".", " ") for n in names)
    return Signal(
        value=rate,
        message=sentence.format(number(rate)),
        evidence=(Evidence(source, rate, "1/s", f"/proc/net/snmp, netstat {source}"),),
    )


def _blaming_listeners(facts: Facts, signal: Signal | None) -> Signal | None:
    """Add the listeners with waiting connections."""
    if signal is None:
        return None
    return Signal(signal.value, signal.message, None, signal.evidence, listeners(facts))


def _blaming_readers(facts: Facts, signal: Signal | None) -> Signal | None:
    """Add who leaves data unread."""
    sample = facts.sample(SocketsSample)
    crowd = sample.crowds.get("unread") if sample else None
    return signal and replace(signal, culprits=by_sockets(crowd))


@rule(
    resource="network",
    cause="listen_queue",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=1,
    critical=50,
    scale=Scale.LOG,
    source="netdata 1m_tcp_accept_queue_overflows: any is a client that waits a second or more",
    explanation="Programs accept connections too slowly; clients' attempts are dropped.",
    next_steps=("ss -ltn: Recv-Q against Send-Q",),
    advise=longer_queue,
)
def listen_overflows(facts: Facts) -> Signal | None:
    """Watch connections refused because a listener's queue was full."""
    sentence = "{} connections per second were dropped because a listener's queue was full"
    return _blaming_listeners(facts, _rate_rule(facts, ("TcpExt.ListenOverflows",), sentence))


@rule(
    resource="network",
    cause="listen_queue",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=2,
    critical=100,
    scale=Scale.LOG,
    source="ListenDrops counts overflows and every other reason to drop a connection attempt",
    explanation="Connection attempts to this host's services were dropped.",
    next_steps=("ss -ltn", "nstat -az TcpExtListenDrops"),
    advise=longer_queue,
)
def listen_drops(facts: Facts) -> Signal | None:
    """Watch connection attempts dropped for any reason."""
    sentence = "{} connection attempts per second were dropped"
    return _blaming_listeners(facts, _rate_rule(facts, ("TcpExt.ListenDrops",), sentence))


@rule(
    resource="network",
    cause="socket_memory",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=0.1,
    critical=1,
    scale=Scale.LOG,
    source="each is a connection killed; a healthy host has none",
    explanation="Connections were killed because memory for sockets ran out.",
    next_steps=("cat /proc/net/sockstat", "sysctl net.ipv4.tcp_mem"),
    advise=more_socket_memory,
)
def tcp_memory_aborts(facts: Facts) -> Signal | None:
    """Watch connections killed for lack of socket memory."""
    return _rate_rule(
        facts, ("TcpExt.TCPAbortOnMemory",), "{} connections per second died for lack of memory"
    )


@rule(
    resource="network",
    cause="socket_memory",
    kind=Kind.SATURATION,
    unit="1/s",
    warning=20,
    critical=500,
    scale=Scale.LOG,
    source="TCPRcvQDrop, TCPOFODrop, RcvPruned and TCPZeroWindowDrop of "
    "Documentation/networking/snmp_counter.rst: data that had arrived is thrown away",
    explanation="Programs read too slowly for what arrives; received data was thrown away.",
    next_steps=("ss -tn | sort -k2 -n: large Recv-Q", "sysctl net.ipv4.tcp_rmem"),
    advise=slow_reader,
)
def tcp_receive_drops(facts: Facts) -> Signal | None:
    """Watch received TCP data that had no room."""
    kinds = ("TCPRcvQDrop", "TCPOFODrop", "RcvPruned", "TCPZeroWindowDrop")
    names = tuple(f"TcpExt.{kind}" for kind in kinds)
    sentence = "{} TCP segments per second had no room"
    return _blaming_readers(facts, _rate_rule(facts, names, sentence))


@rule(
    resource="network",
    cause="socket_memory",
    kind=Kind.SATURATION,
    unit="1/s",
    warning=100,
    critical=None,
    scale=Scale.LOG,
    source="PruneCalled of Documentation/networking/snmp_counter.rst: nothing is lost yet, so it "
    "only warns, and only when it is no burst",
    explanation="Programs read so slowly that the kernel keeps squeezing what has arrived.",
    next_steps=("ss -tn | sort -k2 -n: large Recv-Q", "nstat -az | grep -i prune"),
    advise=slow_reader,
)
def tcp_receive_squeezed(facts: Facts) -> Signal | None:
    """Watch how often full receive buffers are squeezed."""
    sentence = "{} times per second a full receive buffer was squeezed"
    return _blaming_readers(facts, _rate_rule(facts, ("TcpExt.PruneCalled",), sentence))


@rule(
    resource="network",
    cause="udp_loss",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=10,
    critical=500,
    scale=Scale.LOG,
    source="netdata 1m_ipv4_udp_receive_buffer_errors (10 a second)",
    explanation="Programs read UDP too slowly; packets that had arrived were dropped. Whose "
    "sockets dropped most in this window is told by the kernel's list of them; a socket that no "
    "process was found for is told by its port.",
    next_steps=("ss -uanm: d in skmem", "nstat -az UdpRcvbufErrors"),
    advise=larger_buffers,
)
def udp_receive_buffer(facts: Facts) -> Signal | None:
    """Watch UDP packets dropped because their socket's buffer was full."""
    names = ("Udp.RcvbufErrors", "Udp6.RcvbufErrors")
    sentence = "{} UDP packets per second were dropped at full sockets"
    signal = _rate_rule(facts, names, sentence)
    return signal and replace(signal, culprits=by_udp_losses(facts))


@rule(
    resource="network",
    cause="udp_loss",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=10,
    critical=500,
    scale=Scale.LOG,
    source="netdata 1m_ipv4_udp_send_buffer_errors (10 a second)",
    explanation="UDP packets could not be sent for lack of buffer.",
    next_steps=("nstat -az UdpSndbufErrors", "tc -s qdisc"),
)
def udp_send_buffer(facts: Facts) -> Signal | None:
    """Watch UDP packets that could not be sent."""
    names = ("Udp.SndbufErrors", "Udp6.SndbufErrors")
    return _rate_rule(facts, names, "{} UDP packets per second could not be sent")
