"""Rules on interfaces, packet backlogs and connection tracking."""

from __future__ import annotations

from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.rules.network_advice import (
    larger_budget,
    larger_neighbour_table,
    larger_ring,
    longer_backlog,
    more_connections,
)
from analysis.text import percent, size
from analysis.use.network import setting
from collectors.conntrack import ConntrackSample
from collectors.conntrack_peers import Peer
from collectors.neighbour import NeighbourSample
from collectors.network import Interface, NetworkSample
from collectors.nic import NicSample
from collectors.rates import ratio
from collectors.softnet import SoftnetSample

_LEAST_PACKETS = 100.0  # [1/s] below which a share of them says nothing
_LEAST_MISHAPS = 1.0  # [1/s] below which they are single events
_MOST_CAUSES = 3
_LEAST_TRACKED = 0.05  # share of all tracked connections below which nobody is named
# The kernel's sums: damaged frames of every kind are in rx_errors.
_FAULTS = ("rx_errors", "tx_errors")
_OVERRUNS = ("rx_fifo", "rx_missed_errors", "rx_over_errors", "tx_fifo")


@rule(
    resource="network",
    cause="network_saturation",
    kind=Kind.UTILIZATION,
    unit="ratio",
    warning=0.85,
    critical=0.97,
    source="netdata 1m_received_traffic_overflow (85 %, 90 %)",
    gate="the link tells its speed",
    explanation="A link carries nearly what it can.",
    next_steps=("sar -n DEV 1 5", "iftop or ss -ti: who sends?"),
)
def link_utilization(facts: Facts) -> Signal | None:
    """Watch the busiest link's busier direction against its speed."""
    sample = facts.sample(NetworkSample)
    if sample is None:
        return None
    shares = {n: i.utilization.mean for n, i in sample.interfaces.items()}
    known = {n: s for n, s in shares.items() if s is not None}
    if not known:
        return None
    worst = max(known, key=lambda n: known[n])
    link = sample.interfaces[worst]
    return Signal(
        value=known[worst],
        message=f"{worst} carries {percent(known[worst])} of {size(link.speed_bytes_per_second)}/s",
        subject=worst,
        evidence=(Evidence("utilization", known[worst], "ratio", f"/proc/net/dev {worst}, speed"),),
        culprits=(Culprit("interface", worst, value=known[worst], unit="ratio"),),
    )


def _packets(
    interface: Interface, kinds: tuple[str, ...], seconds: float
) -> tuple[float, float] | None:
    """
    Give the rate of some mishaps, and their share of all packets; None when unknown.

    Drivers count one mishap under several names, so the largest counter is
    taken and not their sum.
    """
    counts = [c for kind in kinds if (c := interface.increases.get(kind)) is not None]
    received, sent = interface.packets_received, interface.packets_sent
    if not counts or received is None or sent is None:
        return None
    total, rate = received + sent, max(counts) / seconds
    enough = total + rate >= _LEAST_PACKETS and rate >= _LEAST_MISHAPS
    return rate, rate / (total + rate) if enough else 0.0


def _worst(facts: Facts, kinds: tuple[str, ...], what: str) -> Signal | None:
    """Find the interface with the largest share of some mishaps."""
    sample = facts.sample(NetworkSample)
    if sample is None or sample.window_seconds <= 0:
        return None
    found = {
        name: mishaps
        for name, interface in sample.interfaces.items()
        if (mishaps := _packets(interface, kinds, sample.window_seconds)) is not None
    }
    if not found:
        return None
    worst = max(found, key=lambda n: found[n][1])
    rate, share = found[worst]
    return Signal(
        value=share,
        message=f"{worst} {what} {rate:,.1f} packets per second, {percent(share)} of all",
        subject=worst,
        evidence=(
            Evidence(what, rate, "1/s", f"/proc/net/dev {worst} {', '.join(kinds)}"),
            *_by_cause(facts, worst),
        ),
        culprits=(Culprit("interface", worst, value=rate, unit="1/s", share=share),),
    )


def _by_cause(facts: Facts, interface: str) -> tuple[Evidence, ...]:
    """Give what a card's driver says of its losses, the largest first."""
    sample = facts.sample(NicSample)
    card = sample.cards.get(interface) if sample else None
    steps = {n: s for n, s in card.losses_increase.items() if s} if card else {}
    ranked = sorted(steps, key=lambda n: (-steps[n], n))[:_MOST_CAUSES]
    return tuple(Evidence(n, steps[n], "packets", f"ethtool -S {interface}") for n in ranked)


@rule(
    resource="network",
    cause="link_errors",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.001,
    critical=0.01,
    scale=Scale.LOG,
    source="node-mixin NodeNetworkReceiveErrs (1 %); TCP halves its speed at about 0.1 % loss",
    gate="100 packets and one mishap a second",
    explanation="Packets arrive damaged: a cable, a transceiver or a duplex mismatch.",
    next_steps=("ethtool -S INTERFACE", "ethtool INTERFACE"),
)
def link_errors(facts: Facts) -> Signal | None:
    """Watch damaged packets as a share of all."""
    return _worst(facts, _FAULTS, "damaged or failed to send")


@rule(
    resource="network",
    cause="receive_overrun",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.001,
    critical=0.01,
    scale=Scale.LOG,
    source="as for damaged packets; rx_dropped is not used, since it counts harmless drops of "
    "unknown protocols (Documentation/networking/statistics.rst)",
    gate="100 packets and one mishap a second",
    explanation="Packets came faster than the host took them from the device.",
    next_steps=("ethtool -g INTERFACE", "Look at softirq load and packet steering."),
    advise=larger_ring,
)
def receive_overruns(facts: Facts) -> Signal | None:
    """Watch packets that the device had no room for, as a share of all."""
    return _worst(facts, _OVERRUNS, "had no room for")


@rule(
    resource="network",
    cause="link_flap",
    kind=Kind.ERRORS,
    unit="changes",
    warning=2,
    critical=10,
    at_once=True,
    source="one change is a cable pulled on purpose, two within a sweep are a fault",
    explanation="A link goes up and down.",
    next_steps=("dmesg | grep -i link", "Change the cable or the port."),
)
def link_flaps(facts: Facts) -> Signal | None:
    """Watch physical links that go up and down."""
    sample = facts.sample(NetworkSample)
    if sample is None or sample.window_seconds <= 0:
        return None
    changes = {n: i.carrier_changes for n, i in sample.interfaces.items() if i.physical}
    known = {n: c for n, c in changes.items() if c is not None}
    if not known:
        return None
    worst = max(known, key=lambda n: known[n])
    return Signal(
        value=float(known[worst]),
        message=f"The link of {worst} changed {known[worst]} times",
        subject=worst,
        evidence=(Evidence("link changes", known[worst], "changes", f"{worst}/carrier_changes"),),
        culprits=(Culprit("interface", worst),),
    )


@rule(
    resource="network",
    cause="receive_overrun",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=1,
    critical=100,
    scale=Scale.LOG,
    source="netdata 1min_netdev_backlog_exceeded: any drop is one too many",
    explanation="A CPU's backlog of received packets was full, and packets were dropped.",
    next_steps=("cat /proc/net/softnet_stat", "Look at packet steering."),
    advise=longer_backlog,
)
def backlog_drops(facts: Facts) -> Signal | None:
    """Watch packets dropped between interrupt and protocol."""
    sample = facts.sample(SoftnetSample)
    if sample is None or sample.dropped is None or sample.window_seconds <= 0:
        return None
    rate = sample.dropped / sample.window_seconds
    return Signal(
        value=rate,
        message=f"{rate:,.1f} received packets per second were dropped by full CPU backlogs",
        evidence=(Evidence("dropped", rate, "1/s", "/proc/net/softnet_stat column 2"),),
    )


@rule(
    resource="network",
    cause="interrupt_load",
    kind=Kind.SATURATION,
    unit="1/s",
    warning=50,
    critical=None,
    source="netdata 1min_netdev_budget_ran_outs warns at 10 a second and calls it noisy; at "
    "netdev_budget_usecs, 2 to 8 ms, 50 a second are a tenth or more of one CPU's time",
    explanation="CPUs stop in the middle of received packets to let other work run.",
    next_steps=("mpstat -I SCPU 1 5", "Look at packet steering."),
    advise=larger_budget,
)
def backlog_squeezed(facts: Facts) -> Signal | None:
    """Watch turns that ended with packets left, on the CPU that has most of them."""
    sample = facts.sample(SoftnetSample)
    if sample is None or sample.busiest_squeezed is None or sample.window_seconds <= 0:
        return None
    rate = sample.busiest_squeezed / sample.window_seconds
    where = "no CPU" if sample.busiest_cpu is None else f"CPU {sample.busiest_cpu}"
    return Signal(
        value=rate,
        message=f"{rate:,.1f} turns per second of {where} ended with received packets left",
        evidence=(Evidence("squeezed", rate, "1/s", f"/proc/net/softnet_stat column 3, {where}"),),
    )


@rule(
    resource="network",
    cause="conntrack_full",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.75,
    critical=0.90,
    source="node-mixin NodeHighNumberConntrackEntriesUsed (75 %)",
    explanation="The table of tracked connections is nearly full; then new ones are dropped. Which "
    "addresses opened most of them, and where most go, is told from a thousand entries where "
    "sysdx may read them (CAP_NET_ADMIN); nobody is named where no address has a twentieth. No "
    "process is: most entries of a router are not its own, and those of its own outlive their "
    "sockets.",
    next_steps=("conntrack -S", "conntrack -L | awk '{print $3}' | sort | uniq -c"),
    advise=more_connections,
)
def conntrack_capacity(facts: Facts) -> Signal | None:
    """Watch the share of the connection table in use."""
    sample = facts.sample(ConntrackSample)
    if sample is None or sample.count is None or not sample.max:
        return None
    share = sample.count / sample.max
    return Signal(
        value=share,
        message=f"{sample.count} of {sample.max} connections are tracked",
        evidence=(
            Evidence("tracked connections", share, "ratio", "nf_conntrack_count, _max"),
            *_looked_at(sample),
        ),
        culprits=_tracked(sample),
    )


def _looked_at(sample: ConntrackSample) -> tuple[Evidence, ...]:
    """Tell how many entries the culprits are known from."""
    if sample.peers is None:
        return ()
    looked = sample.peers.looked_at
    return (Evidence("of them looked at", looked, "connections", "NETLINK_NETFILTER"),)


def _tracked(sample: ConntrackSample) -> tuple[Culprit, ...]:
    """Name the addresses that opened most connections, and those where most go."""
    if sample.peers is None or sample.count is None:
        return ()
    sides = [(peer, _side(peer, sample.count)) for peer in
             (*sample.peers.openers, *sample.peers.services)]  # fmt: skip
    some = [culprit for peer, culprit in sides if peer.share >= _LEAST_TRACKED]
    return tuple(sorted(some, key=lambda c: -(c.share or 0.0)))


def _side(peer: Peer, count: int) -> Culprit:
    """Describe an address by its part of all connections."""
    if peer.port is None:
        name, what = peer.address, "opened them"
    else:
        address = f"[{peer.address}]" if ":" in peer.address else peer.address
        name = f"{address}:{peer.port}" if peer.port else peer.address
        what = f"they go there, by {peer.protocol}"
    value = float(round(peer.share * count))
    return Culprit("remote", name, None, value, "connections", peer.share, what)


@rule(
    resource="network",
    cause="conntrack_full",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=0.5,
    critical=50,
    scale=Scale.LOG,
    source="each is a packet of a connection that could not be tracked",
    explanation="Packets were dropped because their connection could not be tracked.",
    next_steps=("conntrack -S", "dmesg | grep nf_conntrack"),
    advise=more_connections,
)
def conntrack_drops(facts: Facts) -> Signal | None:
    """Watch packets dropped and connections pushed out by connection tracking."""
    sample = facts.sample(ConntrackSample)
    if sample is None or sample.window_seconds <= 0:
        return None
    known = [sample.increases.get(n) for n in ("drop", "early_drop")]
    if None in known:
        return None
    rate = sum(k or 0 for k in known) / sample.window_seconds
    return Signal(
        value=rate,
        message=f"Connection tracking dropped {rate:,.1f} packets or connections per second",
        evidence=(
            Evidence("dropped", rate, "1/s", "/proc/net/stat/nf_conntrack drop, early_drop"),
            *_looked_at(sample),
        ),
        culprits=_tracked(sample),
    )


@rule(
    resource="network",
    cause="neighbours_full",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.85,
    critical=0.98,
    source="Documentation/networking/ip-sysctl.rst, neigh/default/gc_thresh3: the most there may "
    "be; at once critical when one was refused",
    explanation="The table of neighbours is nearly full; then new ones cannot be reached.",
    next_steps=("ip neigh | wc -l", "dmesg | grep 'neighbor table overflow'"),
    advise=larger_neighbour_table,
)
def neighbour_table(facts: Facts) -> Signal | None:
    """Watch neighbours of either address family against their limit."""
    sample = facts.sample(NeighbourSample)
    if sample is None:
        return None
    families = {"ipv4": sample.entries, "ipv6": sample.entries_six}
    refused = (sample.refused or 0) + (sample.refused_six or 0)
    limits = {f: setting(facts, f"net.{f}.neigh.default.gc_thresh3") for f in families}
    known = {f: ratio(n, limits[f]) for f, n in families.items()}
    shares = {f: share for f, share in known.items() if share is not None}
    if not shares:
        return None
    worst = max(shares, key=lambda f: shares[f])
    return Signal(
        value=max(shares[worst], 1.0) if refused else shares[worst],
        message=f"{families[worst]} of {limits[worst]} {worst} neighbours are known, "
        f"{refused} refused",
        subject=worst,
        evidence=(
            Evidence("neighbours", shares[worst], "ratio", "/proc/net/stat, gc_thresh3"),
            Evidence("refused", refused, "neighbours", "/proc/net/stat table_fulls"),
        ),
    )
