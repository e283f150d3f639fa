"""Use of the CPUs."""

from __future__ import annotations

from analysis.model import Facts
from analysis.registry import use
from analysis.use_model import DeviceUse, ErrorCount, ResourceUse
from collectors.cpu import CpuSample
from collectors.interrupts import InterruptsSample
from collectors.model import Distribution
from collectors.pressure import PressureSample


@use("cpu")
def cpu(facts: Facts) -> ResourceUse | None:
    """
    Tell how busy the CPUs were and how much work waited for them.

    Args:
        facts: What is known of the host.

    Returns:
        Utilization of all and of each CPU, tasks that waited for one, the
        share of time in which any did, and machine check errors; None when
        /proc/stat is unknown.

    Source:
        /proc/stat, /proc/pressure/cpu, MCE of /proc/interrupts; the USE method,
        Brendan Gregg.

    """
    sample = facts.sample(CpuSample)
    if sample is None:
        return None
    pressure = facts.sample(PressureSample)
    some = pressure.cpu.some.mean if pressure and pressure.cpu else None
    return ResourceUse(
        utilization=sample.utilization,
        saturation={"steal": sample.states.get("steal")},
        queue_length=waiting(sample),
        pressure={"some": some},
        errors={"machine_check": _machine_checks(facts)},
        devices={
            f"cpu{number}": DeviceUse(utilization=Distribution(share, None))
            for number, share in sample.per_cpu.items()
        },
    )


def waiting(sample: CpuSample) -> float | None:
    """
    Tell how many runnable tasks had no CPU, on average.

    Args:
        sample: What the CPUs did.

    Returns:
        Mean excess of runnable tasks over CPUs [tasks]; None when unknown.

    Source:
        procs_running of /proc/stat, less the reader.

    """
    readings = sample.running.samples
    if not readings:
        return None
    return sum(max(r - sample.online, 0) for r in readings) / len(readings)


def _machine_checks(facts: Facts) -> ErrorCount:
    """Count machine check exceptions."""
    sample = facts.sample(InterruptsSample)
    if sample is None:
        return ErrorCount()
    return ErrorCount(sample.machine_checks, sample.machine_checks_increase)
