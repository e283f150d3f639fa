"""What is known of graphics and compute processors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.model import UNKNOWN, Distribution


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """
    A process that uses a card.

    Attributes:
        pid: Its process id.
        comm: Its name; None when it cannot be read, such as from within a container.
        bytes: Memory it holds on the card [bytes]; None when the driver does not tell.

    """

    pid: int
    comm: str | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class GpuHeat:
    """
    Temperatures of a card, and its own limits.

    Attributes:
        celsius: Of the chip [degrees Celsius].
        slowdown: From here the hardware slows the chip down [degrees Celsius].
        shutdown: From here the card switches itself off [degrees Celsius].
        memory: Of the card's memory [degrees Celsius].
        memory_max: From here the driver slows the card for its memory [degrees Celsius].

    """

    celsius: Distribution = UNKNOWN
    slowdown: float | None = None
    shutdown: float | None = None
    memory: Distribution = UNKNOWN
    memory_max: float | None = None


@dataclass(frozen=True, slots=True)
class GpuRepair:
    """
    What a card did about bad places in its memory.

    Attributes:
        corrected: Rows remapped or pages retired for corrected errors.
        uncorrected: Rows remapped or pages retired for uncorrected errors.
        pending: Whether a repair waits for a reset of the card.
        failed: Whether a repair was not possible.

    """

    corrected: int | None = None
    uncorrected: int | None = None
    pending: bool | None = None
    failed: bool | None = None


@dataclass(frozen=True, slots=True)
class GpuLink:
    """
    The PCI Express link of a card.

    Attributes:
        generation: Fastest generation seen in the window; an idle link slows down on purpose.
        generation_max: Fastest that card and host have in common.
        width: Most lanes seen in the window.
        width_max: Most lanes that card and slot have in common.

    """

    generation: int | None = None
    generation_max: int | None = None
    width: int | None = None
    width_max: int | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """
    One card.

    Attributes:
        name: nvidiaN with the number that nvidia-smi takes, cardN as in /dev/dri, or
            else the PCI address.
        vendor: nvidia, amd or intel.
        model: Its model, or else the PCI vendor and device id.
        driver: The kernel's driver for it; None when none is bound.
        driver_version: The driver's version, where it has one of its own.
        pci: Its PCI address as sysfs writes it.
        uuid: What tells it from all other cards.
        numa_node: The memory node it is attached to; None when the firmware does not say.
        measured: Whether there is a source for its numbers.
        lost: Whether the driver cannot reach it any more.
        recovery: What the driver says must be done before it works again: "none",
            "gpu_reset", "node_reboot", "drain_p2p", "drain_and_reset", "other".
        suspended: Whether it is switched off until somebody uses it; it is not woken.
        utilization: Share of time in which it computed anything [ratio].
        memory_utilization: Share of time in which its memory was read or written [ratio].
        memory_total_bytes: Its memory [bytes].
        memory_used_bytes: Of it allocated at the window's end [bytes].
        memory_share: Allocated share of its memory [ratio].
        heat: Temperatures and their limits.
        power_watts: Power drawn [W].
        power_limit_watts: Power it may draw [W].
        clock_hz: Clock of its computing units [Hz].
        clock_max_hz: Highest such clock [Hz].
        throttle: Each reason for a lower clock that was told to the share of readings that
            told it [ratio]; idle is one of them.
        throttled: Share of readings in which the hardware slowed it down because of heat
            or for a power supply that asked for it [ratio]; None when it does not tell reasons.
        errors: "ecc_corrected", "ecc_uncorrected" (since the driver was loaded),
            "ecc_corrected_lifetime", "ecc_uncorrected_lifetime", "pcie_replay" to their counts.
        errors_increase: The same within the window.
        ecc: Whether its memory is protected by an error-correcting code.
        repair: What it did about bad places in its memory.
        link: Its PCI Express link.
        mig: Whether it is divided into instances; its utilization is then not told.
        persistence: Whether the driver keeps it ready while nobody uses it.
        processes: Who uses it, largest first.
        process_count: How many use it, those not in `processes` included.

    """

    name: str
    vendor: str
    model: str | None = None
    driver: str | None = None
    driver_version: str | None = None
    pci: str | None = None
    uuid: str | None = None
    numa_node: int | None = None
    measured: bool = False
    lost: bool = False
    recovery: str | None = None
    suspended: bool = False
    utilization: Distribution = UNKNOWN
    memory_utilization: Distribution = UNKNOWN
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_share: Distribution = UNKNOWN
    heat: GpuHeat = GpuHeat()
    power_watts: Distribution = UNKNOWN
    power_limit_watts: float | None = None
    clock_hz: Distribution = UNKNOWN
    clock_max_hz: float | None = None
    throttle: Mapping[str, float] = field(default_factory=dict)
    throttled: float | None = None
    errors: Mapping[str, int | None] = field(default_factory=dict)
    errors_increase: Mapping[str, int | None] = field(default_factory=dict)
    ecc: bool | None = None
    repair: GpuRepair = GpuRepair()
    link: GpuLink = GpuLink()
    mig: bool | None = None
    persistence: bool | None = None
    processes: tuple[GpuProcess, ...] = ()
    process_count: int | None = None


@dataclass(frozen=True, slots=True)
class GpuSample:
    """
    The cards of this host.

    Attributes:
        window_seconds: Observed time [s].
        gpus: The cards.
        left_out: Cards beyond the most that are looked at.
        network_nodes: Network interface to the memory node it is attached to: traffic
            between a card and an interface on another node crosses the link between them.

    """

    window_seconds: float
    gpus: tuple[Gpu, ...]
    left_out: int = 0
    network_nodes: Mapping[str, int] = field(default_factory=dict)
