"""Network interfaces: throughput against link speed, errors and drops apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from collectors import net_tables
from collectors.base import Context, collector
from collectors.model import UNKNOWN, Cause, Distribution, Unavailable
from collectors.rates import Track
from collectors.text import integer, label, natural

_MEGABITS = 1_000_000 / 8
_COLUMNS = (
    "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_fifo", "rx_frame", "rx_compressed",
    "rx_multicast", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "tx_fifo", "collisions",
    "tx_carrier", "tx_compressed",
)  # fmt: skip
ERRORS = (
    "rx_errors", "tx_errors", "rx_dropped", "tx_dropped", "rx_fifo", "tx_fifo", "rx_frame",
    "tx_carrier", "collisions",
)  # fmt: skip
_PLACES = {name: _COLUMNS.index(name) for name in ERRORS}
# More interfaces than this are counted, but not asked for their state and size.
_MOST_ASKED = 64
_MISSED = ("rx_missed_errors", "rx_nohandler", "rx_crc_errors", "rx_over_errors")


@dataclass(frozen=True, slots=True)
class Interface:
    """
    One network interface.

    Attributes:
        name: As the kernel calls it.
        physical: Whether a device stands behind it; virtual ones have no speed of their own.
        state: up, down, unknown, dormant, as the driver tells; None when not asked, as
            the 65th interface is not.
        speed_bytes_per_second: Of the link, one way [bytes/s]; None when it tells none.
        mtu: Largest packet [bytes]; None when not asked.
        master: The bond or bridge it belongs to.
        numa_node: The memory node it is attached to.
        receive: Bytes received [bytes/s].
        transmit: Bytes sent [bytes/s].
        utilization: The busier direction against the link's speed [ratio].
        packets_received: [1/s].
        packets_sent: [1/s].
        totals: Error kind to its count since the interface appeared.
        increases: Error kind to its increase in the window.
        carrier_changes: Times the link went up or down in the window.

    """

    name: str
    physical: bool
    state: str | None
    speed_bytes_per_second: float | None
    mtu: int | None
    master: str | None
    numa_node: int | None
    receive: Distribution = UNKNOWN
    transmit: Distribution = UNKNOWN
    utilization: Distribution = UNKNOWN
    packets_received: float | None = None
    packets_sent: float | None = None
    totals: Mapping[str, int | None] = field(default_factory=dict)
    increases: Mapping[str, int | None] = field(default_factory=dict)
    carrier_changes: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkSample:
    """
    All network interfaces of this network namespace.

    Attributes:
        window_seconds: Observed time [s].
        interfaces: Name to interface, loopback among them.

    """

    window_seconds: float
    interfaces: Mapping[str, Interface] = field(default_factory=dict)


Tables = list[tuple[float, dict[bytes, bytes]]]


def parse(raw: bytes) -> dict[bytes, tuple[int, ...]]:
    """
    Parse the table of interfaces.

    Args:
        raw: Content of /proc/net/dev.

    Returns:
        dict name, as it is -> its sixteen counters.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        /proc/net/dev, proc(5); a name may hold anything but "/", ":" and blanks.

    """
    return {name: _counters(values) for name, values in _split(raw).items()}


def _split(raw: bytes) -> dict[bytes, bytes]:
    """Split the table into names and counters, which are read only where they changed."""
    pairs = (line.rpartition(b":") for line in raw.split(b"\n")[2:])
    return {name.strip(): values for name, colon, values in pairs if colon}


def _counters(values: bytes) -> tuple[int, ...]:
    """Read the counters of one interface."""
    counters = tuple(map(natural, values.split()))
    if len(counters) < len(_COLUMNS):
        raise ValueError(f"not an interface: {values[:40]!r}")
    return counters


@collector(category="network", essential=True)
def collect(ctx: Context) -> NetworkSample:
    """
    Follow the counters of all interfaces through the window.

    Args:
        ctx: Paths and window; memory keeps what does not change of an interface.

    Returns:
        The interfaces of the host's network namespace, see `net_tables`.

    Raises:
        Unavailable: When there is no table of interfaces.

    Source:
        /proc/net/dev at every sample; /sys/class/net/NAME/{speed,mtu,operstate,
        carrier_changes,statistics} at the ends.

    """
    tables: Tables = []
    changes: dict[bytes, Mapping[str, int]] = {}
    for at in ctx.ticks():
        present = _split(ctx.read(net_tables.folder(ctx) / "dev"))
        if not tables:
            changes = {n: _rare(ctx, n) for n in present if _physical(ctx, n)}
        tables.append((at, present))
    last = tables[-1][1]
    _forget(ctx, last)
    if not last:
        raise Unavailable("no network interface", Cause.ABSENT)
    asked = set(sorted(last, key=lambda n: not _physical(ctx, n))[:_MOST_ASKED])
    found: dict[str, Interface] = {}
    for name in last:
        interface = _interface(ctx, name, tables, changes.get(name), asked=name in asked)
        # Names that are not UTF-8 may look alike once they are safe to show.
        while interface.name in found:
            interface = replace(interface, name=interface.name + "~")
        found[interface.name] = interface
    return NetworkSample(tables[-1][0] - tables[0][0], found)


def _folder(ctx: Context, name: bytes) -> Path:
    """Give an interface's folder."""
    return ctx.paths.sys / "class/net" / name.decode("utf-8", "surrogateescape")


def _physical(ctx: Context, name: bytes) -> bool:
    """Tell whether a device stands behind an interface; asked once."""
    known: dict[bytes, bool] = ctx.memory.setdefault("physical", {})
    if name not in known:
        known[name] = (_folder(ctx, name) / "device").exists()
    return known[name]


def _forget(ctx: Context, present: Mapping[bytes, object]) -> None:
    """Forget interfaces that are gone: containers make new ones all the time."""
    known: dict[bytes, bool] = ctx.memory.setdefault("physical", {})
    for name in known.keys() - present.keys():
        del known[name]


def _rare(ctx: Context, name: bytes) -> Mapping[str, int]:
    """Read the counters that only sysfs has."""
    folder = _folder(ctx, name)
    raws = {n: ctx.try_read(folder / "statistics" / n, limit=64) for n in _MISSED}
    raws["carrier_changes"] = ctx.try_read(folder / "carrier_changes", limit=64)
    return {n: natural(raw.strip()) for n, raw in raws.items() if raw}


def _interface(
    ctx: Context,
    name: bytes,
    tables: Tables,
    before: Mapping[str, int] | None,
    *,
    asked: bool,
) -> Interface:
    """Describe an interface over the window."""
    physical = _physical(ctx, name)
    speed = _speed(ctx, name) if physical else None
    after = _rare(ctx, name) if physical else {}
    rare = {n: _step(before, after, n) for n in after}
    flow = _follow(tables, name)
    missed = {n: v for n, v in after.items() if n != "carrier_changes"}
    return Interface(
        name=label(name),
        physical=physical,
        state=_word(ctx, name, "operstate") if asked else None,
        speed_bytes_per_second=speed,
        mtu=_number(ctx, name, "mtu") if asked else None,
        master=_master(ctx, name) if physical else None,
        numa_node=_node(ctx, name) if physical else None,
        receive=flow.receive,
        transmit=flow.transmit,
        utilization=_against(speed, flow.receive, flow.transmit),
        packets_received=flow.packets_received,
        packets_sent=flow.packets_sent,
        totals=flow.totals | missed,
        increases=flow.increases | {n: rare[n] for n in missed},
        carrier_changes=rare.get("carrier_changes"),
    )


@dataclass(frozen=True, slots=True)
class _Flow:
    """What an interface's counters say of the window."""

    receive: Distribution
    transmit: Distribution
    packets_received: float | None
    packets_sent: float | None
    totals: dict[str, int | None]
    increases: dict[str, int | None]


def _follow(tables: Tables, name: bytes) -> _Flow:
    """Compare an interface's counters; with hundreds of interfaces most of them stand still."""
    values = [table.get(name) for _, table in tables]
    last = _counters(tables[-1][1][name])
    totals: dict[str, int | None] = {n: last[place] for n, place in _PLACES.items()}
    if len(values) < 2 or None in values:  # noqa: PLR2004
        nothing: dict[str, int | None] = dict.fromkeys(_PLACES)
        return _Flow(UNKNOWN, UNKNOWN, None, None, totals, nothing)
    if values[0] == values[-1]:
        still = Distribution(0.0, 0.0, (0.0,) * (len(values) - 1))
        return _Flow(still, still, 0.0, 0.0, totals, dict.fromkeys(_PLACES, 0))
    track: Track[int] = Track()
    for at, table in tables:
        track.add(at, dict(enumerate(_counters(table[name]))))
    receive, transmit = track.rate(0), track.rate(8)
    return _Flow(
        receive,
        transmit,
        track.rate(1).mean,
        track.rate(9).mean,
        totals,
        {n: track.increase(place) for n, place in _PLACES.items()},
    )


def _step(before: Mapping[str, int] | None, after: Mapping[str, int], name: str) -> int | None:
    """Give the increase of a counter of sysfs."""
    if before is None or name not in before or after[name] < before[name]:
        return None
    return after[name] - before[name]


def _against(speed: float | None, receive: Distribution, transmit: Distribution) -> Distribution:
    """Hold the busier direction against the speed: links are full duplex."""
    if not speed or receive.mean is None or transmit.mean is None:
        return UNKNOWN
    busier = zip(receive.samples, transmit.samples, strict=False)
    samples = tuple(max(pair) / speed for pair in busier)
    mean = max(receive.mean, transmit.mean) / speed
    return Distribution(mean, max(samples, default=None), samples)


def _speed(ctx: Context, name: bytes) -> float | None:
    """Read a link's speed; virtual machines' and downed links tell none or -1."""
    megabits = _number(ctx, name, "speed")
    return None if megabits is None or megabits <= 0 else megabits * _MEGABITS


def _number(ctx: Context, name: bytes, file: str) -> int | None:
    """Read a number; the kernel answers EINVAL where it has no meaning."""
    try:
        return integer(ctx.read(_folder(ctx, name) / file, limit=64).strip())
    except (Unavailable, ValueError):
        return None


def _node(ctx: Context, name: bytes) -> int | None:
    """Read the memory node a device is attached to; the kernel says -1 where there is one only."""
    node = _number(ctx, name, "device/numa_node")
    return None if node is None or node < 0 else node


def _word(ctx: Context, name: bytes, file: str) -> str | None:
    """Read a word."""
    raw = ctx.try_read(_folder(ctx, name) / file, limit=64)
    return None if raw is None else label(raw.strip())


def _master(ctx: Context, name: bytes) -> str | None:
    """Read the bond or bridge an interface belongs to."""
    try:
        return label((_folder(ctx, name) / "master").readlink().name)
    except OSError:
        return None
