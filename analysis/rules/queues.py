"""Rules on packets that this host drops before they leave."""

from __future__ import annotations

from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.text import number, percent
from collectors.network import NetworkSample
from collectors.qdisc import QdiscSample, Queue

_LEAST = 10.0  # [1/s]


@rule(
    resource="network",
    cause="network_saturation",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.01,
    critical=0.10,
    scale=Scale.LOG,
    source="above 1 % loss TCP is slow on any but the shortest way (RFC 3155); fq_codel drops "
    "some packets on purpose to keep its queue short, which stays below that",
    gate="10 drops a second",
    explanation="Packets are dropped in the queue of an interface before they leave: the link, "
    "or a limit set on it, is too slow for what is sent.",
    next_steps=("tc -s qdisc show", "Look at who sends most: ss -ti."),
)
def qdisc_drops(facts: Facts) -> Signal | None:
    """Watch the share of packets that an interface's queue drops."""
    queues, network = facts.sample(QdiscSample), facts.sample(NetworkSample)
    if queues is None or network is None or queues.window_seconds <= 0:
        return None
    shares = [
        (_share(queue, queues.window_seconds, network), queue) for queue in queues.queues.values()
    ]
    known = [(share, queue) for share, queue in shares if share is not None]
    if not known:
        return None
    share, queue = max(known, key=lambda pair: pair[0])
    rate = (queue.dropped or 0) / queues.window_seconds
    return Signal(
        value=share,
        message=f"The queue of {queue.interface} dropped {percent(share)} of what was to be sent, "
        f"{number(rate)} packets a second",
        subject=queue.interface,
        evidence=(
            Evidence("dropped", rate, "1/s", f"netlink RTM_GETQDISC {queue.kind} drops"),
            Evidence("waiting", float(queue.backlog_packets), "packets", "RTM_GETQDISC backlog"),
        ),
        culprits=(Culprit("interface", queue.interface, value=rate, unit="1/s"),),
    )


def _share(queue: Queue, seconds: float, network: NetworkSample) -> float | None:
    """Give the share of packets that did not leave an interface; 0 for a few."""
    link = network.interfaces.get(queue.interface)
    if queue.dropped is None or link is None or link.packets_sent is None:
        return None
    rate = queue.dropped / seconds
    return rate / (rate + link.packets_sent) if rate >= _LEAST else 0.0
