"""Causes that lie in links, queues and sockets."""

from __future__ import annotations

from analysis.clues import CPUS_FULL, SWAPPING, cpus_below
from analysis.model import Facts
from analysis.pattern import Clue, Pattern
from collectors.sysctl import SysctlSample

_LONG_WAY = 0.05  # [s] of round trip
_SLOW_CONNECTIONS = ("tcp_retransmits", "tcp_connect_latency")
_LOCAL_LOSS = Clue(
    "packets are lost in this host",
    ("receive_overruns", "backlog_drops", "conntrack_drops", "queue_drops", "card_discards"),
)
_LINK = Clue("a link damages packets", ("link_errors", "tcp_bad_segments", "link_flaps"))


def _loss_slows(facts: Facts) -> bool | None:
    """Tell whether connections use cubic or reno, which take each loss for congestion."""
    sample = facts.sample(SysctlSample)
    name = sample.values.get("net.ipv4.tcp_congestion_control") if sample else None
    return None if name is None else name in ("cubic", "reno")


def _long_way(facts: Facts) -> bool | None:
    """Tell whether half the round trips take long."""
    seen = facts.probe("tcprtt")
    if seen is None or not seen.histograms:
        return None
    middle = seen.histograms[0].p50
    return None if middle is None else middle >= _LONG_WAY


PATTERNS = (
    Pattern(
        "packet_loss",
        "network",
        "packets to or from others get lost on the way",
        seen=Clue("segments are sent again, or connections need a second try", _SLOW_CONNECTIONS),
        speaks_against=(
            _LOCAL_LOSS,
            _LINK,
            Clue("a link is full", ("link_utilization",)),
            Clue("a listener does not keep up", ("listen_overflows",)),
        ),
        explains=("tcp_connect_latency",),
    ),
    Pattern(
        "loss_on_a_long_way",
        "network",
        "losses on a long way make connections far slower than the link",
        seen=Clue("segments are sent again", ("tcp_retransmits",)),
        must=(
            Clue("round trips take long", fact=_long_way),
            Clue("the congestion control takes losses for congestion", fact=_loss_slows),
        ),
        speaks_against=(_LOCAL_LOSS, _LINK),
        explains=("tcp_connect_latency",),
    ),
    Pattern(
        "bad_link",
        "network",
        "a link damages packets or comes and goes",
        seen=_LINK,
        explains=_SLOW_CONNECTIONS,
    ),
    Pattern(
        "link_saturated",
        "network",
        "a link carries as much as it can",
        seen=Clue("a link is full", ("link_utilization",)),
        speaks_for=(Clue("segments are sent again", ("tcp_retransmits",)),),
        explains=(*_SLOW_CONNECTIONS, "queue_drops"),
    ),
    Pattern(
        "receive_overrun",
        "network",
        "packets arrive faster than this host takes them, and are lost",
        seen=_LOCAL_LOSS,
        speaks_for=(Clue("a CPU is busy with interrupts", ("interrupt_load", "backlog_squeezed")),),
        explains=(*_SLOW_CONNECTIONS, "udp_receive_buffer"),
    ),
    Pattern(
        "nic_hang",
        "network",
        "a network device hangs and is reset",
        seen=Clue("a device was reset", ("network_device_hangs",)),
        explains=(*_SLOW_CONNECTIONS, "link_flaps"),
    ),
    Pattern(
        "slow_acceptor",
        "network",
        "a server does not take its connections as fast as they come",
        seen=Clue(
            "connections wait to be accepted", ("listen_overflows", "listen_queue", "listen_drops")
        ),
        speaks_for=(Clue("the CPUs have time: its threads wait", fact=cpus_below(0.7)),),
        speaks_against=(CPUS_FULL, SWAPPING),
        explains=_SLOW_CONNECTIONS,
    ),
    Pattern(
        "close_wait_leak",
        "network",
        "a program does not close connections that its peers have ended",
        seen=Clue("connections stay half closed", ("close_wait",)),
        speaks_for=(
            Clue("a process has hardly any descriptors left", ("process_file_descriptors",)),
        ),
        explains=("process_file_descriptors", "file_descriptors"),
    ),
    Pattern(
        "ports_exhausted",
        "network",
        "the ports for outgoing connections are nearly used up",
        seen=Clue("hardly any ports are left", ("ephemeral_ports",)),
        speaks_for=(Clue("many connections wait for their end", ("time_wait",)),),
        explains=("time_wait", "tcp_connect_latency"),
    ),
    Pattern(
        "time_wait_full",
        "network",
        "so many short connections end that the table of ended ones is nearly full",
        seen=Clue("many connections wait for their end", ("time_wait",)),
    ),
    Pattern(
        "udp_overrun",
        "network",
        "a program does not read its datagrams as fast as they come",
        seen=Clue("datagrams are dropped", ("udp_receive_buffer", "udp_memory", "udp_bad_packets")),
        speaks_against=(CPUS_FULL,),
    ),
    Pattern(
        "udp_send_overrun",
        "network",
        "a program sends datagrams faster than they can leave",
        seen=Clue("datagrams find no room to be sent", ("udp_send_buffer",)),
    ),
    Pattern(
        "conntrack_full",
        "network",
        "the table of tracked connections is nearly full",
        seen=Clue("hardly any entries are left", ("conntrack_capacity", "conntrack_drops")),
        explains=(*_SLOW_CONNECTIONS, "conntrack_drops"),
    ),
    Pattern(
        "socket_memory",
        "network",
        "the memory for sockets is nearly used up",
        seen=Clue(
            "sockets are squeezed",
            ("tcp_memory", "tcp_memory_aborts", "tcp_orphans", "tcp_out_of_memory"),
        ),
        explains=("tcp_receive_drops", "tcp_receive_squeezed", *_SLOW_CONNECTIONS),
    ),
    Pattern(
        "small_buffers",
        "network",
        "receive buffers are too small for what arrives",
        seen=Clue("data that arrived is dropped", ("tcp_receive_drops", "tcp_receive_squeezed")),
        speaks_against=(
            Clue("the memory for all sockets is used up", ("tcp_memory",)),
            Clue("a program does not read", ("unread_data",)),
        ),
        explains=("tcp_retransmits",),
    ),
    Pattern(
        "slow_reader",
        "network",
        "a program does not read what arrives for it",
        seen=Clue("data lies unread", ("unread_data",)),
        explains=("tcp_receive_drops", "tcp_receive_squeezed", "tcp_memory"),
    ),
    Pattern(
        "neighbours_full",
        "network",
        "the table of neighbours is full, so some cannot be reached",
        seen=Clue("hardly any entries are left", ("neighbour_table",)),
        explains=_SLOW_CONNECTIONS,
    ),
)
