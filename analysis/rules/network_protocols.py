"""Rules on what TCP and UDP meet on the network: reordered, damaged and unwanted packets."""

from __future__ import annotations

from analysis.model import Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.shares import share
from analysis.text import number
from collectors.tcp import TcpSample

_LEAST_DAMAGED = 5.0  # [1/s]
_LEAST_DISORDER = 50.0  # [1/s]
_REFUSING = 0.1


@rule(
    resource="network",
    cause="packet_loss",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.10,
    critical=None,
    source="all segments that follow a lost one arrive out of order until it was sent again, ten "
    "and more in a round trip (initial window, RFC 6928): a tenth of them is about the 1 % of "
    "loss that RFC 3155 calls harmful",
    gate="50 segments out of order a second",
    explanation="Segments sent to this host get lost or overtake each other on their way; what "
    "others send to it is slow, though nothing is wrong with what it sends.",
    next_steps=("nstat -az TcpExtTCPOFOQueue TcpInSegs", "mtr from the other side to this host."),
)
def tcp_out_of_order(facts: Facts) -> Signal | None:
    """Watch received segments that came before their turn as a share of all."""
    return share(
        facts,
        ("out of order", ("TcpExt.TCPOFOQueue",)),
        ("segments received", ("Tcp.InSegs",)),
        _LEAST_DISORDER,
        "{share} of received TCP segments, {rate} per second, came out of order",
    )


@rule(
    resource="network",
    cause="refused_connections",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=100,
    critical=None,
    source="a host that is scanned refuses a few a second; a hundred, and every tenth segment, "
    "is a service that is down while its clients keep trying, or a flood. netdata's "
    "1m_ipv4_tcp_resets_sent compares with the host's own past, which two sweeps do not have",
    gate="one for every ten segments received",
    explanation="The host cuts off or refuses connections: nobody listens where others connect "
    "to, or a program gives up on its clients.",
    next_steps=(
        "tcpdump -nn 'tcp[tcpflags] & tcp-rst != 0' -c 50: which port?",
        "ss -ltn: does the service listen?",
    ),
)
def tcp_resets(facts: Facts) -> Signal | None:
    """Watch resets that this host sends."""
    sample = facts.sample(TcpSample)
    resets = sample.per_second("Tcp.OutRsts") if sample else None
    received = sample.per_second("Tcp.InSegs") if sample else None
    if sample is None or resets is None or received is None:
        return None
    return Signal(
        value=resets if resets >= _REFUSING * received else 0.0,
        message=f"{number(resets)} resets per second were sent: connections refused or cut off",
        evidence=(
            Evidence("resets sent", resets, "1/s", "/proc/net/snmp Tcp OutRsts"),
            Evidence("segments received", received, "1/s", "/proc/net/snmp Tcp InSegs"),
            Evidence(
                "attempts that failed",
                sample.per_second("Tcp.AttemptFails"),
                "1/s",
                "/proc/net/snmp Tcp AttemptFails",
            ),
        ),
    )


@rule(
    resource="network",
    cause="link_errors",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.001,
    critical=0.01,
    scale=Scale.LOG,
    source="as for tcp_bad_segments: links check their own frames, so any that get through are "
    "damaged in a device's memory, a driver or a tunnel. The rest of InErrors is dropped by socket "
    "filters on purpose, or for want of buffers, which has rules of its own",
    gate="5 damaged packets a second",
    explanation="UDP packets arrive damaged although their frames were sound.",
    next_steps=("nstat -az UdpInCsumErrors", "ethtool -k INTERFACE: checksum offloads"),
)
def udp_bad_packets(facts: Facts) -> Signal | None:
    """Watch UDP packets with a wrong checksum as a share of all received."""
    return share(
        facts,
        ("damaged", ("Udp.InCsumErrors", "Udp6.InCsumErrors")),
        ("packets received", ("Udp.InDatagrams", "Udp6.InDatagrams")),
        _LEAST_DAMAGED,
        "{share} of UDP packets, {rate} per second, were damaged",
        apart=True,
    )
