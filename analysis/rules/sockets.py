"""Rules on sockets: queues of listeners, ports, leaks, unread data."""

from __future__ import annotations

from dataclasses import replace

from analysis.culprits import by_sockets
from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.rules.tcp_advice import (
    listeners,
    longer_queue,
    more_ports,
    more_socket_memory,
    slow_reader,
)
from analysis.text import percent
from analysis.use.network import listen_fill, saturation
from collectors.socket_owners import Crowd
from collectors.sockets import SocketsSample

_LEAST_WAITING = 10
_LEAST_CLOSE_WAIT = 100
_MANY_CLOSE_WAIT = 1_000


@rule(
    resource="network",
    cause="listen_queue",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.70,
    critical=0.95,
    source="a queue that is mostly full at a random instant overflows at the next burst",
    gate="10 waiting connections",
    explanation="A listener's queue of connections to accept is nearly full.",
    next_steps=("ss -ltn: Recv-Q against Send-Q",),
    advise=longer_queue,
)
def listen_queue(facts: Facts) -> Signal | None:
    """Watch the fullest listener's queue."""
    sample = facts.sample(SocketsSample)
    fill = listen_fill(sample, _LEAST_WAITING) if sample else None
    if fill is None:
        return None
    return Signal(
        value=fill,
        message=f"The fullest listener's queue is {percent(fill)} full",
        evidence=(Evidence("queue", fill, "ratio", "sock_diag idiag_rqueue, idiag_wqueue"),),
        culprits=listeners(facts),
    )


@rule(
    resource="network",
    cause="socket_memory",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.67,
    critical=0.95,
    source="Documentation/networking/ip-sysctl.rst, tcp_mem: from its second number on, two thirds "
    "of the third unless set, buffers are held small; at the third connections are killed",
    explanation="TCP buffers take nearly all memory they may; then connections stall or die. Named "
    "is who holds the sockets in which most lies, unread or not yet taken by their peers.",
    next_steps=("cat /proc/net/sockstat", "ss -tm"),
    advise=more_socket_memory,
)
def tcp_memory(facts: Facts) -> Signal | None:
    """Watch memory of TCP sockets against tcp_mem."""
    signal = _share(facts, "tcp_memory", "TCP sockets hold {} of the memory they may")
    sample = facts.sample(SocketsSample)
    crowd = sample.crowds.get("queued") if sample else None
    return signal and replace(
        signal, evidence=(*signal.evidence, *_ownerless(crowd)), culprits=by_sockets(crowd)
    )


@rule(
    resource="network",
    cause="udp_loss",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.75,
    critical=0.95,
    source="Documentation/networking/ip-sysctl.rst, udp_mem: at its maximum packets are dropped",
    explanation="UDP packets that wait to be read take nearly all memory they may.",
    next_steps=("cat /proc/net/sockstat", "ss -uamn"),
)
def udp_memory(facts: Facts) -> Signal | None:
    """Watch memory of UDP sockets against udp_mem."""
    return _share(facts, "udp_memory", "UDP sockets hold {} of the memory they may")


@rule(
    resource="network",
    cause="socket_memory",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.50,
    critical=0.90,
    source="netdata tcp_orphans (25 %, 50 %), raised: orphans of a busy proxy are ordinary",
    explanation="Closed connections that still have data to send pile up.",
    next_steps=("ss -tan state fin-wait-1",),
)
def tcp_orphans(facts: Facts) -> Signal | None:
    """Watch sockets without a process against their limit."""
    return _share(facts, "tcp_orphans", "Orphaned sockets are {} of the most there may be")


@rule(
    resource="network",
    cause="ephemeral_ports",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.80,
    critical=0.95,
    source="connect(2) fails with EADDRNOTAVAIL when all ports to a service are taken",
    explanation="Nearly all ports for connections to one service are taken. A connection in "
    "TIME_WAIT keeps its port and belongs to no process any more: named are the service, and the "
    "processes that still have connections to it.",
    next_steps=("ss -tan | awk '{print $5}' | sort | uniq -c | sort -rn | head",),
    advise=more_ports,
)
def ephemeral_ports(facts: Facts) -> Signal | None:
    """Watch connections to one service against the ports for outgoing ones."""
    sample, share = facts.sample(SocketsSample), saturation(facts)["ephemeral_ports"]
    if share is None or sample is None:
        return None
    waiting, crowd = sample.time_wait, sample.crowds.get("ports")
    service = crowd.remote if crowd and crowd.remote else "one service"
    return Signal(
        value=share,
        message=f"Up to {sample.ports_to_one} of {sample.ports} ports are taken by connections to "
        f"{service}; {waiting} sockets are in TIME_WAIT",
        evidence=(
            Evidence("ports taken", share, "ratio", "sock_diag, sockstat, ip_local_port_range"),
            Evidence("in TIME_WAIT", waiting, "sockets", "/proc/net/sockstat TCP tw"),
        ),
        culprits=_dialers(crowd, share),
    )


def _dialers(crowd: Crowd | None, share: float) -> tuple[Culprit, ...]:
    """Name the service that most ports go to, and who still has connections to it."""
    if crowd is None or crowd.remote is None:
        return ()
    service = Culprit(
        "remote", crowd.remote, value=float(crowd.sockets), unit="connections", share=share
    )
    # Few may be left of many that have ended: they still tell who makes them.
    return (service, *by_sockets(crowd, least=0.0))


def _ownerless(crowd: Crowd | None) -> tuple[Evidence, ...]:
    """Tell how many sockets have no process that is known."""
    if crowd is None or not crowd.unowned:
        return ()
    return (Evidence("of an unknown process", crowd.unowned, "sockets", "/proc/PID/fd"),)


@rule(
    resource="network",
    cause="time_wait",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.80,
    critical=None,
    source="Documentation/networking/ip-sysctl.rst, tcp_max_tw_buckets: beyond it TIME_WAIT is "
    "cut short",
    explanation="So many connections are opened and closed that the kernel cuts TIME_WAIT short.",
    next_steps=(
        "ss -tan state time-wait | awk '{print $4}' | sort | uniq -c | sort -rn | head",
        "Reuse connections (keep-alive, pools).",
    ),
)
def time_wait(facts: Facts) -> Signal | None:
    """Watch sockets in TIME_WAIT against their limit."""
    return _share(facts, "time_wait", "Sockets in TIME_WAIT are {} of the most there may be")


def _share(facts: Facts, name: str, sentence: str) -> Signal | None:
    """Read how near a limit is."""
    value = saturation(facts).get(name)
    if value is None:
        return None
    evidence = Evidence(name.replace("_", " "), value, "ratio", "/proc/net/sockstat, sysctl")
    return Signal(value, sentence.format(percent(value)), evidence=(evidence,))


@rule(
    resource="network",
    cause="socket_leak",
    kind=Kind.SATURATION,
    unit="sockets",
    warning=_LEAST_CLOSE_WAIT,
    critical=10_000,
    scale=Scale.LOG,
    source="RFC 9293: CLOSE_WAIT lasts until the program closes; hundreds that do not go away "
    "are a leak",
    gate="growing since the sweep before, or more than 1,000",
    explanation="Peers have closed connections that a program here never closes: it leaks them.",
    next_steps=("ss -tanp state close-wait",),
)
def close_wait(facts: Facts) -> Signal | None:
    """Watch connections that the other side closed and this side did not."""
    sample, earlier = facts.sample(SocketsSample), facts.before(SocketsSample)
    if sample is None or sample.listening is None:
        return None
    now = sample.states.get("close_wait", 0)
    before = earlier.states.get("close_wait", 0) if earlier else 0
    stuck = now > _MANY_CLOSE_WAIT or (earlier is not None and now >= before > 0)
    crowd = sample.crowds.get("close_wait")
    return Signal(
        value=float(now) if stuck else 0.0,
        message=f"{now} connections wait to be closed by this side",
        evidence=(
            Evidence("in CLOSE_WAIT", now, "sockets", "sock_diag state close-wait"),
            *_ownerless(crowd),
        ),
        culprits=by_sockets(crowd),
    )


@rule(
    resource="network",
    cause="slow_reader",
    kind=Kind.SATURATION,
    unit="sockets",
    warning=20,
    critical=None,
    source="64 KiB unread is a full initial receive window (tcp_rmem default 128 KiB, half of "
    "it window)",
    gate="at least a tenth of all established connections",
    explanation="Programs leave received data lying: they are too slow or stuck.",
    next_steps=("ss -tnp | sort -k2 -n | tail",),
    advise=slow_reader,
)
def unread_data(facts: Facts) -> Signal | None:
    """Watch connections with much unread data."""
    sample = facts.sample(SocketsSample)
    if sample is None or sample.unread is None:
        return None
    established, crowd = sample.states.get("established", 0), sample.crowds.get("unread")
    return Signal(
        value=float(sample.unread) if sample.unread * 10 >= established else 0.0,
        message=f"{sample.unread} of {established} connections have 64 KiB or more unread",
        evidence=(
            Evidence("with unread data", sample.unread, "sockets", "sock_diag"),
            *_ownerless(crowd),
        ),
        culprits=by_sockets(crowd),
    )
