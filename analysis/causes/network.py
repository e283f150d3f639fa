"""Causes that lie in links, queues and sockets."""

from __future__ import annotations

from analysis.clues import CPUS_FULL, SWAPPING, cpus_below
from analysis.model import Facts
from analysis.pattern import Clue, Pattern
from collectors.sysctl import SysctlSample
from collectors.tcp import TcpSample

_LONG_WAY = 0.05  # [s] of round trip
_AT_ONCE = 0.1  # [s]: an answer that nobody calls late, see the rule dns_latency
_LEAST_CONNECTS = 20
_FAR_FASTER = 4.0
_MOST = 0.5
_SLOW_CONNECTIONS = ("tcp_retransmits", "tcp_connect_latency")
_NAMES = ("dns_latency", "dns_unanswered")
# What comes of packets that get lost, wherever that is.
_LOSSES = (*_SLOW_CONNECTIONS, "tcp_out_of_order", *_NAMES)
_LOCAL_LOSS = Clue(
    "packets are lost in this host",
    ("receive_overruns", "backlog_drops", "conntrack_drops", "queue_drops", "card_discards"),
)
_LINK = Clue("a link damages packets", ("link_errors", "tcp_bad_segments", "link_flaps"))
_LINK_FULL = Clue("a link is full", ("link_utilization",))
_PROVIDER = Clue("the provider holds packets back", ("network_allowance",))


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


def _connects_at_once(facts: Facts) -> bool | None:
    """Tell whether nine in ten connections to others are made without a wait."""
    seen = facts.probe("tcpconnlat")
    slowest = [h.p90 for h in seen.histograms if h.p90 is not None] if seen else []
    if seen is None or sum(h.count for h in seen.histograms) < _LEAST_CONNECTS or not slowest:
        return None
    return max(slowest) < _AT_ONCE


def _another_answers(facts: Facts) -> bool | None:
    """Tell whether a name server answers far faster than another one, or alone."""
    seen = facts.probe("dnslat")
    if seen is None:
        return None
    means = {row["server"]: row["seconds"] / row["count"] for row in seen.tops.get("server", ())}
    silent = {row["server"] for row in seen.tops.get("silent", ())} - {*means}
    if len(means) + len(silent) < 2:  # noqa: PLR2004  nothing to compare with
        return None
    return bool(means) and (bool(silent) or min(means.values()) * _FAR_FASTER < max(means.values()))


def _cookies_in_vain(facts: Facts) -> bool | None:
    """Tell whether those who ask for connections hardly ever go on to make them."""
    sample = facts.sample(TcpSample)
    sent = sample.per_second("TcpExt.SyncookiesSent") if sample else None
    back = sample.per_second("TcpExt.SyncookiesRecv") if sample else None
    return None if not sent or back is None else back < _MOST * sent


def _cut_off(facts: Facts) -> bool | None:
    """Tell whether most resets end a connection whose data somebody had still to get or read."""
    sample = facts.sample(TcpSample)
    resets = sample.per_second("Tcp.OutRsts") if sample else None
    cut = sample.per_second("TcpExt.TCPAbortOnClose", "TcpExt.TCPAbortOnData") if sample else None
    return None if not resets or cut is None else cut >= _MOST * resets


def _refused(facts: Facts) -> bool | None:
    """Tell whether most resets answer somebody who has no connection."""
    cut = _cut_off(facts)
    return None if cut is None else not cut


PATTERNS = (
    Pattern(
        "packet_loss",
        "network",
        "packets to or from others get lost on the way",
        seen=Clue(
            "segments are sent again or come out of order, or connections need a second try",
            (*_SLOW_CONNECTIONS, "tcp_out_of_order"),
        ),
        speaks_against=(
            _LOCAL_LOSS,
            _LINK,
            _LINK_FULL,
            _PROVIDER,
            Clue("a listener does not keep up", ("listen_overflows",)),
        ),
        explains=("tcp_connect_latency", *_NAMES),
    ),
    Pattern(
        "slow_name_server",
        "network",
        "a name server answers late or not at all",
        seen=Clue("programs wait for name servers", _NAMES),
        speaks_for=(
            Clue("another name server answers far faster", fact=_another_answers),
            Clue("connections to others are made at once", fact=_connects_at_once),
        ),
        speaks_against=(
            Clue(
                "other packets get lost as well",
                ("tcp_retransmits", "tcp_connect_latency", "tcp_out_of_order"),
            ),
            _LOCAL_LOSS,
            _LINK,
            _LINK_FULL,
            _PROVIDER,
            Clue("programs wait long for a CPU", (*CPUS_FULL.rules, "run_queue_latency")),
        ),
    ),
    Pattern(
        "provider_limit",
        "network",
        "the provider holds packets back, because this machine has used up its allowance",
        seen=_PROVIDER,
        explains=_LOSSES,
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
        speaks_against=(_LOCAL_LOSS, _LINK, _PROVIDER),
        explains=("tcp_connect_latency",),
    ),
    Pattern(
        "bad_link",
        "network",
        "a link damages packets or comes and goes",
        seen=_LINK,
        explains=_LOSSES,
    ),
    Pattern(
        "link_saturated",
        "network",
        "a link carries as much as it can",
        seen=_LINK_FULL,
        speaks_for=(Clue("segments are sent again", ("tcp_retransmits",)),),
        explains=(*_LOSSES, "queue_drops"),
    ),
    Pattern(
        "receive_overrun",
        "network",
        "packets arrive faster than this host takes them, and are lost",
        seen=_LOCAL_LOSS,
        speaks_for=(Clue("a CPU is busy with interrupts", ("interrupt_load", "backlog_squeezed")),),
        explains=(*_LOSSES, "udp_receive_buffer"),
    ),
    Pattern(
        "nic_hang",
        "network",
        "a network device hangs and is reset",
        seen=Clue("a device was reset", ("network_device_hangs",)),
        explains=(*_LOSSES, "link_flaps"),
    ),
    Pattern(
        "slow_acceptor",
        "network",
        "a server does not take its connections as fast as they come",
        seen=Clue(
            "connections wait to be accepted", ("listen_overflows", "listen_queue", "listen_drops")
        ),
        speaks_for=(Clue("the CPUs have time: its threads wait", fact=cpus_below(0.7)),),
        speaks_against=(
            CPUS_FULL,
            SWAPPING,
            Clue("most who ask for connections do not go on", fact=_cookies_in_vain),
        ),
        # Connections that are not accepted keep their places in the queue before that one.
        explains=(*_SLOW_CONNECTIONS, "syn_flood"),
    ),
    Pattern(
        "syn_flood",
        "network",
        "more connections are asked for than a listener has room for",
        seen=Clue("a listener's queue of half-open connections was full", ("syn_flood",)),
        speaks_for=(Clue("most who ask for connections do not go on", fact=_cookies_in_vain),),
        speaks_against=(
            Clue("connections wait to be accepted", ("listen_overflows", "listen_queue")),
        ),
        explains=("listen_drops",),
    ),
    Pattern(
        "nobody_listens",
        "network",
        "others connect to where nobody listens, and are refused",
        seen=Clue("connections are refused or cut off", ("tcp_resets",)),
        must=(Clue("most resets go to somebody who has no connection", fact=_refused),),
        speaks_for=(Clue("a program crashed or was killed", ("program_crashes", "oom_kill")),),
    ),
    Pattern(
        "program_cuts_off",
        "network",
        "a program closes connections before it has read or sent all",
        seen=Clue("connections are refused or cut off", ("tcp_resets",)),
        must=(Clue("most resets cut a connection off", fact=_cut_off),),
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
        explains=(*_SLOW_CONNECTIONS, "conntrack_drops", *_NAMES),
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
        explains=(*_SLOW_CONNECTIONS, *_NAMES),
    ),
)
