"""A card while it is followed: its place on the PCI bus and what is read of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from collectors.base import Context
from collectors.gpu_sample import Gpu
from collectors.text import integer, label

VENDORS = {"10DE": "nvidia", "1002": "amd", "8086": "intel"}
_DISPLAY = 0x03
_ACCELERATOR = 0x12  # as the larger of AMD's cards call themselves
_FOLDER = "bus/pci/devices"


@dataclass(frozen=True, slots=True)
class Reading:
    """
    A card at one instant; None is unknown.

    Attributes:
        utilization: Share of the driver's last sampling period with work [ratio].
        memory_utilization: The same for its memory [ratio].
        memory_used: Allocated memory [bytes].
        celsius: Of the chip [degrees Celsius].
        memory_celsius: Of the memory [degrees Celsius].
        watts: Power [W].
        clock: Of the computing units [Hz].
        throttle: Reasons for a lower clock.
        generation: Of the PCI Express link now.
        width: Lanes of the link now.

    """

    utilization: float | None = None
    memory_utilization: float | None = None
    memory_used: int | None = None
    celsius: float | None = None
    memory_celsius: float | None = None
    watts: float | None = None
    clock: float | None = None
    throttle: frozenset[str] | None = None
    generation: int | None = None
    width: int | None = None


NOTHING = Reading()


@dataclass(frozen=True, slots=True)
class Place:
    """
    A graphics or compute card on the PCI bus.

    Attributes:
        address: As sysfs writes it: four digits of domain at least, lower case.
        vendor: nvidia, amd or intel.
        number: PCI vendor and device id.
        driver: The driver bound to it.
        numa_node: The memory node it is attached to.
        card: Its name below /dev/dri; None without such a driver.
        suspended: Whether it is switched off until somebody uses it.

    """

    address: str
    vendor: str
    number: str
    driver: str | None
    numa_node: int | None
    card: str | None
    suspended: bool


class Card:
    """
    A card of which nothing but the place is known; others know more.

    Args:
        ctx: Paths.
        place: Where it is on the PCI bus.

    """

    def __init__(self, ctx: Context, place: Place | None) -> None:
        self.ctx = ctx
        self.place = place

    def read(self) -> Reading:
        """
        Read what changes from instant to instant.

        Returns:
            The reading.

        """
        return NOTHING

    def counts(self) -> dict[str, int | None]:
        """
        Read the error counters.

        Returns:
            dict error kind -> count; None for one that is not kept.

        """
        return {}

    def describe(self) -> Gpu:
        """
        Tell what the card is, and what does not change within a window.

        Returns:
            The card without what was followed.

        """
        place = self.place
        if place is None:
            return Gpu("unknown", "unknown")
        return Gpu(
            name=place.card or place.address,
            vendor=place.vendor,
            model=place.number,
            driver=place.driver,
            pci=place.address,
            numa_node=place.numa_node,
            suspended=place.suspended,
        )


def find(ctx: Context) -> tuple[Place, ...]:
    """
    Find the cards of the vendors whose cards compute.

    What a virtual machine or a management board shows a console with is none of them.

    Args:
        ctx: Paths; in its notes it is kept which devices are cards.

    Returns:
        The cards, by address.

    Source:
        /sys/bus/pci/devices/*/{uevent,numa_node,physfn,power/runtime_status,drm}.

    """
    names = tuple(names_in(ctx.paths.sys / _FOLDER))
    if ctx.memory.get("pci_names") != names:
        # A host has hundreds of PCI devices, and their classes never change.
        ctx.memory["pci_names"] = names
        ctx.memory["pci_cards"] = tuple(n for n in names if _is_card(ctx, n))
    return tuple(_place(ctx, name) for name in ctx.memory["pci_cards"])


def directory(ctx: Context, address: str) -> Path:
    """
    Give a PCI device's directory.

    Args:
        ctx: Paths.
        address: The device, as sysfs writes it.

    Returns:
        The directory.

    """
    return ctx.paths.sys / _FOLDER / address


def pci_address(text: str) -> str:
    """
    Write a PCI address as sysfs does.

    Args:
        text: The address as a driver writes it, such as "00000000:8A:00.0".

    Returns:
        Such as "0000:8a:00.0": the kernel prints the domain with "%04x". What is no
        address comes back in lower case.

    """
    domain, colon, rest = text.strip().lower().partition(":")
    try:
        return f"{int(domain, 16):04x}{colon}{rest}"
    except ValueError:
        return text.strip().lower()


def numa_node(ctx: Context, device: Path) -> int | None:
    """
    Tell which memory node a device is attached to.

    Args:
        ctx: Paths.
        device: Its directory in sysfs.

    Returns:
        The node; None when the firmware does not say, which the kernel writes as -1.

    """
    raw = ctx.try_read(device / "numa_node", 32)
    try:
        node = integer(raw.strip()) if raw else -1
    except ValueError:
        return None
    return node if node >= 0 else None


def names_in(path: Path) -> list[str]:
    """
    List a directory that may not exist.

    Args:
        path: The directory.

    Returns:
        The names in it, in order; none when it cannot be read.

    """
    try:
        return sorted(entry.name for entry in path.iterdir())
    except OSError:
        return []


def _uevent(ctx: Context, address: str) -> dict[str, str]:
    """Read what the kernel tells of a PCI device."""
    raw = ctx.try_read(directory(ctx, address) / "uevent", 4096) or b""
    pairs = (line.partition(b"=") for line in raw.splitlines())
    return {label(key): label(value) for key, _, value in pairs}


def _is_card(ctx: Context, address: str) -> bool:
    """Tell whether a PCI device is a card that computes, and not a slice of one."""
    about = _uevent(ctx, address)
    vendor = VENDORS.get(about.get("PCI_ID", "").upper()[:4])
    try:
        kind = int(about.get("PCI_CLASS", ""), 16) >> 16
    except ValueError:
        return False
    right = kind == _DISPLAY or (kind == _ACCELERATOR and vendor == "amd")
    return vendor is not None and right and not (directory(ctx, address) / "physfn").exists()


def _place(ctx: Context, address: str) -> Place:
    """Describe a card's place."""
    about, here = _uevent(ctx, address), directory(ctx, address)
    number = about.get("PCI_ID", "").lower()
    cards = (n for n in names_in(here / "drm") if n.startswith("card"))
    return Place(
        address=address,
        vendor=VENDORS.get(number.upper()[:4], "unknown"),
        number=number,
        driver=about.get("DRIVER"),
        numa_node=numa_node(ctx, here),
        card=next(cards, None),
        suspended=is_suspended(ctx, address),
    )


def is_suspended(ctx: Context, address: str) -> bool:
    """
    Tell whether a card is switched off until somebody uses it.

    Args:
        ctx: Paths.
        address: The card.

    Returns:
        True when most reads would wake it.

    Source:
        /sys/bus/pci/devices/*/power/runtime_status, Documentation/ABI/testing/sysfs-devices-power.

    """
    state = ctx.try_read(directory(ctx, address) / "power/runtime_status", 32) or b""
    return state.strip() == b"suspended"
