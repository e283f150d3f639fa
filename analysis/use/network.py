"""Use of the network: interfaces, sockets, connection tracking."""

from __future__ import annotations

from analysis.model import DeviceUse, ErrorCount, Facts, ResourceUse
from analysis.registry import use
from collectors.conntrack import ConntrackSample
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


@use("network")
def network(facts: Facts) -> ResourceUse | None:
    """
    Tell how busy the links are, what waits, and what was lost.

    Args:
        facts: What is known of the host.

    Returns:
        Interfaces other than loopback as devices; sockets, connection tracking
        and ports as saturation; None when the interfaces are unknown.

    Source:
        /proc/net/{dev,snmp,netstat,softnet_stat,sockstat}, sock_diag(7),
        /proc/sys/net/netfilter; the USE method, Brendan Gregg.

    """
    sample = facts.sample(NetworkSample)
    if sample is None:
        return None
    devices = {n: _device(i) for n, i in sample.interfaces.items() if n != "lo"}
    return ResourceUse(saturation=saturation(facts), errors=_errors(facts), devices=devices)


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
        sockstat against tcp_mem, tcp_max_orphans and tcp_max_tw_buckets;
        nf_conntrack_count against _max; listeners' queues.

    """
    sockets, track = facts.sample(SocketsSample), facts.sample(ConntrackSample)
    return {
        "conntrack": ratio(track.count, track.max) if track else None,
        "listen_queue": listen_fill(sockets),
        "tcp_memory": _against(facts, sockets.tcp_memory_pages, "net.ipv4.tcp_mem")
        if sockets
        else None,
        "tcp_orphans": _against(facts, sockets.orphans, "net.ipv4.tcp_max_orphans")
        if sockets
        else None,
        "time_wait": _against(facts, sockets.time_wait, "net.ipv4.tcp_max_tw_buckets")
        if sockets
        else None,
        "ephemeral_ports": ports(facts),
    }


def listen_fill(sockets: SocketsSample | None) -> float | None:
    """
    Tell how full the fullest listener's queue is.

    Args:
        sockets: The sockets.

    Returns:
        Waiting connections by backlog [ratio]; None when unknown.

    Source:
        idiag_rqueue and idiag_wqueue of listening sockets, sock_diag(7).

    """
    if sockets is None or sockets.listening is None:
        return None
    return max((s.queue / max(s.backlog, 1) for s in sockets.listeners), default=0.0)


def ports(facts: Facts) -> float | None:
    """
    Tell how many of the ports for outgoing connections are taken, at most.

    Args:
        facts: What is known of the host.

    Returns:
        Connections and TIME_WAIT sockets by the width of the range [ratio]. An
        upper bound: one port serves connections to different destinations.

    Source:
        net.ipv4.ip_local_port_range, sockstat, sock_diag(7).

    """
    sockets, settings = facts.sample(SocketsSample), facts.sample(SysctlSample)
    text = settings.values.get("net.ipv4.ip_local_port_range") if settings else None
    bounds = [int(b) for b in (text or "").split() if b.isdigit()]
    if sockets is None or sockets.time_wait is None or len(bounds) != 2:  # noqa: PLR2004
        return None
    open_ = sum(n for state, n in sockets.states.items() if state not in ("listen", "close"))
    return ratio(open_ + sockets.time_wait, bounds[1] - bounds[0] + 1)


def _against(facts: Facts, value: int | None, setting: str) -> float | None:
    """Hold a number against the last number of a setting, which is its maximum."""
    settings = facts.sample(SysctlSample)
    text = settings.values.get(setting) if settings else None
    limit = text.split()[-1] if text else ""
    return ratio(value, int(limit)) if limit.isdigit() else None
