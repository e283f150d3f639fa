"""Network cards: driver, rings, queues, offloads, and what the driver itself lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from collectors import net_tables
from collectors.base import Context, collector
from collectors.ethtool import Driver, Ethtool
from collectors.model import Cause, Unavailable
from collectors.rates import Track
from collectors.text import label, natural_or_none

_MOST_CARDS = 32
_MOST_COUNTERS = 64
# What /proc/net/dev adds up in its columns, told apart.
_KERNEL = (
    "rx_length_errors", "rx_frame_errors", "rx_fifo_errors", "tx_aborted_errors",
    "tx_carrier_errors", "tx_fifo_errors", "tx_heartbeat_errors", "tx_window_errors",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Card:
    """
    One physical network interface; None is unknown, or not told by its driver.

    Attributes:
        name: As the kernel calls it.
        driver: Its driver.
        firmware: The card's own software.
        bus: Where it is, such as a PCI address.
        duplex: full or half.
        carrier: Whether there is a link.
        rx_queues: Queues for received packets.
        tx_queues: Queues for packets to send.
        rx_ring: Packets that fit in a queue's ring for received ones.
        rx_ring_max: Most that may be set.
        tx_ring: The same for packets to send.
        tx_ring_max: Most that may be set.
        channels: Queue pairs or receive queues in use by the driver.
        channels_max: Most that may be set.
        rx_wait_microseconds: How long the card gathers packets before an interrupt [us].
        rx_wait_adaptive: Whether the driver adapts that.
        offloads: "tso", "gso", "gro", "lro" to whether it is on.
        packet_steering: Whether received packets are spread over CPUs by software (RPS).
        transmit_steering: Whether CPUs have their own queues for sending (XPS).
        losses: Counter of the driver or kernel to its count since the card appeared:
            drops, errors, missing buffers, exceeded allowances; "*" stands for any
            number, all queues added up; only those above 0, at most 64.
        losses_increase: The same counters' increase in the window.

    """

    name: str
    driver: str | None = None
    firmware: str | None = None
    bus: str | None = None
    duplex: str | None = None
    carrier: bool | None = None
    rx_queues: int | None = None
    tx_queues: int | None = None
    rx_ring: int | None = None
    rx_ring_max: int | None = None
    tx_ring: int | None = None
    tx_ring_max: int | None = None
    channels: int | None = None
    channels_max: int | None = None
    rx_wait_microseconds: int | None = None
    rx_wait_adaptive: bool | None = None
    offloads: Mapping[str, bool] = field(default_factory=dict)
    packet_steering: bool | None = None
    transmit_steering: bool | None = None
    losses: Mapping[str, int] = field(default_factory=dict)
    losses_increase: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NicSample:
    """
    The network cards of the own network namespace.

    Attributes:
        window_seconds: Observed time [s].
        cards: Name to card, 32 at most.
        left_out: Cards beyond that number.

    """

    window_seconds: float
    cards: Mapping[str, Card] = field(default_factory=dict)
    left_out: int = 0


@collector(category="network")
def collect(ctx: Context) -> NicSample:
    """
    Read the losses at the window's ends, and settings once.

    A driver may wait for its card and hold the kernel's lock of all interfaces
    meanwhile; a collector of its own keeps the others from waiting along.

    Args:
        ctx: Paths and window; memory keeps which counters a driver has.

    Returns:
        The cards; without the drivers' own words where sysfs is not that of the
        network namespace this program runs in.

    Raises:
        Unavailable: When no interface has a device behind it.

    Source:
        ioctl SIOCETHTOOL, see `ethtool`; /sys/class/net/NAME/{duplex,carrier,
        queues,statistics}, Documentation/ABI/testing/sysfs-class-net.

    """
    names = _physical(ctx)
    if not names:
        raise Unavailable("no network interface has a device behind it", Cause.ABSENT)
    chosen, track = names[:_MOST_CARDS], Track[tuple[bytes, str]]()
    with Ethtool() as tool:
        asked = tool if net_tables.is_own(net_tables.folder(ctx)) else None
        drivers = {n: asked.driver(n) if asked else None for n in chosen}
        for at in ctx.ends():
            track.add(at, {k: v for n in chosen for k, v in _losses(ctx, asked, n, drivers[n])})
        cards = [(n, _card(ctx, n, drivers[n], track)) for n in chosen]
        found = [_settled(card, asked, n) if asked else card for n, card in cards]
    left_out = len(names) - len(chosen)
    return NicSample(track.seconds, {card.name: card for card in found}, left_out)


def _physical(ctx: Context) -> list[bytes]:
    """List the interfaces with a device behind them."""
    folder = ctx.paths.sys / "class/net"
    try:
        names = os.listdir(folder)  # noqa: PTH208  there may be thousands
    except OSError:
        return []
    known: dict[str, bool] = ctx.memory.get("physical", {})
    now = {n: known[n] if n in known else (folder / n / "device").exists() for n in names}
    ctx.memory["physical"] = now
    return sorted(os.fsencode(n) for n, physical in now.items() if physical)


def _folder(ctx: Context, name: bytes) -> Path:
    """Give an interface's folder."""
    return ctx.paths.sys / "class/net" / name.decode("utf-8", "surrogateescape")


def _losses(
    ctx: Context, tool: Ethtool | None, name: bytes, driver: Driver | None
) -> list[tuple[tuple[bytes, str], int]]:
    """Read all counters that tell of losses."""
    folder = _folder(ctx, name) / "statistics"
    raws = {n: natural_or_none(ctx.try_read(folder / n, 64)) for n in _KERNEL}
    table = {n: v for n, v in raws.items() if v is not None}
    if tool is not None and driver is not None:
        known: dict[bytes, tuple[int, dict[int, str]]] = ctx.memory.setdefault("counters", {})
        if name not in known or known[name][0] != driver.counters:
            known[name] = (driver.counters, tool.counter_names(name, driver.counters))
        # Where driver and kernel have one name for it, the driver's is not needed.
        table = tool.counters(name, *known[name]) | table
    return [((name, n), v) for n, v in table.items()]


def _card(
    ctx: Context, name: bytes, driver: Driver | None, track: Track[tuple[bytes, str]]
) -> Card:
    """Describe a card."""
    folder = _folder(ctx, name)
    carrier = natural_or_none(_quiet(folder / "carrier"))
    positive = sorted(
        ((v, k) for (owner, k), v in track.rows[-1].items() if owner == name and v), reverse=True
    )
    losses = {k: v for v, k in positive[:_MOST_COUNTERS]}
    return Card(
        name=label(name),
        driver=driver.name if driver else None,
        firmware=driver.firmware if driver else None,
        bus=driver.bus if driver else None,
        duplex=_duplex(folder),
        carrier=None if carrier is None else carrier == 1,
        rx_queues=_count(folder / "queues", "rx-"),
        tx_queues=_count(folder / "queues", "tx-"),
        packet_steering=_steered(folder / "queues/rx-0/rps_cpus"),
        transmit_steering=_steered(folder / "queues/tx-0/xps_cpus"),
        losses=losses,
        losses_increase={k: track.increase((name, k)) for k in losses},
    )


def _settled(card: Card, tool: Ethtool, name: bytes) -> Card:
    """Add how the driver says that the card is set."""
    rings = tool.rings(name) or (None,) * 8
    channels, wait = tool.channels(name), tool.coalescing(name)
    return replace(
        card,
        rx_ring=rings[4],
        rx_ring_max=rings[0],
        tx_ring=rings[7],
        tx_ring_max=rings[3],
        channels=None if channels is None else channels[7] or channels[4],
        channels_max=None if channels is None else channels[3] or channels[0],
        rx_wait_microseconds=wait[0] if wait else None,
        rx_wait_adaptive=wait[1] if wait else None,
        offloads=tool.offloads(name),
    )


def _quiet(path: Path) -> bytes | None:
    """Read what the kernel refuses with EINVAL while an interface is down."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _duplex(folder: Path) -> str | None:
    """Read the direction of the link; the kernel says "unknown" where it is."""
    word = (_quiet(folder / "duplex") or b"").strip()
    return label(word) if word in (b"full", b"half") else None


def _count(folder: Path, prefix: str) -> int | None:
    """Count the queues of a kind."""
    try:
        return sum(p.name.startswith(prefix) for p in folder.iterdir()) or None
    except OSError:
        return None


def _steered(mask: Path) -> bool | None:
    """Tell whether a queue's mask has any CPU in it; with one queue there may be no mask."""
    raw = _quiet(mask)
    return None if raw is None else bool(raw.strip().replace(b",", b"").strip(b"0"))
