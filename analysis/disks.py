"""What rules on disks share: which count, what they are, how to name them."""

from __future__ import annotations

from analysis.model import Culprit, Facts
from analysis.text import size
from collectors.disk import Disk, DiskSample
from collectors.system import SystemSample

# A task that reads or writes alone waits for every request, and nobody else does.
BLOCKED_GATE = 1.5  # [tasks]
_VIRTUAL_MODELS = ("QEMU", "VMware", "VBOX", "Msft", "Virtual", "Google", "Amazon", "Xen")


def disks(facts: Facts) -> list[Disk]:
    """
    Give the disks that are no stack on others and not in memory.

    Args:
        facts: What is known of the host.

    Returns:
        The disks, in the kernel's order; none when unknown.

    """
    sample = facts.sample(DiskSample)
    return [d for d in (sample.disks if sample else ()) if d.device.in_sums]


def kind_of(disk: Disk, facts: Facts) -> str:
    """
    Tell what a disk may be held to, as it tells itself.

    Args:
        disk: The disk.
        facts: What is known of the host.

    Returns:
        "nvme", "rotating", "flash", or "virtual" where a host or a network decides;
        virtual disks tell that they rotate, which says nothing.

    """
    device, system = disk.device, facts.sample(SystemSample)
    guest = system is not None and system.virtualization not in (None, "none")
    named = any(word in (device.model or "") for word in _VIRTUAL_MODELS)
    if device.kind not in ("nvme", "scsi", "mmc") or guest or named:
        return "virtual"
    if device.kind == "nvme":
        return "nvme"
    return "rotating" if device.rotational or device.kind == "mmc" else "flash"


def name_disk(disk: Disk, value: float | None, unit: str) -> Culprit:
    """
    Name a disk as a culprit.

    Args:
        disk: The disk.
        value: Its part.
        unit: Unit of the part.

    Returns:
        The culprit, with what the disk is.

    """
    device = disk.device
    room = None if device.size_bytes is None else size(device.size_bytes)
    words = [device.alias, device.model, device.kind, room]
    return Culprit(
        "device", disk.name, value=value, unit=unit, detail=", ".join(filter(None, words))
    )
