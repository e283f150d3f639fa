"""Graphics and compute processors: load, memory, heat, power, errors, and who uses them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from collectors.base import Context, Paths, collector
from collectors.gpu_card import Card, Place, Reading, find, names_in, numa_node
from collectors.gpu_nvml import NvmlCard, opened
from collectors.gpu_sample import Gpu, GpuSample
from collectors.gpu_sysfs import DRIVERS
from collectors.model import Cause, Unavailable
from collectors.rates import delta, distribution, ratio
from collectors.text import label

MOST = 32
_NVIDIA = "nvidia"
# Besides these, "hw_slowdown" is also told for a moment at every change of clock.
_BRAKES = frozenset({"hw_thermal_slowdown", "hw_power_brake"})


@collector(category="gpu", essential=True)
def collect(ctx: Context) -> GpuSample:
    """
    Follow all cards through the window.

    Args:
        ctx: Paths and window.

    Returns:
        The cards.

    Raises:
        Unavailable: When this host has no card, or when none can be asked.

    Source:
        NVML through nvidia-ml-py where NVIDIA's driver is loaded; otherwise sysfs,
        Documentation/gpu/amdgpu and Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon.

    """
    # The driver is let go between sweeps: held open, a card could not be reset or divided.
    with ExitStack() as stack:
        found = _cards(ctx, stack)
        cards = found[:MOST]
        before = [card.counts() for card in cards]
        times: list[float] = []
        rows: list[list[Reading]] = []
        for at in ctx.ticks():
            rows.append([card.read() for card in cards])
            times.append(at)
        gpus = [_follow(c, [row[n] for row in rows], before[n]) for n, c in enumerate(cards)]
    return GpuSample(
        window_seconds=times[-1] - times[0],
        gpus=tuple(gpus),
        left_out=len(found) - len(cards),
        network_nodes=_network_nodes(ctx),
    )


def _cards(ctx: Context, stack: ExitStack) -> list[Card]:
    """Find a way to ask each card."""
    places = find(ctx)
    told: list[NvmlCard] = []
    refusal: Unavailable | None = None
    if _has_nvidia(ctx, places):
        try:
            told = stack.enter_context(_asked(ctx))
        except Unavailable as error:
            refusal = error
    cards = [*_placed(told, places), *_others(ctx, told, places)]
    if refusal is not None and all(type(card) is Card for card in cards):
        raise refusal
    if refusal is not None:
        ctx.note("NVML", refusal.cause, str(refusal))
    if not cards:
        raise Unavailable("this host has no GPU", Cause.ABSENT)
    return cards


def _has_nvidia(ctx: Context, places: Iterable[Place]) -> bool:
    """Tell whether NVIDIA's driver runs a card that is awake; asking would wake the others."""
    cards = [p for p in places if p.vendor == _NVIDIA]
    if cards:
        return any(p.driver == _NVIDIA and not p.suspended for p in cards)
    # A container may see the driver and no PCI bus; some boards have no PCI bus.
    driver, device = ctx.paths.proc / "driver/nvidia", ctx.paths.root / "dev/nvidiactl"
    return driver.is_dir() or device.exists()


def _asked(ctx: Context) -> AbstractContextManager[list[NvmlCard]]:
    """Ask the driver, which knows no other host than the one it runs on."""
    if ctx.paths != Paths():
        raise Unavailable(
            "NVML tells of the host that sysdx runs on, so it is not asked when --path.procfs, "
            "--path.sysfs or --path.rootfs name another",
            Cause.UNREADABLE,
        )
    return opened(ctx)


def _placed(told: list[NvmlCard], places: Iterable[Place]) -> Iterator[NvmlCard]:
    """Tell the driver's cards where they are; one that is lost has only its turn to tell it."""
    by_address = {p.address: p for p in places if p.driver == _NVIDIA}
    for card in told:
        card.place = by_address.pop(card.address or "", None)
    unplaced = [card for card in told if card.address is None]
    # NVML numbers cards by their address.
    if len(unplaced) == len(by_address):
        for card, place in zip(unplaced, by_address.values(), strict=True):
            card.place = place
    yield from told


def _others(ctx: Context, told: list[NvmlCard], places: Iterable[Place]) -> Iterator[Card]:
    """Give the cards that NVML does not tell of."""
    known = {card.place.address for card in told if card.place}
    for place in places:
        if place.address in known:
            continue
        if place.vendor == _NVIDIA and place.driver is None:
            text = f"{place.address}: NVIDIA card {place.number} has no driver; load nvidia for it"
            ctx.note(place.address, Cause.MISSING, text)
        if told and place.driver == _NVIDIA and not place.suspended:
            text = (
                f"{place.address}: NVML does not list this card (nvidia-smi -L; dmesg | grep NVRM)"
            )
            ctx.note(place.address, Cause.UNREADABLE, text)
        yield DRIVERS.get(place.driver or "", Card)(ctx, place)


def _follow(card: Card, readings: list[Reading], before: Mapping[str, int | None]) -> Gpu:
    """Describe a card with what was seen of it."""
    after, gpu = card.counts(), card.describe()
    used = [r.memory_used for r in readings]
    known = [r.throttle for r in readings if r.throttle is not None]
    return replace(
        gpu,
        utilization=distribution(r.utilization for r in readings),
        memory_utilization=distribution(r.memory_utilization for r in readings),
        memory_used_bytes=next((u for u in reversed(used) if u is not None), None),
        memory_share=distribution(ratio(u, gpu.memory_total_bytes) for u in used),
        heat=replace(
            gpu.heat,
            celsius=distribution(r.celsius for r in readings),
            memory=distribution(r.memory_celsius for r in readings),
        ),
        power_watts=distribution(r.watts for r in readings),
        clock_hz=distribution(r.clock for r in readings),
        throttle={name: _share(known, {name}) for name in sorted(set().union(*known))},
        throttled=_share(known, _BRAKES) if known else None,
        errors=after,
        errors_increase={kind: delta(before.get(kind), count) for kind, count in after.items()},
        link=replace(
            gpu.link,
            generation=max((r.generation for r in readings if r.generation), default=None),
            width=max((r.width for r in readings if r.width), default=None),
        ),
    )


def _share(readings: list[frozenset[str]], reasons: Iterable[str]) -> float:
    """Give the share of readings in which one of some reasons was told."""
    wanted = frozenset(reasons)
    return sum(1 for told in readings if told & wanted) / len(readings)


def _network_nodes(ctx: Context) -> dict[str, int]:
    """Tell which memory nodes the network interfaces are attached to."""
    folder = ctx.paths.sys / "class/net"
    nodes = {n: numa_node(ctx, folder / n / "device") for n in names_in(folder)}
    return {label(name): node for name, node in nodes.items() if node is not None}
