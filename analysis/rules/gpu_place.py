"""The rule on where graphics and compute cards are: far from the network they work over."""

from __future__ import annotations

from analysis.model import Culprit, Evidence, Facts, Kind, Signal
from analysis.registry import rule
from analysis.text import size
from collectors.gpu_sample import Gpu, GpuSample
from collectors.network import Interface, NetworkSample

_BUSY = 0.5
_LEAST_TRAFFIC = 100 << 20  # [bytes/s], a tenth of a 10 Gbit/s link


@rule(
    resource="gpu",
    cause="numa_imbalance",
    kind=Kind.SATURATION,
    unit="cards",
    warning=1,
    critical=None,
    source="NVIDIA GPUDirect RDMA, supported systems: data between cards of two processors takes "
    "the link between them, at a fraction of the speed; it only warns, since the board decides it",
    gate="a card at least 50 % busy, and 100 MiB a second over the network cards of another node",
    explanation="A card and the network it works over are attached to different processors: what "
    "is sent from card to network goes through both.",
    next_steps=("nvidia-smi topo -m", "Use the network card of the same node, or move one."),
)
def gpu_network_apart(facts: Facts) -> Signal | None:
    """Watch cards at work that have no network card at work on their own node."""
    cards, network = facts.sample(GpuSample), facts.sample(NetworkSample)
    if cards is None or network is None:
        return None
    links = [i for i in network.interfaces.values() if _placed(i.numa_node)]
    known = [g for g in cards.gpus if _placed(g.numa_node) and g.utilization.mean is not None]
    if not links or not known:
        return None
    busy = [i for i in links if _traffic(i) >= _LEAST_TRAFFIC]
    near = {i.numa_node for i in busy}
    apart = [g for g in known if busy and _works(g) and g.numa_node not in near]
    return Signal(
        value=float(len(apart)),
        message=f"{', '.join(g.name for g in apart)} and the network in use "
        f"({', '.join(i.name for i in busy)}) are on different nodes"
        if apart
        else "No card at work is on another node than the network in use",
        subject=apart[0].name if apart else None,
        evidence=tuple(
            Evidence(f"{i.name} on node {i.numa_node} moves {size(_traffic(i))}/s", _traffic(i),
                     "bytes/s", "/proc/net/dev, device/numa_node")
            for i in busy
        ),
        culprits=tuple(
            Culprit("device", g.name, value=g.utilization.mean, unit="ratio",
                    detail=f"node {g.numa_node}")
            for g in apart
        ),
    )  # fmt: skip


def _placed(node: int | None) -> bool:
    """Tell whether the firmware says where a device is; -1 is that it does not."""
    return node is not None and node >= 0


def _traffic(interface: Interface) -> float:
    """Give the bytes a link moves, both ways [bytes/s]."""
    return (interface.receive.mean or 0.0) + (interface.transmit.mean or 0.0)


def _works(card: Gpu) -> bool:
    """Tell whether a card is at work."""
    return (card.utilization.mean or 0.0) >= _BUSY
