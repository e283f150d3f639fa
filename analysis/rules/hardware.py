"""Rules on what hardware counts of its own failures: memory, buses, heat."""

from __future__ import annotations

from collections.abc import Callable

from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.rules.trend import between
from analysis.text import duration, number, percent
from collectors.hardware import Dimm, HardwareSample
from collectors.rates import delta

_MOST = 5
_AER = "/sys/bus/pci/devices/*/aer_dev_*"


@rule(
    resource="memory",
    cause="hardware",
    kind=Kind.ERRORS,
    unit="errors",
    warning=10,
    critical=1000,
    scale=Scale.LOG,
    source="mcelog.conf(5): ce-error-threshold is 10 in 24 h for a module; here they come between "
    "two sweeps. A hundred times as many is no weak cell any more but a failing module",
    gate="single corrected errors, which cosmic rays cause as well",
    explanation="A memory module errs again and again. It is corrected so far; errors that cannot "
    "be corrected often follow.",
    next_steps=("ras-mc-ctl --error-count", "Plan to replace the module that is named."),
)
def memory_corrected_errors(facts: Facts) -> Signal | None:
    """Watch memory errors that were corrected, since the sweep before or in the window."""
    return _modules(
        facts,
        lambda d: (d.corrected, d.corrected_increase),
        "memory errors were corrected",
        "ce_count",
    )


@rule(
    resource="memory",
    cause="hardware",
    kind=Kind.ERRORS,
    unit="errors",
    warning=0.5,
    critical=1,
    at_once=True,
    source="Documentation/admin-guide/RAS/main.rst: an uncorrected error (UE) is data lost; as "
    "memory_uncorrected, for who may not read the kernel's log",
    explanation="Memory gave back something else than was written to it.",
    next_steps=("ras-mc-ctl --errors", "Have the module replaced."),
)
def memory_uncorrected_errors(facts: Facts) -> Signal | None:
    """Watch memory errors that could not be corrected."""
    return _modules(
        facts,
        lambda d: (d.uncorrected, d.uncorrected_increase),
        "memory errors could not be corrected",
        "ue_count",
    )


@rule(
    resource="kernel",
    cause="hardware",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=2,
    critical=200,
    scale=Scale.LOG,
    source="drivers/pci/pcie/aer.c reports at most 10 corrected errors in 5 s, a flood from there "
    "on; a hundred times as many keep a CPU busy with interrupts for them",
    gate="single ones, which many healthy boards report",
    explanation="A PCI Express link damages so many packets that their repetition costs time: a "
    "bad slot, riser or cable, or power saving that the device does not bear.",
    next_steps=("lspci -vvs DEVICE", "Reseat the card; try the kernel's parameter pcie_aspm=off."),
)
def bus_corrected_errors(facts: Facts) -> Signal | None:
    """Watch the rate of corrected errors of the PCI device that has most."""
    seconds = between(facts)
    signal = _links(facts, ("correctable",), "had {} packets a second sent again", seconds)
    return signal if seconds else None


@rule(
    resource="kernel",
    cause="hardware",
    kind=Kind.ERRORS,
    unit="errors",
    warning=1,
    critical=10,
    at_once=True,
    scale=Scale.LOG,
    source="Documentation/PCI/pcieaer-howto.rst: an uncorrectable error is a lost transaction; as "
    "bus_errors, for who may not read the kernel's log",
    explanation="A device on the PCI bus reported errors that could not be corrected.",
    next_steps=("lspci -vvs DEVICE", "dmesg | grep -i aer"),
)
def bus_lost_transactions(facts: Facts) -> Signal | None:
    """Watch errors that lost transactions of a PCI device, since the sweep before."""
    return _links(facts, ("nonfatal", "fatal"), "reported {} uncorrectable errors")


@rule(
    resource="cpu",
    cause="overheating",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.10,
    critical=0.50,
    source="Intel SDM volume 3, thermal monitoring: the clock is cut to cool down, which a server "
    "that is cooled well never does; margins as for GPUs, where a tenth of the time is felt",
    explanation="The processor is too hot and spends a part of its time slowed down.",
    next_steps=("sensors", "Look at fans, dust, and the room."),
)
def heat_throttling(facts: Facts) -> Signal | None:
    """Watch the share of the window in which a processor was slowed down by heat."""
    sample = facts.sample(HardwareSample)
    held = sample.package_throttled_seconds if sample else None
    if sample is None or held is None or sample.window_seconds <= 0:
        return None
    share = min(held / sample.window_seconds, 1.0)
    return Signal(
        value=share,
        message=f"Heat slowed a processor down for {duration(held)}, {percent(share)} of the time",
        evidence=(
            Evidence("slowed down", held, "s", "thermal_throttle/package_throttle_total_time_ms"),
            Evidence("times", sample.package_throttled, "times", "package_throttle_count"),
        ),
    )


def _modules(
    facts: Facts, read: Callable[[Dimm], tuple[int | None, int | None]], what: str, file: str
) -> Signal | None:
    """Add up the new errors of memory controllers, and name their modules."""
    sample, earlier = facts.sample(HardwareSample), facts.before(HardwareSample)
    if sample is None:
        return None
    past = {d.name: read(d)[0] for d in earlier.memory} if earlier else {}
    fresh = [(d, n) for d in sample.memory if (n := _fresh(past.get(d.name), *read(d))) is not None]
    if not fresh:
        return None
    # A module's errors count at its controller as well.
    total = sum(n for d, n in fresh if "/" not in d.name)
    total = max(total, *(n for _, n in fresh))
    inner = [(d, n) for d, n in fresh if n and "/" in d.name] or [(d, n) for d, n in fresh if n]
    inner.sort(key=lambda pair: -pair[1])
    first = inner[0][0] if inner else None
    where = f" on {first.label or first.name}" if first else ""
    return Signal(
        value=float(total),
        message=f"{total} {what}{where}",
        subject=first.name if first else None,
        evidence=(Evidence("new errors", total, "errors", f"/sys/devices/system/edac {file}"),),
        culprits=tuple(
            Culprit("device", d.name, value=n, unit="errors", detail=d.label)
            for d, n in inner[:_MOST]
        ),
    )


def _fresh(past: int | None, total: int | None, step: int | None) -> int | None:
    """Count errors since the sweep before, or within the window where that is unknown."""
    change = delta(past, total)
    return step if change is None else change


def _links(
    facts: Facts, kinds: tuple[str, ...], sentence: str, seconds: float | None = None
) -> Signal | None:
    """Find the PCI device with most new errors; None where no device tells of any, ever."""
    sample = facts.sample(HardwareSample)
    if sample is None or not sample.links_increase:
        return None
    steps = {
        name: [step for kind in kinds if (step := told.get(kind)) is not None]
        for name, told in sample.links_increase.items()
    }
    known = {name: sum(found) / (seconds or 1.0) for name, found in steps.items() if found}
    if not known:
        return None
    ranked = sorted(known, key=lambda n: (-known[n], n))
    worst, unit = ranked[0], "1/s" if seconds else "errors"
    return Signal(
        value=known[worst],
        message=f"PCI device {worst} {sentence.format(number(known[worst]))}",
        subject=worst if known[worst] else None,
        evidence=(Evidence(", ".join(kinds), known[worst], unit, _AER),),
        culprits=tuple(
            Culprit("device", n, value=known[n], unit=unit) for n in ranked[:_MOST] if known[n]
        ),
    )
