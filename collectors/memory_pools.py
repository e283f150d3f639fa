"""Memory set aside or saved: pools of huge pages, merged pages, the kernel's own caches."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from collectors.base import Context
from collectors.model import Unavailable
from collectors.text import label, natural, natural_or_none

_PREFIX, _SUFFIX = "hugepages-", "kB"
_MOST_SLABS = 10
_LARGE = 4 << 20
_HEADING = b"slabinfo - version: 2."


@dataclass(frozen=True, slots=True)
class HugePool:
    """
    Pages of one size, set aside for who asks for them.

    Attributes:
        pages: All of the pool.
        free: Of them not given out.
        reserved: Free ones that are promised already.
        surplus: Pages beyond the pool's set size.

    """

    pages: int
    free: int | None
    reserved: int | None
    surplus: int | None


@dataclass(frozen=True, slots=True)
class Merged:
    """
    Equal pages that were merged (KSM).

    Attributes:
        running: Whether the kernel looks for more now.
        kept_bytes: Pages kept in place of the equal ones [bytes].
        saved_bytes: What all the others would take [bytes].

    """

    running: bool
    kept_bytes: int | None
    saved_bytes: int | None


@dataclass(frozen=True, slots=True)
class Slab:
    """
    One cache of the kernel's own objects.

    Attributes:
        name: As the kernel calls it, such as "dentry".
        bytes: Its memory [bytes].
        objects: Objects there is room for.
        used: Of them in use; right to the last few of each CPU.

    """

    name: str
    bytes: int
    objects: int
    used: int


def read_pools(ctx: Context) -> dict[int, HugePool]:
    """
    Read the pools of huge pages.

    Args:
        ctx: Paths.

    Returns:
        dict page size [bytes] -> pool; sizes without pages are left out.

    Source:
        /sys/kernel/mm/hugepages, Documentation/admin-guide/mm/hugetlbpage.rst.

    """
    folder = ctx.paths.sys / "kernel/mm/hugepages"
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return {}
    found: dict[int, HugePool] = {}
    for name in names:
        size = natural_or_none(name.removeprefix(_PREFIX).removesuffix(_SUFFIX).encode())
        pages = natural_or_none(ctx.try_read(folder / name / "nr_hugepages", 64))
        if size is not None and pages:
            rest = (
                natural_or_none(ctx.try_read(folder / name / f"{kind}_hugepages", 64))
                for kind in ("free", "resv", "surplus")
            )
            found[size << 10] = HugePool(pages, *rest)
    return found


def read_merged(ctx: Context) -> Merged | None:
    """
    Read what merging equal pages saves.

    Args:
        ctx: Paths.

    Returns:
        The saving; None when the kernel does not merge and never did.

    Source:
        run, pages_shared and pages_sharing of /sys/kernel/mm/ksm,
        Documentation/admin-guide/mm/ksm.rst.

    """
    folder = ctx.paths.sys / "kernel/mm/ksm"
    run = natural_or_none(ctx.try_read(folder / "run", 64))
    if run is None:
        return None
    kept, saved = (
        natural_or_none(ctx.try_read(folder / n, 64)) for n in ("pages_shared", "pages_sharing")
    )
    if run != 1 and not kept:
        return None
    sizes = (None if n is None else n * mmap.PAGESIZE for n in (kept, saved))
    return Merged(run == 1, *sizes)


def parse_slabinfo(raw: bytes) -> Mapping[str, Slab]:
    """
    Parse the kernel's own caches.

    Args:
        raw: Content of /proc/slabinfo.

    Returns:
        dict name -> cache.

    Raises:
        ValueError: When it is no version 2 of the table or a line is cut short.

    Source:
        slabinfo(5): active and all objects, their size, objects and pages of a
        slab; and the number of slabs, the sixteenth word.

    """
    if not raw.startswith(_HEADING):
        raise ValueError(f"not the kernel's caches: {raw[:40]!r}")
    return {slab.name: slab for slab in _slabs(raw)}


def _slabs(raw: bytes) -> Iterator[Slab]:
    """Read the lines below the heading."""
    for line in raw.split(b"\n")[1:]:
        if not line or line.startswith(b"#"):
            continue
        fields = line.split()
        if len(fields) < 15:  # noqa: PLR2004
            raise ValueError(f"not a cache: {line[:40]!r}")
        used, objects, pages, slabs = (natural(fields[n]) for n in (1, 2, 5, 14))
        yield Slab(label(fields[0]), pages * slabs * mmap.PAGESIZE, objects, used)


def read_slabs(ctx: Context) -> tuple[Slab, ...] | None:
    """
    Read the kernel's largest caches.

    Args:
        ctx: Paths.

    Returns:
        At most 10, largest first; None when they may not be read: only root may,
        and that is no gap worth a word, because their sum is known to all.

    Source:
        /proc/slabinfo, slabinfo(5).

    """
    try:
        raw = ctx.read(ctx.paths.proc / "slabinfo", _LARGE)
    except Unavailable:
        return None
    slabs = parse_slabinfo(raw).values()
    return tuple(sorted(slabs, key=lambda s: -s.bytes)[:_MOST_SLABS])
