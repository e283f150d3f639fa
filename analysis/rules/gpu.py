"""
Rules on graphics and compute cards: lost, failing, too hot, slowed down.

There is none on how full a card's memory is: frameworks take nearly all of it
at their start and give it out themselves, so a full card is as healthy as an
empty one, and no driver tells of an allocation that failed. There is none on
how busy a card is either, because to be busy is what it was bought for.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from analysis.text import percent, size
from collectors.gpu_sample import Gpu, GpuSample
from collectors.rates import delta, ratio

_MOST_USERS = 3
_LEAST_READINGS = 5
_BUSY = 0.5
_LEAST_CLOCK = 0.5
# Bytes that a lane moves in a second, relative to the first generation: the third
# changed the encoding besides the clock (PCI Express Base Specification).
_LANE = {1: 1.0, 2: 2.0, 3: 3.94, 4: 7.88, 5: 15.75, 6: 30.25}
_NVIDIA_MEMORY = "NVIDIA GPU Memory Error Management guide"


@rule(
    resource="gpu",
    cause="failing_gpu",
    kind=Kind.ERRORS,
    unit="state",
    warning=1,
    critical=2,
    source="NVML: 2 is lost (NVML_ERROR_GPU_IS_LOST: it fell off the bus), 1 is that the driver "
    "asks for a reset of the card or a reboot (NVML_FI_DEV_GET_GPU_RECOVERY_ACTION)",
    explanation="A card does not work until it is reset, and perhaps not after that either.",
    next_steps=(
        "dmesg | grep -iE 'NVRM|Xid' | tail -20",
        "nvidia-smi -q | grep -A1 -i 'recovery action'",
        "Drain its jobs; then nvidia-smi --gpu-reset -i N, or reboot.",
        "If it is lost again: look at seat, power supply and heat, then replace it.",
    ),
    at_once=True,
)
def gpu_lost(facts: Facts) -> Signal | None:
    """Watch whether the driver reaches the cards."""
    return _worst(facts, _state, "state", _state_message, "NVML return codes, recovery action")


@rule(
    resource="gpu",
    cause="failing_gpu",
    kind=Kind.ERRORS,
    unit="errors",
    warning=1,
    critical=5,
    scale=Scale.LOG,
    source=f"{_NVIDIA_MEMORY}: each one ends the job that read it; "
    "Documentation/gpu/amdgpu/ras.rst",
    gate="counted since the sweep before",
    explanation="A card's memory gave back something else than was written, and it could not be "
    "corrected.",
    next_steps=(
        "nvidia-smi -q -d ECC,ROW_REMAPPER,PAGE_RETIREMENT",
        "Reset the card once its jobs have ended; if errors come back, replace it.",
    ),
    at_once=True,
)
def gpu_ecc_uncorrected(facts: Facts) -> Signal | None:
    """Watch uncorrected memory errors since the sweep before."""
    return _worst(
        facts,
        lambda g: _fresh(facts, g, "ecc_uncorrected"),
        "errors",
        lambda g, v: f"{v:.0f} memory {_plural('error', v)} of {_name(g)} could not be corrected",
        "nvmlDeviceGetTotalEccErrors, ras/*_err_count",
    )


@rule(
    resource="gpu",
    cause="failing_gpu",
    kind=Kind.ERRORS,
    unit="1/s",
    warning=0.1,
    critical=10,
    scale=Scale.LOG,
    source="no vendor names a number: single corrected errors are ordinary, and their memory is "
    "repaired by itself; six in a minute, again and again, are one bad place that is not",
    gate="counted since the sweep before",
    explanation="A card's memory errs steadily; it is corrected, and often announces worse.",
    next_steps=(
        "nvidia-smi -q -d ECC,ROW_REMAPPER",
        "Plan a reset of the card, which brings a pending repair into force.",
    ),
)
def gpu_ecc_corrected(facts: Facts) -> Signal | None:
    """Watch the rate of corrected memory errors since the sweep before."""
    return _worst(
        facts,
        lambda g: ratio(_fresh(facts, g, "ecc_corrected"), _since(facts, g)),
        "1/s",
        lambda g, v: f"{v:.2g} memory errors/s of {_name(g)} were corrected",
        "nvmlDeviceGetTotalEccErrors, ras/*_err_count",
    )


@rule(
    resource="gpu",
    cause="failing_gpu",
    kind=Kind.ERRORS,
    unit="state",
    warning=1,
    critical=2,
    source=f"{_NVIDIA_MEMORY}: 1 is a repair that waits for a reset, 2 is one that failed, which "
    "is a reason to replace the card; Documentation/gpu/amdgpu/ras.rst, flag F",
    explanation="Bad places of a card's memory are not replaced yet, or cannot be.",
    next_steps=(
        "nvidia-smi -q -d ROW_REMAPPER,PAGE_RETIREMENT",
        "Pending: reset the card once its jobs have ended. Failed: have it replaced.",
    ),
)
def gpu_memory_repair(facts: Facts) -> Signal | None:
    """Watch rows that wait to be remapped, or could not be."""
    return _worst(
        facts,
        _repair,
        "state",
        _repair_message,
        "nvmlDeviceGetRemappedRows, nvmlDeviceGetRetiredPagesPendingStatus, ras/gpu_vram_bad_pages",
    )


@rule(
    resource="gpu",
    cause="hot_gpu",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.97,
    critical=1.0,
    source="the card's own limit, from which its hardware slows it down; cards are built to work a "
    "little below it, so only the last three hundredths are a warning",
    gate="the card tells its limit",
    explanation="A card is as hot as its hardware allows; it slows down, and in the end switches "
    "itself off.",
    next_steps=(
        "nvidia-smi -q -d TEMPERATURE,PERFORMANCE",
        "Look at fans, air flow and the temperature of the room.",
    ),
)
def gpu_temperature(facts: Facts) -> Signal | None:
    """Watch the chip's mean temperature against its own slowdown limit."""
    return _worst(
        facts,
        lambda g: ratio(g.heat.celsius.mean, g.heat.slowdown),
        "ratio",
        lambda g, _: (
            f"{_name(g)} had {g.heat.celsius.mean or 0:.0f} °C on average; it slows down at "
            f"{g.heat.slowdown or 0:.0f} °C"
        ),
        "nvmlDeviceGetTemperature and -Threshold (slowdown), hwmon temp*_input and temp*_crit",
        _heat_evidence,
    )


@rule(
    resource="gpu",
    cause="hot_gpu",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.10,
    critical=0.50,
    source="NVML clocks event reasons: HW thermal slowdown and HW power brake halve the clock at "
    "least and are never ordinary; the software's power cap is, on every card that works hard",
    gate="at least five readings in the window",
    explanation="The hardware slows a card down because of heat or of its power supply: jobs run "
    "at a fraction of their speed.",
    next_steps=(
        "nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER",
        "Heat: fans and air flow. Power brake: the supply or its rack limit asked for it.",
    ),
)
def gpu_throttled(facts: Facts) -> Signal | None:
    """Watch the share of readings in which hardware slowed a card down."""
    return _worst(
        facts,
        lambda g: g.throttled if len(g.clock_hz.samples) >= _LEAST_READINGS else None,
        "ratio",
        lambda g, v: f"Hardware slowed {_name(g)} down in {percent(v)} of the readings",
        "nvmlDeviceGetCurrentClocksEventReasons, throttle_reason_*",
        lambda g: tuple(
            Evidence(name, share, "ratio", "clocks event reasons")
            for name, share in g.throttle.items()
            if name != "idle"
        ),
    )


@rule(
    resource="gpu",
    cause="gpu_link",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.5,
    critical=None,
    source="half of what card and slot could move is gone: a card not fully seated, a riser or a "
    "slot that fell back; PCI Express Base Specification, link training",
    gate="the card is at least 50 % busy and at 50 % of its clock: an idle link slows down on "
    "purpose",
    explanation="The link between host and card is slower than both can; copies to it take longer.",
    next_steps=(
        "nvidia-smi -q | grep -A12 'GPU Link Info'",
        "lspci -vv: compare LnkSta with LnkCap, also of the bridge above; reseat the card.",
    ),
)
def gpu_pcie_degraded(facts: Facts) -> Signal | None:
    """Watch how much of its PCI Express link a card at work lacks."""
    return _worst(
        facts,
        _lost_link,
        "ratio",
        lambda g, _: (
            f"{_name(g)} has generation {g.link.generation} x{g.link.width} of its PCI Express "
            f"link at work; generation {g.link.generation_max} x{g.link.width_max} is possible"
        ),
        "nvmlDeviceGetCurrPcieLink{Generation,Width}, nvmlDeviceGetMaxPcieLink*",
        lambda g: (
            Evidence(
                "replayed packets in the window",
                g.errors_increase.get("pcie_replay"),
                "packets",
                "nvmlDeviceGetPcieReplayCounter",
            ),
        ),
    )


def _worst(
    facts: Facts,
    level: Callable[[Gpu], float | None],
    unit: str,
    message: Callable[[Gpu, float], str],
    source: str,
    more: Callable[[Gpu], tuple[Evidence, ...]] = lambda _: (),
) -> Signal | None:
    """Look at the card of the highest level."""
    sample = facts.sample(GpuSample)
    levels = [(g, level(g)) for g in (sample.gpus if sample else ())]
    known = [(g, float(v)) for g, v in levels if v is not None]
    if not known:
        return None
    card, value = max(known, key=itemgetter(1))
    return Signal(
        value=value,
        message=message(card, value),
        subject=card.name if value else None,
        evidence=(Evidence(card.name, value, unit, source), *more(card)) if value else (),
        culprits=_culprits(card, value, unit) if value else (),
    )


def _culprits(card: Gpu, value: float, unit: str) -> tuple[Culprit, ...]:
    """Name the card, then who uses it."""
    words = [card.model, card.pci, size(card.memory_total_bytes) if card.memory_total_bytes else ""]
    detail = ", ".join(filter(None, words))
    device = Culprit("device", card.name, value=value, unit=unit, detail=detail)
    users = [
        Culprit(
            "process",
            user.comm or "unknown",
            str(user.pid),
            user.bytes,
            "bytes",
            ratio(user.bytes, card.memory_total_bytes),
            f"memory of {card.name}",
        )
        for user in card.processes[:_MOST_USERS]
    ]
    return (device, *users)


def _name(card: Gpu) -> str:
    """Name a card for a sentence."""
    return f"{card.name} ({card.model})" if card.model else card.name


def _plural(word: str, count: float) -> str:
    """Give a word the number it stands for."""
    return word if count == 1 else f"{word}s"


def _state(card: Gpu) -> float | None:
    """Rate whether a card can be reached."""
    if card.lost:
        return 2.0
    if not card.measured:
        return None
    return 0.0 if card.recovery in (None, "none") else 1.0


def _state_message(card: Gpu, value: float) -> str:
    """Tell what became of a card."""
    if card.lost:
        return f"{_name(card)} is lost: the driver cannot reach it any more"
    if value:
        return f"The driver asks for this on {_name(card)}: {card.recovery}".replace("_", " ")
    return "The driver reaches all cards"


def _repair(card: Gpu) -> float | None:
    """Rate what is left of a card's repairs."""
    if card.repair.pending is None and card.repair.failed is None:
        return None
    return 2.0 if card.repair.failed else float(bool(card.repair.pending))


def _repair_message(card: Gpu, value: float) -> str:
    """Tell what a card's memory waits for."""
    if not value:
        return "No card's memory waits for a repair"
    what = "could not be repaired" if card.repair.failed else "waits for a reset to be repaired"
    return f"Bad memory of {_name(card)} {what}"


def _heat_evidence(card: Gpu) -> tuple[Evidence, ...]:
    """Give the temperatures behind their ratio."""
    heat, unit = card.heat, "degrees Celsius"
    return (
        Evidence("mean", heat.celsius.mean, unit, "nvmlDeviceGetTemperature, temp*_input"),
        Evidence("peak", heat.celsius.peak, unit, "nvmlDeviceGetTemperature, temp*_input"),
        Evidence("slows down at", heat.slowdown, unit, "temperature threshold, temp*_crit"),
        Evidence("switches off at", heat.shutdown, unit, "temperature threshold, temp*_emergency"),
    )


def _earlier(facts: Facts, card: Gpu) -> Gpu | None:
    """Find a card in the sweep before; another card in its place has a past of its own."""
    sample = facts.before(GpuSample)
    same = (g for g in (sample.gpus if sample else ()) if g.name == card.name)
    return next((g for g in same if (g.uuid, g.pci) == (card.uuid, card.pci)), None)


def _fresh(facts: Facts, card: Gpu, kind: str) -> int | None:
    """Count errors since the sweep before, or within the window where there is none to ask."""
    earlier = _earlier(facts, card)
    change = delta(earlier.errors.get(kind) if earlier else None, card.errors.get(kind))
    return card.errors_increase.get(kind) if change is None else change


def _since(facts: Facts, card: Gpu) -> float | None:
    """Give the time in which those errors were counted [s]."""
    earlier, sample = _earlier(facts, card), facts.sample(GpuSample)
    before, now = facts.previous, facts.sweep
    kind = "ecc_corrected"
    if earlier and before and delta(earlier.errors.get(kind), card.errors.get(kind)) is not None:
        ends = [s.started_monotonic + s.window_seconds for s in (before, now)]
        return ends[1] - ends[0]
    return sample.window_seconds if sample else None


def _lost_link(card: Gpu) -> float | None:
    """Give the lost share of what a card's link could move; None unless the card is at work."""
    link, clock = card.link, ratio(card.clock_hz.mean, card.clock_max_hz)
    if (card.utilization.mean or 0.0) < _BUSY or (clock or 0.0) < _LEAST_CLOCK:
        return None
    now = _LANE.get(link.generation or 0, 0.0) * (link.width or 0)
    best = _LANE.get(link.generation_max or 0, 0.0) * (link.width_max or 0)
    share = ratio(now, best) if now else None
    return None if share is None else max(1.0 - share, 0.0)
