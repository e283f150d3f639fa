"""Rules on where packets are lost around the host: queues, cards, the provider."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter

from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.text import number, percent
from collectors.network import Interface, NetworkSample
from collectors.nic import NicSample
from collectors.qdisc import QdiscSample, Queue

_LEAST_PACKETS = 100.0  # [1/s] below which a share of them says nothing
_LEAST_DROPS = 5.0  # [1/s] below which they are a sender that finds its speed
_LEAST_MISHAPS = 1.0  # [1/s]
_MOST = 5
# How drivers call packets for which they had no buffer. The kernel's own counters
# of it are the rule receive_overruns'; what a filter drops is dropped on purpose.
_NO_ROOM = re.compile(
    r"(?=.*(?:rx|recv|in_))(?!.*(?:xdp|vlan|filter|crc|csum|tx))"
    r".*(?:no_?buf|out_of_buf|buf_err|no_dma|no_desc|nodesc|alloc|discard|overrun|rx_drops"
    r"|ring_full|no_skb|steer_missed)"
)
_KERNEL = frozenset({"rx_missed_errors", "rx_over_errors", "rx_fifo_errors", "rx_dropped"})


@rule(
    resource="network",
    cause="network_saturation",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.01,
    critical=0.05,
    scale=Scale.LOG,
    source="RFC 3155: TCP is at ease with a loss below 0.1 % and suffers from 1 % on; a queue "
    "that tells senders to slow down (fq_codel, RFC 8290) needs to drop less than that, and from "
    "5 % on retransmissions are lost as well",
    gate="100 packets and 5 drops a second",
    explanation="The host sends more than an interface or its set rate lets through, and drops "
    "packets before they even leave.",
    next_steps=("tc -s qdisc show dev INTERFACE", "Look at who sends: ss -ti, iftop."),
)
def queue_drops(facts: Facts) -> Signal | None:
    """Watch packets dropped in an interface's queue as a share of all it was to send."""
    sample, network = facts.sample(QdiscSample), facts.sample(NetworkSample)
    if sample is None or network is None or sample.window_seconds <= 0:
        return None
    known = [
        (share, queue)
        for queue in sample.queues.values()
        if (share := _dropped(queue, network.interfaces.get(queue.interface), sample)) is not None
    ]
    if not known:
        return None
    share, worst = max(known, key=itemgetter(0))
    rate = (worst.dropped or 0) / sample.window_seconds
    return Signal(
        value=share,
        message=f"{percent(share)} of what was to be sent on {worst.interface}, {number(rate)} "
        f"packets a second, was dropped in its queue ({worst.kind})",
        subject=worst.interface,
        evidence=(
            Evidence("dropped", rate, "1/s", f"RTM_GETQDISC {worst.interface} drops"),
            Evidence("waiting", worst.backlog_packets, "packets", "RTM_GETQDISC qlen"),
            Evidence("held back by a set rate", worst.overlimits, "packets", "overlimits"),
        ),
        culprits=(Culprit("interface", worst.interface, value=rate, unit="1/s", share=share),),
    )


@rule(
    resource="network",
    cause="receive_overrun",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.001,
    critical=0.01,
    scale=Scale.LOG,
    source="as for receive_overruns: TCP halves its speed at about 0.1 % loss; many drivers tell "
    "of missing buffers in counters of their own only (ethtool -S)",
    gate="100 packets and one mishap a second; no driver's counter of what is dropped on purpose",
    explanation="A network card had packets and no buffer to put them in: they are lost.",
    next_steps=("ethtool -S INTERFACE | grep -v ': 0$'", "ethtool -g INTERFACE; a larger ring."),
)
def card_discards(facts: Facts) -> Signal | None:
    """Watch packets for which a card's driver says there was no buffer, as a share of all."""
    sample, network = facts.sample(NicSample), facts.sample(NetworkSample)
    if sample is None or network is None or sample.window_seconds <= 0 or not sample.cards:
        return None
    found = [
        (share, rate, card, counter)
        for card, counter, rate in _counters(sample, _NO_ROOM)
        if (share := _share(rate, network.interfaces.get(card))) is not None
    ]
    if not found:
        return Signal(0.0, "No network card tells of packets without a buffer")
    # Drivers count one mishap under several names, so the largest stands for all.
    share, rate, card, counter = max(found)
    return Signal(
        value=share,
        message=f"{card} had no buffer for {number(rate)} packets a second, {percent(share)} of "
        f"all ({counter})",
        subject=card,
        evidence=tuple(
            Evidence(name, each, "1/s", f"ethtool -S {owner}")
            for _, each, owner, name in sorted(found, reverse=True)[:_MOST]
            if owner == card
        ),
        culprits=(Culprit("interface", card, value=rate, unit="1/s", share=share),),
    )


@rule(
    resource="network",
    cause="network_allowance",
    kind=Kind.SATURATION,
    unit="1/s",
    warning=1,
    critical=100,
    scale=Scale.LOG,
    source="Amazon EC2 user guide, ENA driver metrics: each packet beyond an allowance is queued "
    "or dropped outside of the machine; as with any drop one a second is one too many, and a "
    "hundred are an outage for somebody",
    explanation="The provider drops packets because this machine's allowance for bandwidth, "
    "packets or connections is used up. Nothing inside the machine shows why.",
    next_steps=("ethtool -S INTERFACE | grep allowance", "A larger instance, or fewer packets."),
)
def network_allowance(facts: Facts) -> Signal | None:
    """Watch packets that the provider held back because an allowance was exceeded."""
    sample = facts.sample(NicSample)
    if sample is None or sample.window_seconds <= 0 or not sample.cards:
        return None
    found = [(r, card, name) for card, name, r in _counters(sample, re.compile(r".*allowance"))]
    if not found:
        return Signal(0.0, "No network card tells of a provider's allowance")
    rate, card, name = max(found)
    what = name.replace("_allowance_exceeded", "").replace("_", " ")
    return Signal(
        value=rate,
        message=f"The provider held back {number(rate)} packets a second of {card}: {what} "
        "beyond the allowance",
        subject=card,
        evidence=tuple(
            Evidence(n, r, "1/s", f"ethtool -S {c}") for r, c, n in sorted(found, reverse=True)
        )[:_MOST],
        culprits=(Culprit("interface", card, value=rate, unit="1/s"),),
    )


def _dropped(queue: Queue, interface: Interface | None, sample: QdiscSample) -> float | None:
    """Give the dropped share of what an interface was to send; 0 when it is too little to judge."""
    sent = interface.packets_sent if interface else None
    if queue.dropped is None or sent is None:
        return None
    rate = queue.dropped / sample.window_seconds
    enough = sent + rate >= _LEAST_PACKETS and rate >= _LEAST_DROPS
    return rate / (sent + rate) if enough else 0.0


def _counters(sample: NicSample, names: re.Pattern[str]) -> Iterator[tuple[str, str, float]]:
    """Walk through cards and the rates of those of their counters that have certain names."""
    for card in sample.cards.values():
        for name, step in card.losses_increase.items():
            if step is not None and name not in _KERNEL and names.match(name.lower()):
                yield card.name, name, step / sample.window_seconds


def _share(rate: float, interface: Interface | None) -> float | None:
    """Give the share of mishaps among packets that came or were to come."""
    received = interface.packets_received if interface else None
    if received is None:
        return None
    enough = received + rate >= _LEAST_PACKETS and rate >= _LEAST_MISHAPS
    return rate / (received + rate) if enough else 0.0
