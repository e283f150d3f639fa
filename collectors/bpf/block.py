"""What probes of block I/O share: operations, device names, histograms of both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from collectors.bpf import model
from collectors.bpf.kernel import Kernel, device
from collectors.bpf.model import NANOSECOND, Histogram

OPERATIONS = {0: "other", 1: "read", 2: "write", 3: "flush", 4: "discard"}
ANY = 15  # operation of a histogram that does not tell them apart


def block_maps(name: str) -> str:
    """
    Write the C of what these probes share: `NAME_operation(rwbs)`, `NAME_key`, `NAME_add`.

    Args:
        name: Of the probe.

    Returns:
        C text; `histograms(kernel, name, ...)` reads its maps.

    """
    return _C.replace("NAME", name)


_C = r"""
struct NAME_slot { u32 dev; u16 operation; u16 slot; };
struct NAME_row { u32 dev; u32 operation; };
BPF_HASH(NAME_slots, struct NAME_slot, u64, 4096);
BPF_HASH(NAME_sums, struct NAME_row, u64, 512);

/* The first letters of rwbs: an F before the operation asks for a flush first. */
static __always_inline u32 NAME_operation(const u8 *rwbs)
{
    u8 letter = rwbs[0] == 'F' && rwbs[1] >= 'A' ? rwbs[1] : rwbs[0];
    if (letter == 'R')
        return 1;
    if (letter == 'W')
        return 2;
    if (letter == 'F')
        return 3;
    return letter == 'D' ? 4 : 0;
}

static __always_inline void NAME_add(u32 dev, u32 operation, u32 slot, u64 value)
{
    struct NAME_slot place = {.dev = dev};
    struct NAME_row row = {.dev = dev};
    place.operation = operation;
    place.slot = slot;
    row.operation = operation;
    NAME_slots.atomic_increment(place, 1);
    NAME_sums.atomic_increment(row, value);
}
"""


def histograms(
    kernel: Kernel, name: str, family: str, *, unit: float = NANOSECOND
) -> tuple[Histogram, ...]:
    """
    Read the histograms made by `NAME_add`.

    Args:
        kernel: The maps.
        name: Of the probe.
        family: The metric family.
        unit: One of the kernel's units in the histogram's.

    Returns:
        One per device and operation.

    """
    rows: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    for key, count in kernel.items(f"{name}_slots"):
        rows[key.dev, key.operation][key.slot] = count
    sums = {(k.dev, k.operation): v for k, v in kernel.items(f"{name}_sums")}
    names = Names(kernel)
    return tuple(
        model.histogram(
            family, slots, sums.get(row, 0), unit=unit, labels=_labels(names[row[0]], row[1])
        )
        for row, slots in sorted(rows.items())
    )


def _labels(name: str, operation: int) -> Mapping[str, str]:
    """Label a histogram."""
    named = {} if operation == ANY else {"operation": OPERATIONS[operation]}
    return {"device": name} | named


class Names:
    """
    Name devices by their numbers.

    Args:
        kernel: Knows the block devices.

    """

    def __init__(self, kernel: Kernel) -> None:
        self._names = kernel.devices()

    def __getitem__(self, number: int) -> str:
        """Name one; a device without a name is MAJOR:MINOR."""
        major, minor = device(number)
        return self._names.get((major, minor), f"{major}:{minor}")
