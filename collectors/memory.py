"""Memory: what it holds, and what the kernel does to find more."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.base import Context, collector
from collectors.memory_pools import HugePool, Merged, Slab, read_merged, read_pools, read_slabs
from collectors.model import UNKNOWN, Cause, Distribution, Unavailable
from collectors.rates import Track, distribution, ratio
from collectors.swaps import Swap, read_swaps
from collectors.text import label, natural, natural_or_none

_KIB = 1024
_LONG = 30.0  # [s]
_POISONED = b"\nHardwareCorrupted:"


@dataclass(frozen=True, slots=True)
class MemorySample:
    """
    Memory during the window.

    Attributes:
        window_seconds: Observed time [s].
        total_bytes: Usable memory [bytes].
        available_bytes: What programs can still get without swapping [bytes].
        utilization: 1 less available by total [ratio].
        meminfo: Field to value [bytes]; the HugePages_ counts are pages.
        increases: vmstat counter to its increase in the window; None when it went back.
        totals: Mishap to its count since boot: vmstat counters, and
            hardware_corrupted, the pages taken out of use for memory errors.
        levels: Dirty pages, pages under writeback and the limits of both [pages].
        swap_total_bytes: All swap [bytes].
        swap_used_bytes: Of it in use [bytes].
        swaps: The swap devices.
        huge_pages: Mode of transparent huge pages: always, madvise or never.
        huge_pages_defrag: How the kernel looks for them.
        zswap: Whether pages are compressed in memory before they go to swap.
        pools: Size of huge pages [bytes] to their pool; sizes without any are left out.
        merged: How much memory merging equal pages saves; None when it never ran.
        slabs: The kernel's own largest caches, at most 10; only for root, and None in
            windows shorter than 30 s.
        arc_reclaimable_bytes: What ZFS caches and gives back when asked, which
            MemAvailable does not count [bytes]; None without ZFS.

    """

    window_seconds: float
    total_bytes: int | None
    available_bytes: int | None
    utilization: Distribution = UNKNOWN
    meminfo: Mapping[str, int] = field(default_factory=dict)
    increases: Mapping[str, int | None] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    levels: Mapping[str, int] = field(default_factory=dict)
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    swaps: tuple[Swap, ...] = ()
    huge_pages: str | None = None
    huge_pages_defrag: str | None = None
    zswap: bool | None = None
    pools: Mapping[int, HugePool] = field(default_factory=dict)
    merged: Merged | None = None
    slabs: tuple[Slab, ...] | None = None
    arc_reclaimable_bytes: int | None = None

    def per_second(self, *names: str) -> float | None:
        """
        Give the summed rate of vmstat counters.

        Args:
            names: The counters; those that this kernel does not have are left out.

        Returns:
            Their rate over the window [1/s]; None when none is known.

        """
        known = [self.increases[n] for n in names if n in self.increases]
        if not known or None in known or self.window_seconds <= 0:
            return None
        return sum(k or 0 for k in known) / self.window_seconds


def parse_meminfo(raw: bytes) -> dict[str, int]:
    """
    Parse the memory table.

    Args:
        raw: Content of /proc/meminfo, or of a node's meminfo.

    Returns:
        dict field -> value [bytes], or [pages] for the HugePages_ counts.

    Raises:
        ValueError: When a value is no number.

    Source:
        /proc/meminfo, Documentation/filesystems/proc.rst.

    """
    table: dict[str, int] = {}
    for line in raw.split(b"\n"):
        name, colon, rest = line.partition(b":")
        if not colon:
            continue
        value, *unit = rest.split() or [b""]
        key = label(name.split()[-1] if name.split() else b"")
        table[key] = natural(value) * (_KIB if unit[:1] == [b"kB"] else 1)
    return table


def parse_vmstat(raw: bytes) -> dict[str, int]:
    """
    Parse the table of virtual memory counters.

    Args:
        raw: Content of /proc/vmstat.

    Returns:
        dict counter -> value since boot; a line of another form is left out.

    Source:
        /proc/vmstat, mm/vmstat.c.

    """
    pairs = (line.split(b" ") for line in raw.split(b"\n"))
    return {
        pair[0].decode("ascii", "replace"): int(pair[1])
        for pair in pairs
        if len(pair) == 2 and pair[1].isdigit() and len(pair[1]) <= 20  # noqa: PLR2004
    }


def parse_choice(raw: bytes) -> str | None:
    """
    Read which of several words is chosen.

    Args:
        raw: Such as "always [madvise] never".

    Returns:
        The bracketed word; None when there is none.

    """
    _, opened, rest = raw.partition(b"[")
    word, closed, _ = rest.partition(b"]")
    return label(word) if opened and closed else None


def parse_arcstats(raw: bytes) -> int | None:
    """
    Read how much of its cache ZFS would give back.

    Args:
        raw: Content of arcstats.

    Returns:
        Its size less its least size [bytes]; None when either is not told.

    Source:
        size and c_min of /proc/spl/kstat/zfs/arcstats, "name type data" a line.

    """
    rows = (line.split() for line in raw.split(b"\n"))
    table = {row[0]: natural_or_none(row[2]) for row in rows if len(row) == 3}  # noqa: PLR2004
    size, least = table.get(b"size"), table.get(b"c_min")
    return None if size is None or least is None else max(size - least, 0)


# Counters whose increase says something; the rest of vmstat are page counts.
_INTERESTING = (
    "pgfault", "pgmajfault", "pswpin", "pswpout", "pgpgin", "pgpgout", "oom_kill",
    "pgscan_", "pgsteal_", "allocstall", "compact_", "thp_", "workingset_refault", "numa_",
    "drop_", "kswapd_", "pginodesteal", "swap_ra", "zswp", "pgmigrate", "balloon_",
    "hardware_corrupted",
)  # fmt: skip
_MISHAPS = ("oom_kill", "pgmajfault", "compact_fail", "thp_fault_fallback", "hardware_corrupted")
_LEVELS = ("nr_dirty", "nr_writeback", "nr_dirty_threshold", "nr_dirty_background_threshold")


@collector(category="memory", essential=True)
def collect(ctx: Context) -> MemorySample:
    """
    Follow what is available through the window, and the counters over it.

    Args:
        ctx: Paths and window.

    Returns:
        The memory.

    Raises:
        Unavailable: When /proc/meminfo cannot be read.

    Source:
        /proc/meminfo at every sample; /proc/vmstat at both ends; /proc/swaps,
        /sys/kernel/mm/{transparent_hugepage,hugepages,ksm}, /sys/module/zswap, arcstats
        and /proc/slabinfo at the end.

    """
    track: Track[str] = Track()
    used: list[float | None] = []
    at, raw = 0.0, b""
    for at in ctx.ticks():
        raw = ctx.read(ctx.paths.proc / "meminfo")
        if not used:
            track.add(at, _counters(ctx, raw))
        # MemTotal, MemFree and MemAvailable come first; the rest is needed only once.
        used.append(_used(parse_meminfo(b"\n".join(raw.split(b"\n", 3)[:3]))))
    table = parse_meminfo(raw)
    if not table:
        raise Unavailable("/proc/meminfo is empty", Cause.GARBLED)
    track.add(at, _counters(ctx, raw))
    return _sample(ctx, track, table, distribution(used))


def _sample(
    ctx: Context, track: Track[str], table: Mapping[str, int], used: Distribution
) -> MemorySample:
    """Add to what was followed what is read once."""
    newest = track.rows[-1]
    arcstats = ctx.try_read(ctx.paths.proc / "spl/kstat/zfs/arcstats")
    return MemorySample(
        window_seconds=track.seconds,
        total_bytes=table.get("MemTotal"),
        available_bytes=table.get("MemAvailable"),
        utilization=used,
        meminfo=table,
        increases={k: track.increase(k) for k in track.names() if k.startswith(_INTERESTING)},
        totals={k: newest[k] for k in _MISHAPS if k in newest},
        levels={k: newest[k] for k in _LEVELS if k in newest},
        swap_total_bytes=table.get("SwapTotal"),
        swap_used_bytes=_swap_used(table),
        swaps=read_swaps(ctx),
        huge_pages=_chosen(ctx, "enabled"),
        huge_pages_defrag=_chosen(ctx, "defrag"),
        zswap=_zswap(ctx),
        pools=read_pools(ctx),
        merged=read_merged(ctx),
        slabs=read_slabs(ctx) if ctx.duration >= _LONG else None,
        arc_reclaimable_bytes=parse_arcstats(arcstats) if arcstats else None,
    )


def _counters(ctx: Context, meminfo: bytes) -> dict[str, int]:
    """Read vmstat, and of meminfo what is rather a counter: pages lost to memory errors."""
    table = parse_vmstat(ctx.try_read(ctx.paths.proc / "vmstat") or b"")
    fields = meminfo.partition(_POISONED)[2].split(None, 1)
    kibibytes = natural_or_none(fields[0]) if fields else None
    if kibibytes is not None:
        table["hardware_corrupted"] = kibibytes * _KIB // mmap.PAGESIZE
    return table


def _used(table: Mapping[str, int]) -> float | None:
    """Give the share of memory that is not available; unknown without MemAvailable (< 3.14)."""
    free = ratio(table.get("MemAvailable"), table.get("MemTotal"))
    # Counters per CPU are summed while they change, so the sum may pass the total by a little.
    return None if free is None else max(1.0 - free, 0.0)


def _swap_used(table: Mapping[str, int]) -> int | None:
    """Give the swap in use."""
    total, free = table.get("SwapTotal"), table.get("SwapFree")
    return None if total is None or free is None or free > total else total - free


def _chosen(ctx: Context, name: str) -> str | None:
    """Read a mode of transparent huge pages."""
    raw = ctx.try_read(ctx.paths.sys / "kernel/mm/transparent_hugepage" / name)
    return None if raw is None else parse_choice(raw)


def _zswap(ctx: Context) -> bool | None:
    """Tell whether zswap is on."""
    raw = ctx.try_read(ctx.paths.sys / "module/zswap/parameters/enabled")
    return {b"Y": True, b"N": False}.get(raw.strip()) if raw else None
