"""AMD's and Intel's cards, as their drivers tell of them in sysfs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from collectors.base import Context
from collectors.gpu_card import (
    NOTHING,
    Card,
    Place,
    Reading,
    directory,
    is_suspended,
    names_in,
)
from collectors.gpu_sample import Gpu, GpuHeat, GpuRepair
from collectors.text import key_values, label, natural_or_none

_MILLI, _MICRO, _MEGA, _PERCENT = 1e3, 1e6, 1e6, 100
_CLOCK = re.compile(rb"(?m)^\d+: *(\d+)Mhz", re.IGNORECASE)
# What Intel's drivers call the reasons that are as good as a brake of the hardware.
_REASONS = {"thermal": "hw_thermal_slowdown", "prochot": "hw_thermal_slowdown"}


class SysfsCard(Card):
    """
    A card whose driver tells its numbers in files below its PCI device.

    Args:
        ctx: Paths.
        place: Where it is on the PCI bus.

    """

    def __init__(self, ctx: Context, place: Place) -> None:
        super().__init__(ctx, place)
        self._address, self._card = place.address, place.card or "card"

    def _number(self, name: str) -> int | None:
        """Read a file below the PCI device that holds one number."""
        return natural_or_none(self.ctx.try_read(self._here() / name, 128))

    def _scaled(self, name: str, divisor: float) -> float | None:
        """Read a number in another unit."""
        value = self._number(name)
        return None if value is None else value / divisor

    def _here(self) -> Path:
        """Give the PCI device's directory."""
        return directory(self.ctx, self._address)

    def _sensors(self) -> str:
        """Give the folder of the card's sensors."""
        folders = names_in(self._here() / "hwmon")
        return f"hwmon/{folders[0]}" if folders else "hwmon"

    def _asleep(self) -> bool:
        """Tell whether the card is switched off; most reads would wake it."""
        return is_suspended(self.ctx, self._address)


class AmdCard(SysfsCard):
    """A card that amdgpu drives."""

    def read(self) -> Reading:
        """
        Read what changes from instant to instant.

        Returns:
            The reading.

        Source:
            {gpu,mem}_busy_percent, mem_info_vram_used and hwmon of the PCI device,
            Documentation/gpu/amdgpu/thermal.rst and driver-misc.rst.

        """
        if self._asleep():
            return NOTHING
        sensors = self._sensors()
        watts = self._scaled(f"{sensors}/power1_average", _MICRO)
        return Reading(
            utilization=self._scaled("gpu_busy_percent", _PERCENT),
            memory_utilization=self._scaled("mem_busy_percent", _PERCENT),
            memory_used=self._number("mem_info_vram_used"),
            celsius=self._scaled(f"{sensors}/{self._hottest(sensors)}_input", _MILLI),
            memory_celsius=self._scaled(f"{sensors}/temp3_input", _MILLI),
            # Newer chips have only what is drawn at this instant.
            watts=self._scaled(f"{sensors}/power1_input", _MICRO) if watts is None else watts,
            clock=self._scaled(f"{sensors}/freq1_input", 1),
        )

    def counts(self) -> dict[str, int | None]:
        """
        Read the error counters.

        Returns:
            dict error kind -> count; None for one that is not kept.

        Source:
            ras/*_err_count and pcie_replay_count, Documentation/gpu/amdgpu/ras.rst.

        """
        if self._asleep():
            return {}
        totals: dict[str, int] = {}
        for name in names_in(self._here() / "ras"):
            if name.endswith("_err_count"):
                raw = self.ctx.try_read(self._here() / "ras" / name, 4096) or b""
                for kind, count in parse_errors(raw).items():
                    totals[kind] = totals.get(kind, 0) + count
        return {
            "ecc_corrected": totals.get("ce"),
            "ecc_uncorrected": totals.get("ue"),
            "pcie_replay": self._number("pcie_replay_count"),
        }

    def describe(self) -> Gpu:
        """
        Tell what the card is, and what does not change within a window.

        Returns:
            The card without what was followed.

        Source:
            product_name, mem_info_vram_total, pp_dpm_sclk, hwmon and
            ras/gpu_vram_bad_pages of the PCI device.

        """
        gpu = super().describe()
        if self._asleep():
            return replace(gpu, measured=True, suspended=True)
        sensors = self._sensors()
        heat, model = self._hottest(sensors), self.ctx.try_read(self._here() / "product_name", 256)
        clocks = _CLOCK.findall(self.ctx.try_read(self._here() / "pp_dpm_sclk", 4096) or b"")
        return replace(
            gpu,
            measured=True,
            suspended=False,
            model=label(model.strip()) if model and model.strip() else gpu.model,
            memory_total_bytes=self._number("mem_info_vram_total"),
            heat=GpuHeat(
                slowdown=self._scaled(f"{sensors}/{heat}_crit", _MILLI),
                shutdown=self._scaled(f"{sensors}/{heat}_emergency", _MILLI),
                memory_max=self._scaled(f"{sensors}/temp3_crit", _MILLI),
            ),
            power_limit_watts=self._scaled(f"{sensors}/power1_cap", _MICRO),
            clock_max_hz=max((int(c) * _MEGA for c in clocks), default=None),
            repair=parse_bad_pages(self.ctx.try_read(self._here() / "ras/gpu_vram_bad_pages")),
        )

    def _hottest(self, sensors: str) -> str:
        """Choose the junction, by which the chip is slowed down; older chips have an edge only."""
        names = names_in(self._here() / sensors)
        return "temp2" if "temp2_input" in names else "temp1"


class IntelCard(SysfsCard):
    """A card that i915 or xe drives; neither tells how busy it is."""

    def read(self) -> Reading:
        """
        Read what changes from instant to instant.

        Returns:
            The reading.

        Source:
            i915: drm/cardN/gt/gt0/{rps_act_freq_mhz,throttle_reason_*}, before 5.18
            drm/cardN/gt_act_freq_mhz; xe: tile0/gt0/freq0/{act_freq,throttle}.

        """
        if self._asleep():
            return NOTHING
        return Reading(
            clock=self._first("rps_act_freq_mhz", "gt_act_freq_mhz", "act_freq"),
            throttle=self._reasons(),
        )

    def describe(self) -> Gpu:
        """
        Tell what the card is, and what does not change within a window.

        Returns:
            The card without what was followed.

        Source:
            i915: drm/cardN/gt/gt0/rps_RP0_freq_mhz or drm/cardN/gt_RP0_freq_mhz;
            xe: tile0/gt0/freq0/rp0_freq.

        """
        asleep = self._asleep()
        fastest = ("rps_RP0_freq_mhz", "gt_RP0_freq_mhz", "rp0_freq")
        return replace(
            super().describe(),
            measured=True,
            suspended=asleep,
            clock_max_hz=None if asleep else self._first(*fastest),
        )

    def _first(self, newer: str, older: str, xe: str) -> float | None:
        """Read a clock from where this driver has it [Hz]."""
        drm = f"drm/{self._card}"
        for name in (f"{drm}/gt/gt0/{newer}", f"{drm}/{older}", f"tile0/gt0/freq0/{xe}"):
            clock = self._number(name)
            if clock is not None:
                return clock * _MEGA
        return None

    def _reasons(self) -> frozenset[str] | None:
        """Read why the clock is not higher; each reason is a file with 0 or 1."""
        folders = {f"drm/{self._card}/gt/gt0": "throttle_reason_", _XE_THROTTLE: "reason_"}
        told: dict[str, int | None] = {}
        for folder, prefix in folders.items():
            for name in names_in(self._here() / folder):
                if name.startswith(prefix):
                    told[name.removeprefix(prefix)] = self._number(f"{folder}/{name}")
        known = {name: value for name, value in told.items() if value is not None}
        known.pop("status", None)  # whether there is any reason
        if not known:
            return None
        return frozenset(_REASONS.get(name, name) for name, value in known.items() if value)


_XE_THROTTLE = "tile0/gt0/freq0/throttle"
# Cards of any other driver are named and not measured; nouveau is one of them.
DRIVERS: Mapping[str, type[SysfsCard]] = {
    "amdgpu": AmdCard,
    "i915": IntelCard,
    "xe": IntelCard,
}


def parse_errors(raw: bytes) -> dict[str, int]:
    """
    Parse the errors of one part of a card.

    Args:
        raw: Content of ras/*_err_count.

    Returns:
        "ce" (corrected) and "ue" (uncorrected) to their counts; what is not told is left out.

    Source:
        Documentation/gpu/amdgpu/ras.rst, RAS Error Count sysfs Interface.

    """
    return {k: v for k, v in key_values(raw, b":").items() if k in ("ce", "ue")}


def parse_bad_pages(raw: bytes | None) -> GpuRepair:
    """
    Parse the pages of a card's memory that are no longer used.

    Args:
        raw: Content of ras/gpu_vram_bad_pages; None when there is none.

    Returns:
        The pages taken out of use, whether others wait, and whether one could not be.

    Source:
        Documentation/gpu/amdgpu/ras.rst, RAS VRAM Bad Pages sysfs Interface: each
        line ends in R (reserved), P (pending) or F (could not be reserved).

    """
    if raw is None:
        return GpuRepair()
    flags = [line.rpartition(b":")[2].strip() for line in raw.splitlines()]
    # A pending page waits for the driver only, so no reset is due.
    return GpuRepair(uncorrected=flags.count(b"R"), pending=False, failed=b"F" in flags)
