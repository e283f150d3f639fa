"""Network interfaces: throughput against link speed, errors and drops apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
_MISSED = ("rx_missed_errors", "rx_nohandler", "rx_crc_errors", "rx_over_errors")


@dataclass(frozen=True, slots=True)
class Interface:
    """
    One network interface.

    Attributes:
        name: As the kernel calls it.
        physical: Whether a device stands behind it; virtual ones have no speed of their own.
        state: up, down, unknown, dormant, as the driver tells.
        speed_bytes_per_second: Of the link, one way [bytes/s]; None when it tells none.
        mtu: Largest packet [bytes].
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
        /proc/net/dev, proc(5); a name may hold anything but "/" and blanks.

    """
    table: dict[bytes, tuple[int, ...]] = {}
    for line in raw.split(b"\n")[2:]:
        name, colon, values = line.rpartition(b":")
        if not colon:
            continue
        counters = tuple(map(natural, values.split()))
        if len(counters) < len(_COLUMNS):
            raise ValueError(f"not an interface: {line[:40]!r}")
        table[name.strip()] = counters
    return table


@collector(category="network", essential=True)
def collect(ctx: Context) -> NetworkSample:
    """
    Follow the counters of all interfaces through the window.

    Args:
        ctx: Paths and window; memory keeps what does not change of an interface.

    Returns:
        The interfaces of the network namespace that procfs is seen from.

    Raises:
        Unavailable: When there is no table of interfaces.

    Source:
        /proc/net/dev at every sample; /sys/class/net/NAME/{speed,mtu,operstate,
        carrier_changes,statistics} at the ends.

    """
    tables: list[tuple[float, dict[bytes, tuple[int, ...]]]] = []
    changes: dict[bytes, Mapping[str, int]] = {}
    for at in ctx.ticks():
        table = parse(ctx.read(ctx.paths.proc / "net/dev"))
        if not tables:
            changes = {n: _rare(ctx, n) for n in table if _physical(ctx, n)}
        tables.append((at, table))
    _forget(ctx, tables[-1][1])
    if not tables[-1][1]:
        raise Unavailable("no network interface", Cause.ABSENT)
    interfaces = (_interface(ctx, n, tables, changes.get(n)) for n in tables[-1][1])
    return NetworkSample(tables[-1][0] - tables[0][0], {i.name: i for i in interfaces})


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
    tables: list[tuple[float, dict[bytes, tuple[int, ...]]]],
    before: Mapping[str, int] | None,
) -> Interface:
    """Describe an interface over the window."""
    track: Track[int] = Track()
    for at, table in tables:
        if name in table:
            track.add(at, dict(enumerate(table[name])))
    if len(track.rows) < len(tables):
        track.rows, track.times = track.rows[-1:], track.times[-1:]
    physical = _physical(ctx, name)
    speed = _speed(ctx, name) if physical else None
    receive, transmit = track.rate(0), track.rate(8)
    after = _rare(ctx, name) if physical else {}
    rare = {n: _step(before, after, n) for n in after}
    places = {n: _COLUMNS.index(n) for n in ERRORS}
    missed = {n: v for n, v in after.items() if n != "carrier_changes"}
    return Interface(
        name=label(name),
        physical=physical,
        state=_word(ctx, name, "operstate"),
        speed_bytes_per_second=speed,
        mtu=_number(ctx, name, "mtu"),
        master=_master(ctx, name) if physical else None,
        numa_node=_number(ctx, name, "device/numa_node") if physical else None,
        receive=receive,
        transmit=transmit,
        utilization=_against(speed, receive, transmit),
        packets_received=track.rate(1).mean,
        packets_sent=track.rate(9).mean,
        totals={n: track.last(p) for n, p in places.items()} | missed,
        increases={n: track.increase(p) for n, p in places.items()} | {n: rare[n] for n in missed},
        carrier_changes=rare.get("carrier_changes"),
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


def _word(ctx: Context, name: bytes, file: str) -> str | None:
    """Read a word."""
    raw = ctx.try_read(_folder(ctx, name) / file, limit=64)
    return None if raw is None else label(raw.strip())


def _master(ctx: Context, name: bytes) -> str | None:
    """Read the bond or bridge an interface belongs to."""
    link = _folder(ctx, name) / "master"
    return label(link.readlink().name) if link.is_symlink() else None
