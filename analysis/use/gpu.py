"""Use of graphics and compute cards."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.model import Facts
from analysis.registry import use
from analysis.use_model import DeviceUse, ErrorCount, ResourceUse
from collectors.gpu_sample import Gpu, GpuSample
from collectors.model import UNKNOWN, Distribution

ERROR_KINDS = ("ecc_corrected", "ecc_uncorrected", "pcie_replay")


@use("gpu")
def gpu(facts: Facts) -> ResourceUse | None:
    """
    Tell how busy the cards were, how full their memory is and what failed.

    Each card has two devices, "NAME" and "NAME:memory".

    Args:
        facts: What is known of the host.

    Returns:
        Utilization of the busiest card, the share of readings in which one was
        slowed down, and errors; None when this host has no card or none is known.

    Source:
        NVML or sysfs, see `collectors.gpu`.

    """
    sample = facts.sample(GpuSample)
    if sample is None:
        return None
    # The cards come first: pages show the first few devices only.
    devices = {card.name: _card(card) for card in sample.gpus}
    for card in sample.gpus:
        if card.memory_share.mean is not None:
            devices[f"{card.name}:memory"] = DeviceUse(utilization=card.memory_share)
    return ResourceUse(
        utilization=_busiest(sample.gpus),
        saturation=_saturation(sample.gpus),
        errors={k: _sum(_errors(card, k) for card in sample.gpus) for k in ERROR_KINDS},
        devices=devices,
    )


def _card(card: Gpu) -> DeviceUse:
    """Tell one card's use."""
    return DeviceUse(
        utilization=card.utilization,
        saturation=_saturation([card]),
        errors={k: _errors(card, k) for k in ERROR_KINDS},
    )


def _saturation(cards: Iterable[Gpu]) -> dict[str, float | None]:
    """Give the share of readings in which the worst card was slowed down, or held to its power."""
    told = [c for c in cards if c.throttled is not None]
    return {
        "throttled": max((c.throttled or 0.0 for c in told), default=None),
        "power_capped": max((c.throttle.get("sw_power_cap", 0.0) for c in told), default=None),
    }


def _busiest(cards: Iterable[Gpu]) -> Distribution:
    """Give the utilization of the busiest card."""
    known = [c.utilization for c in cards if c.utilization.mean is not None]
    return max(known, key=lambda u: u.mean or 0.0, default=UNKNOWN)


def _errors(card: Gpu, kind: str) -> ErrorCount:
    """Count a card's errors of one kind."""
    return ErrorCount(card.errors.get(kind), card.errors_increase.get(kind))


def _sum(counts: Iterable[ErrorCount]) -> ErrorCount:
    """Add the known counts."""
    counts = tuple(counts)
    totals = [c.total for c in counts if c.total is not None]
    increases = [c.increase for c in counts if c.increase is not None]
    return ErrorCount(sum(totals) if totals else None, sum(increases) if increases else None)
