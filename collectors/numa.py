"""Memory nodes and zones: where memory is, how free, how fragmented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from collectors.base import Context, collector
from collectors.memory import parse_meminfo
from collectors.model import Unavailable
from collectors.rates import Track
from collectors.text import key_values, label, natural

_ORDERS_OF_HUGE_PAGE = 9


@dataclass(frozen=True, slots=True)
class Node:
    """
    A memory node.

    Attributes:
        number: Its number.
        total_bytes: Its memory [bytes].
        free_bytes: Of it free [bytes].
        cpus: Its CPUs as a list such as "0-7".
        distances: To each node; 10 is local.
        increases: numastat counter to its increase in the window.

    """

    number: int
    total_bytes: int | None
    free_bytes: int | None
    cpus: str | None
    distances: tuple[int, ...]
    increases: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Zone:
    """
    A zone of a memory node.

    Attributes:
        node: The node's number.
        name: DMA, DMA32, Normal, Movable.
        free_pages: Free [pages].
        min_pages: Below this only the kernel may allocate [pages].
        low_pages: Below this kswapd works [pages].
        high_pages: Up to this kswapd works [pages].
        managed_pages: Size of the zone [pages].
        blocks: Free blocks of 1, 2, 4, ... pages.
        huge_share: Share of its free memory in blocks of 512 pages or larger, which is a
            huge page where pages have 4 KiB [ratio].

    """

    node: int
    name: str
    free_pages: int | None = None
    min_pages: int | None = None
    low_pages: int | None = None
    high_pages: int | None = None
    managed_pages: int | None = None
    blocks: tuple[int, ...] = ()
    huge_share: float | None = None


@dataclass(frozen=True, slots=True)
class NumaSample:
    """
    Nodes and zones.

    Attributes:
        window_seconds: Observed time [s].
        nodes: The memory nodes.
        zones: Their zones that have memory.

    """

    window_seconds: float
    nodes: tuple[Node, ...] = ()
    zones: tuple[Zone, ...] = field(default=())


Key = tuple[int, str]


def parse_buddyinfo(raw: bytes) -> dict[Key, tuple[int, ...]]:
    """
    Parse the free blocks per order.

    Args:
        raw: Content of /proc/buddyinfo.

    Returns:
        dict (node, zone) -> free blocks of 1, 2, 4, ... pages.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        /proc/buddyinfo, proc(5).

    """
    table: dict[Key, tuple[int, ...]] = {}
    for line in raw.splitlines():
        head, _, rest = line.partition(b" zone ")
        if not rest:
            continue
        name, *counts = rest.split() or [b""]
        node = natural(head.replace(b"Node", b"").strip(b" ,"))
        table[node, label(name)] = tuple(map(natural, counts))
    return table


def parse_zoneinfo(raw: bytes) -> dict[Key, dict[str, int]]:
    """
    Parse the zones' watermarks.

    Args:
        raw: Content of /proc/zoneinfo.

    Returns:
        dict (node, zone) -> free, min, low, high and managed [pages].

    Raises:
        ValueError: When a zone has no name or its node no number.

    Source:
        /proc/zoneinfo, proc(5).

    """
    table: dict[Key, dict[str, int]] = {}
    for block in (b"\n" + raw).split(b"\nNode ")[1:]:
        # Behind it come a few lines for each CPU, which are most of the file.
        fields = block.partition(b"pagesets")[0].split()
        if len(fields) < 3 or fields[1] != b"zone":  # noqa: PLR2004
            raise ValueError(f"not a zone: {block[:40]!r}")
        zone = table.setdefault((natural(fields[0].rstrip(b",")), label(fields[2])), {})
        for name, value in pairwise(fields[3:]):
            if name in _MARKS and value.isdigit():
                zone.setdefault(name.decode("ascii"), natural(value))
    return table


_MARKS = frozenset((b"free", b"min", b"low", b"high", b"managed"))
_LARGE = 32 << 20


@collector(category="memory")
def collect(ctx: Context) -> NumaSample:
    """
    Read nodes over the window and zones at its end.

    Args:
        ctx: Paths and window.

    Returns:
        The nodes and zones.

    Raises:
        Unavailable: When the kernel tells of neither.

    Source:
        /sys/devices/system/node/nodeN/{meminfo,numastat,distance,cpulist},
        /proc/zoneinfo, /proc/buddyinfo.

    """
    track: Track[tuple[int, str]] = Track()
    for at in ctx.ends():
        track.add(at, _counters(ctx))
    folders, zones = _folders(ctx), _zones(ctx)
    if not folders and not zones:
        raise Unavailable(f"{ctx.paths.proc}/zoneinfo and buddyinfo cannot be read")
    nodes = tuple(_node(ctx, n, path, track) for n, path in folders.items())
    return NumaSample(track.seconds, nodes, zones)


def _folders(ctx: Context) -> dict[int, Path]:
    """Find the nodes."""
    found = (ctx.paths.sys / "devices/system/node").glob("node[0-9]*")
    return {int(p.name[4:]): p for p in sorted(found) if p.name[4:].isdecimal()}


def _counters(ctx: Context) -> dict[tuple[int, str], int]:
    """Read the nodes' counters."""
    raws = {n: ctx.try_read(path / "numastat") or b"" for n, path in _folders(ctx).items()}
    return {(n, k): v for n, raw in raws.items() for k, v in key_values(raw).items()}


def _node(ctx: Context, number: int, path: Path, track: Track[tuple[int, str]]) -> Node:
    """Describe a node."""
    table = parse_meminfo(ctx.try_read(path / "meminfo") or b"")
    cpus = ctx.try_read(path / "cpulist")
    distances = (ctx.try_read(path / "distance") or b"").split()
    return Node(
        number=number,
        total_bytes=table.get("MemTotal"),
        free_bytes=table.get("MemFree"),
        cpus=None if cpus is None else label(cpus.strip()),
        distances=tuple(map(natural, distances)),
        increases={k: track.increase((n, k)) for n, k in track.names() if n == number},
    )


def _zones(ctx: Context) -> tuple[Zone, ...]:
    """Describe the zones that have memory."""
    marks = parse_zoneinfo(ctx.try_read(ctx.paths.proc / "zoneinfo", _LARGE) or b"")
    blocks = parse_buddyinfo(ctx.try_read(ctx.paths.proc / "buddyinfo") or b"")
    return tuple(
        _zone(key, marks.get(key, {}), blocks.get(key, ()))
        for key in sorted(marks.keys() | blocks.keys())
        if marks.get(key, {}).get("managed") != 0
    )


def _zone(key: Key, marks: Mapping[str, int], blocks: tuple[int, ...]) -> Zone:
    """Describe a zone."""
    pages = [count << order for order, count in enumerate(blocks)]
    huge = sum(pages[_ORDERS_OF_HUGE_PAGE:])
    return Zone(
        *key,
        free_pages=marks.get("free"),
        min_pages=marks.get("min"),
        low_pages=marks.get("low"),
        high_pages=marks.get("high"),
        managed_pages=marks.get("managed"),
        blocks=blocks,
        huge_share=huge / sum(pages) if sum(pages) else None,
    )
