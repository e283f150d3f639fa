"""Swap devices, and what those that live in memory take of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from collectors.base import Context
from collectors.text import integer, label, natural

_KIB = 1024
_ZRAM = "/dev/zram"


@dataclass(frozen=True, slots=True)
class Swap:
    """
    One swap device.

    Attributes:
        name: Device or file.
        kind: partition or file.
        size_bytes: Its size [bytes].
        used_bytes: In use [bytes].
        priority: The kernel fills the highest first.
        in_memory: It is a compressed device in memory (zram): reading from it
            costs microseconds, and what it holds still takes memory.
        memory_bytes: What it takes of memory [bytes]; None when it is not told.

    """

    name: str
    kind: str
    size_bytes: int
    used_bytes: int
    priority: int
    in_memory: bool = False
    memory_bytes: int | None = None


def parse_swaps(raw: bytes) -> tuple[Swap, ...]:
    """
    Parse the list of swap devices.

    Args:
        raw: Content of /proc/swaps.

    Returns:
        The devices.

    Raises:
        ValueError: When a line is not of the kernel's form.

    Source:
        /proc/swaps, proc(5).

    """
    swaps = []
    for line in raw.split(b"\n")[1:]:
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 5:  # noqa: PLR2004
            raise ValueError(f"not a swap device: {line[:40]!r}")
        name, kind, size, used, priority = fields[-5:]
        swaps.append(
            Swap(
                label(name), label(kind), natural(size) * _KIB, natural(used) * _KIB,
                integer(priority), name.startswith(_ZRAM.encode()),
            )
        )  # fmt: skip
    return tuple(swaps)


def parse_mm_stat(raw: bytes) -> int:
    """
    Read how much memory a compressed device takes.

    Args:
        raw: Content of /sys/block/zramN/mm_stat.

    Returns:
        Data and management together [bytes].

    Raises:
        ValueError: When there are too few fields or it is no number.

    Source:
        Third field, mem_used_total; Documentation/admin-guide/blockdev/zram.rst.

    """
    fields = raw.split()
    if len(fields) < 3:  # noqa: PLR2004
        raise ValueError(f"not the memory of a zram device: {raw[:40]!r}")
    return natural(fields[2])


def read_swaps(ctx: Context) -> tuple[Swap, ...]:
    """
    Read the swap devices and what they take of memory.

    Args:
        ctx: Paths.

    Returns:
        The devices; none when the kernel has no swap.

    Source:
        /proc/swaps, /sys/block/zramN/mm_stat.

    """
    raw = ctx.try_read(ctx.paths.proc / "swaps")
    swaps = parse_swaps(raw) if raw else ()
    return tuple(_weigh(ctx, s) if s.in_memory else s for s in swaps)


def _weigh(ctx: Context, swap: Swap) -> Swap:
    """Add what a device in memory takes of it."""
    device = swap.name.removeprefix(_ZRAM)
    if not device.isdigit():
        return swap
    raw = ctx.try_read(ctx.paths.sys / f"block/zram{device}/mm_stat")
    return swap if raw is None else replace(swap, memory_bytes=parse_mm_stat(raw))
