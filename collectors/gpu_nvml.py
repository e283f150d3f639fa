"""NVIDIA's cards, as their driver tells of them through NVML."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from collectors.base import Context
from collectors.gpu_card import NOTHING, Card, Reading, pci_address
from collectors.gpu_sample import Gpu, GpuHeat, GpuLink, GpuProcess, GpuRepair
from collectors.model import Cause, Unavailable
from collectors.text import label

MOST_PROCESSES = 10
_CHIP, _MEMORY_TEMPERATURE, _RECOVERY, _SLOWDOWN_MARGIN = 0, 82, 230, 194
_SHUTDOWN, _SLOWDOWN, _MEMORY_MAX = 0, 1, 2
_COMPUTE_CLOCK = 1
_CORRECTED, _UNCORRECTED = 0, 1
_SINCE_LOADED, _LIFETIME = 0, 1
_MILLI, _MEGA, _PERCENT = 1e3, 1e6, 100
_LOST, _RESET_REQUIRED, _NO_PERMISSION, _LIBRARY_MISSING = 15, 16, 4, 12
_NOT_LOADED, _MISMATCH = 9, 18
_REASONS = {
    0x1: "idle",
    0x2: "applications_clocks",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
    0x100: "display_clocks",
}
_RECOVERIES = ("none", "gpu_reset", "node_reboot", "drain_p2p", "drain_and_reset")
_WAYS_OUT = {
    _LIBRARY_MISSING: (
        Cause.MISSING,
        (
            "libnvidia-ml.so.1 is not there: install the driver's libraries (Debian libnvidia-ml1, "
            "Ubuntu libnvidia-compute-*; in a container the NVIDIA container toolkit brings them)"
        ),
    ),
    _NOT_LOADED: (
        Cause.MISSING,
        (
            "NVIDIA's driver is not loaded or its devices cannot be opened: modprobe nvidia; ls -l "
            "/dev/nvidia*"
        ),
    ),
    _NO_PERMISSION: (
        Cause.PERMISSION,
        (
            "NVIDIA's driver refuses this user: allow reading and writing /dev/nvidiactl and "
            "/dev/nvidia*"
        ),
    ),
    _MISMATCH: (
        Cause.UNREADABLE,
        (
            "NVIDIA's driver and its libraries have different versions, as after an upgrade: "
            "load the new driver or reboot"
        ),
    ),
}


@contextmanager
def opened(ctx: Context) -> Iterator[list[NvmlCard]]:
    """
    Open NVML, and close it whatever happens.

    Args:
        ctx: Paths.

    Yields:
        Its cards.

    Raises:
        Unavailable: When the library or the driver does not answer, with the way out.

    Source:
        NVML API Reference Guide; nvidia-ml-py.

    """
    # Imported here: hosts without such a card never pay for it.
    try:
        import pynvml
    except ImportError as error:
        text = "the Python package nvidia-ml-py is not installed: ./dev setup"
        raise Unavailable(text, Cause.MISSING) from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _refused(error) from error
    try:
        yield _cards(ctx, pynvml)
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _cards(ctx: Context, nvml: ModuleType) -> list[NvmlCard]:
    """List the cards that this process may use."""
    try:
        return [NvmlCard(ctx, nvml, n) for n in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        raise _refused(error) from error


def _refused(error: Any) -> Unavailable:
    """Turn an error of the library as a whole into an answer with its way out."""
    cause, text = _WAYS_OUT.get(error.value, (Cause.UNREADABLE, f"NVML: {_words(error)}"))
    return Unavailable(text, cause)


def _words(error: Any) -> str:
    """Give an error's text, which is the library's own."""
    try:
        return label(str(error))
    except ValueError:
        return f"error {error.value}"


class NvmlCard(Card):
    """
    A card that NVML tells of.

    Args:
        ctx: Paths.
        nvml: The library.
        index: Its number, as nvidia-smi counts.

    Attributes:
        address: Where it is on the PCI bus; None when it does not say.
        lost: Whether the driver cannot reach it any more.

    """

    def __init__(self, ctx: Context, nvml: ModuleType, index: int) -> None:
        super().__init__(ctx, None)
        self.name = f"nvidia{index}"
        self.lost = False
        self._reset_required = False
        self._nvml = nvml
        self._handle = self._call("nvmlDeviceGetHandleByIndex", index, wanted=True)
        info = self._ask("nvmlDeviceGetPciInfo")
        self.address = pci_address(label(info.busId)) if info else None

    def _ask(self, function: str, *arguments: Any) -> Any:
        """Ask for one thing; None when the card does not have it."""
        return None if self._handle is None else self._call(function, self._handle, *arguments)

    def _call(self, function: str, *arguments: Any, wanted: bool = False) -> Any:
        """Call the library; a lost card is asked nothing more."""
        target = getattr(self._nvml, function, None)
        if target is None or self.lost:
            return None
        try:
            return target(*arguments)
        except self._nvml.NVMLError as error:
            self._judge(error, wanted=wanted)
        except UnicodeDecodeError:
            pass
        return None

    def _judge(self, error: Any, *, wanted: bool) -> None:
        """Remember what an error says of the card; most say that it lacks one thing."""
        self.lost |= error.value == _LOST
        self._reset_required |= error.value == _RESET_REQUIRED
        if wanted and error.value not in (_LOST, _RESET_REQUIRED):
            cause, text = _WAYS_OUT.get(error.value, (Cause.UNREADABLE, _words(error)))
            self.ctx.note(self.name, cause, f"{self.name}: {text}")

    def read(self) -> Reading:
        """
        Read what changes from instant to instant.

        Returns:
            The reading.

        Source:
            nvmlDeviceGet{UtilizationRates,MemoryInfo,Temperature,PowerUsage,ClockInfo,
            CurrentClocksEventReasons,CurrPcieLinkGeneration,CurrPcieLinkWidth}.

        """
        if self._handle is None or self.lost:
            return NOTHING
        rates, memory = self._ask("nvmlDeviceGetUtilizationRates"), self._memory()
        watts = self._ask("nvmlDeviceGetPowerUsage")
        clock = self._ask("nvmlDeviceGetClockInfo", _COMPUTE_CLOCK)
        return Reading(
            utilization=rates.gpu / _PERCENT if rates else None,
            memory_utilization=rates.memory / _PERCENT if rates else None,
            memory_used=int(memory.used) if memory else None,
            celsius=self._ask("nvmlDeviceGetTemperature", _CHIP),
            memory_celsius=self._field(_MEMORY_TEMPERATURE),
            watts=None if watts is None else watts / _MILLI,
            clock=None if clock is None else clock * _MEGA,
            throttle=self._reasons(),
            generation=self._ask("nvmlDeviceGetCurrPcieLinkGeneration"),
            width=self._ask("nvmlDeviceGetCurrPcieLinkWidth"),
        )

    def counts(self) -> dict[str, int | None]:
        """
        Read the error counters.

        Returns:
            dict error kind -> count; None for one that is not kept.

        Source:
            nvmlDeviceGetTotalEccErrors, nvmlDeviceGetPcieReplayCounter.

        """
        errors = "nvmlDeviceGetTotalEccErrors"
        return {
            "ecc_corrected": self._ask(errors, _CORRECTED, _SINCE_LOADED),
            "ecc_uncorrected": self._ask(errors, _UNCORRECTED, _SINCE_LOADED),
            "ecc_corrected_lifetime": self._ask(errors, _CORRECTED, _LIFETIME),
            "ecc_uncorrected_lifetime": self._ask(errors, _UNCORRECTED, _LIFETIME),
            "pcie_replay": self._ask("nvmlDeviceGetPcieReplayCounter"),
        }

    def describe(self) -> Gpu:
        """
        Tell what the card is, and what does not change within a window.

        Returns:
            The card without what was followed.

        Source:
            The NVML functions called here and in what it calls.

        """
        memory, limit = self._memory(), self._ask("nvmlDeviceGetEnforcedPowerLimit")
        fastest = self._ask("nvmlDeviceGetMaxClockInfo", _COMPUTE_CLOCK)
        place, users = self.place, self._users()
        return Gpu(
            name=self.name,
            vendor="nvidia",
            model=self._text("nvmlDeviceGetName") or (place.number if place else None),
            driver=place.driver if place else "nvidia",
            driver_version=self._driver_version(),
            pci=self.address or (place.address if place else None),
            uuid=self._text("nvmlDeviceGetUUID"),
            numa_node=place.numa_node if place else None,
            measured=True,
            memory_total_bytes=int(memory.total) if memory else None,
            heat=self._heat(),
            power_limit_watts=None if limit is None else limit / _MILLI,
            clock_max_hz=None if fastest is None else fastest * _MEGA,
            ecc=self._mode("nvmlDeviceGetEccMode"),
            repair=self._repair(),
            link=GpuLink(
                generation_max=self._ask("nvmlDeviceGetMaxPcieLinkGeneration"),
                width_max=self._ask("nvmlDeviceGetMaxPcieLinkWidth"),
            ),
            mig=self._mode("nvmlDeviceGetMigMode"),
            persistence=_flag(self._ask("nvmlDeviceGetPersistenceMode")),
            processes=tuple(self._named(p, used) for p, used in users[:MOST_PROCESSES]),
            process_count=len(users) if self._handle is not None and not self.lost else None,
            # The last to be asked for: any of the calls above may have told it.
            recovery=self._recovery(),
            lost=self.lost,
        )

    def _memory(self) -> Any:
        """Ask for memory; the older answer counts what the driver reserves as used."""
        version = getattr(self._nvml, "nvmlMemory_v2", None)
        newer = self._ask("nvmlDeviceGetMemoryInfo", version) if version else None
        return newer or self._ask("nvmlDeviceGetMemoryInfo")

    def _reasons(self) -> frozenset[str] | None:
        """Ask why the clock is not higher; drivers before 535 know the older name only."""
        mask = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if mask is None:
            mask = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        if mask is None:
            return None
        return frozenset(name for bit, name in _REASONS.items() if mask & bit)

    def _heat(self) -> GpuHeat:
        """Ask for the temperatures at which the card helps itself."""
        threshold = "nvmlDeviceGetTemperatureThreshold"
        # No card has a limit of 0 degrees: it is how some drivers say that they have none.
        return GpuHeat(
            slowdown=self._ask(threshold, _SLOWDOWN) or self._nearness(),
            shutdown=self._ask(threshold, _SHUTDOWN) or None,
            memory_max=self._ask(threshold, _MEMORY_MAX) or None,
        )

    def _nearness(self) -> float | None:
        """Work the slowdown temperature out where, since Ada, only the distance to it is told."""
        margin = self._ask("nvmlDeviceGetMarginTemperature")
        celsius = self._ask("nvmlDeviceGetTemperature", _CHIP)
        if margin is None or celsius is None:
            return None
        # The distance is to where the driver begins; the hardware follows a few degrees above.
        return float(celsius + margin - (self._field(_SLOWDOWN_MARGIN) or 0))

    def _repair(self) -> GpuRepair:
        """Ask for remapped rows, or for the retired pages of cards before Ampere."""
        rows = self._ask("nvmlDeviceGetRemappedRows")
        if rows is not None:
            return GpuRepair(rows[0], rows[1], bool(rows[2]), bool(rows[3]))
        several, double = (self._ask("nvmlDeviceGetRetiredPages", cause) for cause in (0, 1))
        return GpuRepair(
            corrected=None if several is None else len(several),
            uncorrected=None if double is None else len(double),
            pending=_flag(self._ask("nvmlDeviceGetRetiredPagesPendingStatus")),
        )

    def _recovery(self) -> str | None:
        """Ask what must be done before the card works again."""
        if self._reset_required:
            return "gpu_reset"
        action = self._field(_RECOVERY)
        if action is None:
            return None
        return _RECOVERIES[int(action)] if action < len(_RECOVERIES) else "other"

    def _field(self, number: int) -> float | None:
        """Ask for a field, which is a number with its type beside it."""
        values = self._ask("nvmlDeviceGetFieldValues", [number])
        if not values or values[0].nvmlReturn != 0:
            return None
        kinds = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
        kind = values[0].valueType
        value = getattr(values[0].value, kinds[kind], None) if 0 <= kind < len(kinds) else None
        return None if value is None else float(value)

    def _users(self) -> list[tuple[int, int | None]]:
        """List the processes with the memory they hold, largest first."""
        held: dict[tuple[int, int, int], int | None] = {}
        for kind in ("Compute", "Graphics"):
            name = f"nvmlDeviceGet{kind}RunningProcesses"
            # By version: the name without one raises something else on older drivers.
            found = self._ask(f"{name}_v3")
            for process in (self._ask(f"{name}_v2") if found is None else found) or ():
                key = process.pid, process.gpuInstanceId, process.computeInstanceId
                # One that computes and draws is listed twice, each time with all its memory.
                known = [m for m in (held.get(key), process.usedGpuMemory) if m is not None]
                held[key] = max(known, default=None)
        return _by_pid(held)

    def _named(self, pid: int, used: int | None) -> GpuProcess:
        """Name a process; its command line is nobody's business."""
        comm = self.ctx.try_read(self.ctx.paths.proc / str(pid) / "comm", 64)
        return GpuProcess(pid, label(comm.rstrip(b"\n")) if comm else None, used)

    def _text(self, function: str) -> str | None:
        """Ask for a text."""
        text = self._ask(function)
        return label(text) if text else None

    def _mode(self, function: str) -> bool | None:
        """Ask for a mode in force, which is told together with the one after a reset."""
        modes = self._ask(function)
        return None if modes is None else bool(modes[0])

    def _driver_version(self) -> str | None:
        """Ask for the driver's version."""
        text = self._call("nvmlSystemGetDriverVersion")
        return label(text) if text else None


def _flag(value: int | None) -> bool | None:
    """Read 0 or 1."""
    return None if value is None else value != 0


def _by_pid(held: dict[tuple[int, int, int], int | None]) -> list[tuple[int, int | None]]:
    """Add up what a process holds in the instances of a divided card."""
    sums: dict[int, int | None] = {}
    for (pid, _, _), used in held.items():
        earlier = sums.get(pid, 0)
        sums[pid] = None if earlier is None or used is None else earlier + used
    return sorted(sums.items(), key=lambda item: (-(item[1] or 0), item[0]))
