"""Use of the network: interfaces, sockets, connection tracking."""

from __future__ import annotations

from analysis.model import Facts
from analysis.registry import use
from analysis.use_model import DeviceUse, ErrorCount, ResourceUse
from collectors.conntrack import ConntrackSample
from collectors.model import UNKNOWN
from collectors.network import Interface, NetworkSample
from collectors.rates import ratio
from collectors.sockets import SocketsSample
from collectors.softnet import SoftnetSample
from collectors.sysctl import SysctlSample
from collectors.tcp import TcpSample

_COUNTERS = {
    "tcp_retransmits": "Tcp.RetransSegs",
    "tcp_bad_segments": "Tcp.InErrs",
    "listen_overflows": "TcpExt.ListenOverflows",
    "listen_drops": "TcpExt.ListenDrops",
    "tcp_memory_aborts": "TcpExt.TCPAbortOnMemory",
    "udp_receive_buffer": "Udp.RcvbufErrors",
    "udp_send_buffer": "Udp.SndbufErrors",
}
_OF_INTERFACES = ("rx_errors", "tx_errors", "rx_dropped", "tx_dropped")
MOST_DEVICES = 32


@use("network")
def network(facts: Facts) -> ResourceUse | None:
    """
    Tell how busy the links are, what waits, and what was lost.

    Args:
        facts: What is known of the host.

    Returns:
        Utilization of the busiest link; interfaces other than loopback as devices,
        at most 32 and physical ones first; sockets, connection tracking and ports
        as saturation; None when the interfaces are unknown.

    Source:
        /proc/net/{dev,snmp,netstat,softnet_stat,sockstat}, sock_diag(7),
        /proc/sys/net/netfilter; the USE method, Brendan Gregg.

    """
    sample = facts.sample(NetworkSample)
    if sample is None:
        return None
    links = [i for name, i in sample.interfaces.items() if name != "lo"]
    known = [i.utilization for i in links if i.utilization.mean is not None]
    # Virtual ones come and go with containers, so they are taken by name, not by load.
    shown = sorted(links, key=lambda i: (not i.physical, i.name))[:MOST_DEVICES]
    return ResourceUse(
        utilization=max(known, key=lambda u: u.mean or 0.0, default=UNKNOWN),
        saturation=saturation(facts),
        errors=_errors(facts),
        devices={i.name: _device(i) for i in shown},
    )


def _device(interface: Interface) -> DeviceUse:
    """Tell an interface's use."""
    kinds = {n: ErrorCount(interface.totals.get(n), interface.increases.get(n))
             for n in _OF_INTERFACES}  # fmt: skip
    return DeviceUse(utilization=interface.utilization, errors=kinds)


def _errors(facts: Facts) -> dict[str, ErrorCount]:
    """Count what the protocols lost."""
    tcp, soft = facts.sample(TcpSample), facts.sample(SoftnetSample)
    track = facts.sample(ConntrackSample)
    counts = {
        kind: ErrorCount(tcp.totals.get(name), tcp.increases.get(name)) if tcp else ErrorCount()
        for kind, name in _COUNTERS.items()
    }
    counts["backlog_drops"] = ErrorCount(soft.dropped_total, soft.dropped) if soft else ErrorCount()
    counts["conntrack_drops"] = (
        ErrorCount(track.totals.get("drop"), track.increases.get("drop")) if track else ErrorCount()
    )
    return counts


def saturation(facts: Facts) -> dict[str, float | None]:
    """
    Tell how near the network's limits are.

    Args:
        facts: What is known of the host.

    Returns:
        dict limit -> share of it in use [ratio].

    Source:
        sockstat against tcp_mem, udp_mem, tcp_max_orphans and tcp_max_tw_buckets;
        nf_conntrack_count against _max; listeners' queues; connections to one
        service against ip_local_port_range.

    """
    sockets = facts.sample(SocketsSample) or SocketsSample()
    track = facts.sample(ConntrackSample)
    against = {
        "tcp_memory": (sockets.tcp_memory_pages, "net.ipv4.tcp_mem"),
        "udp_memory": (sockets.udp_memory_pages, "net.ipv4.udp_mem"),
        "tcp_orphans": (sockets.orphans, "net.ipv4.tcp_max_orphans"),
        "time_wait": (sockets.time_wait, "net.ipv4.tcp_max_tw_buckets"),
    }
    return {
        "conntrack": ratio(track.count, track.max) if track else None,
        "listen_queue": listen_fill(sockets),
        "ephemeral_ports": ratio(sockets.ports_to_one, sockets.ports),
        **{name: ratio(value, setting(facts, limit)) for name, (value, limit) in against.items()},
    }


def listen_fill(sockets: SocketsSample, least: int = 1) -> float | None:
    """
    Tell how full the fullest listener's queue is.

    Args:
        sockets: The sockets.
        least: Listeners with fewer waiting connections are left out.

    Returns:
        Waiting connections by the most there may be [ratio]; None when unknown.

    Source:
        idiag_rqueue and idiag_wqueue of listening sockets, sock_diag(7); a queue
        is full one connection beyond its backlog, sk_acceptq_is_full() in
        include/net/sock.h.

    """
    if sockets.listening is None:
        return None
    fills = (s.queue / (s.backlog + 1) for s in sockets.listeners if s.queue >= least)
    return max(fills, default=0.0)


def setting(facts: Facts, name: str) -> int | None:
    """
    Read a kernel setting that is a number.

    Args:
        facts: What is known of the host.
        name: The sysctl, dotted.

    Returns:
        The last of its numbers, which is the maximum where there are several;
        None when unknown.

    """
    sample = facts.sample(SysctlSample)
    text = sample.values.get(name) if sample else None
    last = text.split()[-1:] if text else []
    return int(last[0]) if last and last[0].isdigit() else None
