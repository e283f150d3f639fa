"""A recorded host whose facts can be changed: how busy it is, and what its probes see."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from collectors.base import Paths, discover
from collectors.bpf.model import ProbeSample, histogram
from collectors.bpf.probe import Family
from collectors.bpf.probe import discover as discover_probes
from collectors.container import ContainerSample
from collectors.cpu import CpuSample
from collectors.disk import DiskSample, Operation
from collectors.filesystem import Filesystem, FilesystemSample
from collectors.interrupts import InterruptsSample
from collectors.memory import MemorySample
from collectors.model import Cause, Distribution, Outcome, Status
from collectors.network import NetworkSample
from collectors.pressure import PressureSample
from collectors.tcp import TcpSample
from exporter.config import Config
from exporter.orchestrator import Orchestrator, Window

FIXTURE = Path(__file__).parents[1] / "fixtures/small"
# These ask the kernel itself, which no fixture can stand in for.
LIVE = {"kernel_log", "nic", "qdisc", "time_sync", "gpu"}
GIB = 1 << 30
SHAPE = (0.7, 0.85, 0.95, 1.0, 1.0, 1.0, 1.05, 1.1, 1.15, 1.2)
PROFILES = dict(Config().profiles.items())
# What the probes see: median as a power of two of nanoseconds, events per second.
READS, WRITES, WAITS, CONNECTS = 200, 100, 5000, 10
OCTAVES = 1.2  # how far values are spread around their median, one standard deviation


@dataclass(frozen=True, slots=True)
class Condition:
    """How a host is in one sweep; shares are of the window, counts are within it."""

    cpu: float = 0.2
    queue: float = 0.0
    cpu_stall: float = 0.01
    memory: float = 0.4
    memory_stall: float = 0.0
    kills: int = 0
    disk: float = 0.1
    disk_queue: float = 0.2
    disk_latency: float = 0.001
    io_stall: float = 0.005
    filled: float = 0.4
    link: float = 0.1
    resent: int = 2
    dropped: int = 0
    # Medians of what probes see, as powers of two [ns].
    io_median: float = 17.5
    wait_median: float = 14.0
    connect_median: float = 20.0
    late: str = ""  # a collector that does not answer in time


@dataclass(slots=True)
class Counts:
    """What the kernel has counted since boot."""

    kills: int = 0
    resent: int = 13
    sent: int = 30_950
    dropped: int = 0
    disk_errors: int = 0

    def add(self, now: Condition, sent: int) -> None:
        self.kills += now.kills
        self.resent += now.resent
        self.sent += sent
        self.dropped += now.dropped


def recorded() -> dict[str, Outcome]:
    """Let the real collectors read the recorded host."""
    config = Config()
    chosen = {n: c for n, c in discover().items() if n not in LIVE}
    where = Paths(FIXTURE / "proc", FIXTURE / "sys", FIXTURE / "root")
    assert config.paths.procfs == "/proc"
    window = Window("quick", 0.2, 0.1, time.monotonic() + 30, threading.Event())
    found = Orchestrator(chosen, where).collect(window)
    return {**{name: _quieted(outcome) for name, outcome in found.items()}, "gpu": _no_gpu()}


def _quieted(outcome: Outcome) -> Outcome:
    """Take out what depends on the machine under the fixture, and names made to hurt."""
    data = outcome.data
    if isinstance(data, DiskSample):
        data = replace(data, disks=tuple(d for d in data.disks if d.name == "sda"))
    elif isinstance(data, NetworkSample):
        known = {n: i for n, i in data.interfaces.items() if n in ("lo", "eth0")}
        data = replace(data, interfaces=known)
    elif isinstance(data, FilesystemSample):
        data = replace(data, filesystems=(_filesystem(),))
    return replace(outcome, data=data)


def _no_gpu() -> Outcome:
    why = "this host has no GPU"
    return Outcome("gpu", "gpu", "quick", True, Status.UNAVAILABLE, why, Cause.ABSENT, 0.0, 0.0)


def _filesystem(used: float = 0.4) -> Filesystem:
    size = 50 * GIB
    return Filesystem(
        "/", "/dev/sda1", "ext4", False, False, False, size, round(size * (1 - used)), used,
        3_000_000, 2_700_000, 0.1, 0, 0,
    )  # fmt: skip


def steady(value: float) -> Distribution:
    return Distribution(value, value, (value,) * len(SHAPE))


def spread(mean: float) -> Distribution:
    """Give ten seconds around a mean; a share does not exceed one."""
    seconds = tuple(min(mean * part, 1.0) for part in SHAPE)
    return Distribution(mean, max(seconds), seconds)


def outcomes(
    base: dict[str, Outcome], now: Condition, counts: Counts, profile: str
) -> dict[str, Outcome]:
    """Give what a sweep of a host in this condition finds."""
    seconds = PROFILES[profile].duration
    counts.add(now, 20_000)
    changed = {name: _turn(o, now, counts, seconds) for name, o in base.items()}
    if now.late:
        changed[now.late] = replace(
            changed[now.late], status=Status.TIMEOUT, cause=Cause.TIMEOUT, data=None,
            reason="no answer by the deadline", seconds=30.0,
        )  # fmt: skip
    return {**changed, **probes(now, profile)}


def _turn(outcome: Outcome, now: Condition, counts: Counts, seconds: float) -> Outcome:
    change = CHANGES.get(type(outcome.data))
    data = change(outcome.data, now, counts) if change else outcome.data
    if hasattr(data, "window_seconds"):
        data = replace(data, window_seconds=seconds)
    return replace(outcome, data=data, seconds=seconds + 0.05)


def _cpu(sample: CpuSample, now: Condition, _: Counts) -> CpuSample:
    running = sample.online * (1 + now.queue) if now.queue else 1.0
    return replace(
        sample,
        utilization=spread(now.cpu),
        per_cpu={0: min(1.0, now.cpu * 1.2), 1: max(0.0, 2 * now.cpu - min(1.0, now.cpu * 1.2))},
        running=steady(running),
        blocked=steady(8 * now.io_stall),
        context_switches=steady(4000.0),
        states={**sample.states, "steal": 0.0, "iowait": now.io_stall / 2},
    )


def _memory(sample: MemorySample, now: Condition, counts: Counts) -> MemorySample:
    left = round((1 - now.memory) * 4 * GIB)
    return replace(
        sample,
        total_bytes=4 * GIB,
        available_bytes=left,
        utilization=steady(now.memory),
        swap_total_bytes=2 * GIB,
        swap_used_bytes=GIB // 5,
        increases={**sample.increases, "oom_kill": now.kills},
        totals={**sample.totals, "oom_kill": counts.kills, "hardware_corrupted": 0},
    )


def _interrupts(sample: InterruptsSample, _: Condition, __: Counts) -> InterruptsSample:
    return replace(sample, machine_checks=0, machine_checks_increase=0)


def _groups(sample: ContainerSample, now: Condition, _: Counts) -> ContainerSample:
    """Let the groups feel what the host feels."""
    groups = tuple(
        replace(
            group,
            cpu=replace(group.cpu, quota=1.0, periods=100, throttled_periods=0),
            pressure={"cpu_some": now.cpu_stall, "memory_full": now.memory_stall * 0.6},
        )
        for group in sample.groups
    )
    return replace(sample, groups=groups)


def _filesystems(sample: FilesystemSample, now: Condition, _: Counts) -> FilesystemSample:
    return replace(sample, filesystems=(_filesystem(now.filled),))


def _disks(sample: DiskSample, now: Condition, counts: Counts) -> DiskSample:
    operation = Operation(100.0, 1_600_000.0, 0.0, now.disk_latency)
    (disk,) = sample.disks
    busy = replace(
        disk,
        read=operation,
        write=operation,
        queue_length=now.disk_queue,
        utilization=spread(now.disk),
        errors={"command": counts.disk_errors, "timeout": 0},
        errors_increase={"command": 0, "timeout": 0},
    )
    return replace(sample, disks=(busy,))


def _pressure(sample: PressureSample, now: Condition, _: Counts) -> PressureSample:
    def stalled(line, some, full):
        return replace(line, some=steady(some), full=steady(full))

    return replace(
        sample,
        cpu=stalled(sample.cpu, now.cpu_stall, 0.0),
        memory=stalled(sample.memory, now.memory_stall, now.memory_stall * 0.6),
        io=stalled(sample.io, now.io_stall, now.io_stall * 0.7),
    )


def _network(sample: NetworkSample, now: Condition, counts: Counts) -> NetworkSample:
    eth = sample.interfaces["eth0"]
    speed = 125_000_000.0
    busy = replace(
        eth,
        speed_bytes_per_second=speed,
        receive=steady(now.link * speed),
        transmit=steady(now.link * speed / 2),
        utilization=spread(now.link),
        totals={**eth.totals, "rx_dropped": counts.dropped},
        increases={**eth.increases, "rx_dropped": now.dropped},
    )
    return replace(sample, interfaces={**sample.interfaces, "eth0": busy})


def _tcp(sample: TcpSample, now: Condition, counts: Counts) -> TcpSample:
    grown = {"Tcp.RetransSegs": now.resent, "Tcp.OutSegs": 20_000}
    totals = {"Tcp.RetransSegs": counts.resent, "Tcp.OutSegs": counts.sent}
    return replace(
        sample,
        increases={**sample.increases, **grown},
        totals={**sample.totals, **totals},
    )


CHANGES = {
    CpuSample: _cpu,
    MemorySample: _memory,
    ContainerSample: _groups,
    DiskSample: _disks,
    FilesystemSample: _filesystems,
    InterruptsSample: _interrupts,
    PressureSample: _pressure,
    NetworkSample: _network,
    TcpSample: _tcp,
}


def lognormal(count: int, median: float, octaves: float = OCTAVES) -> dict[int, int]:
    """Spread events over powers of two; exactly so many."""
    edges = range(math.floor(median - 6 * octaves), math.ceil(median + 6 * octaves) + 1)
    below = [round(count * _normal((edge - median) / octaves)) for edge in edges]
    below[-1] = count
    steps = zip(edges, below, [0, *below[:-1]], strict=True)
    return {max(edge, 0): upper - lower for edge, upper, lower in steps if upper > lower}


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe sees per second of one family, split by one set of labels."""

    per_second: float
    median: float
    labels: dict[str, str] = field(default_factory=dict)
    unit: float = 1e-9


def probe(name: str, seconds: float, seen: dict[str, list[Seen]], events: int) -> ProbeSample:
    """Make a probe's sample from what it sees."""
    filled = tuple(
        histogram(
            family,
            (slots := lognormal(round(each.per_second * seconds), each.median)),
            sum(0.75 * 2**slot * count for slot, count in slots.items()),
            unit=each.unit,
            labels=each.labels,
        )
        for family, rows in seen.items()
        for each in rows
    )
    counted = sum(h.count for h in filled) or events
    return ProbeSample(name, seconds, counted, lost=0, histograms=filled, map_bytes=65_536)


def probes(now: Condition, profile: str) -> dict[str, Outcome]:
    """Give the outcomes of a profile's probes."""
    settings = PROFILES[profile]
    known = discover_probes()
    sights = _sights(now)
    found = {}
    for name in settings.probes:
        families = {f.name: sights.get(f.name) or _some(f) for f in known[name].families}
        data = probe(name, settings.duration, families, 3 * now.resent)
        found[name] = Outcome(name, known[name].category, profile, False, Status.OK, None, None,
                              0.0, settings.duration, data)  # fmt: skip
    return found


def _some(family: Family) -> list[Seen]:
    """Give what is seen in a family of which nothing particular is known here."""
    return [Seen(100, 20.0, dict.fromkeys(family.labels, "some"))]


def _sights(now: Condition) -> dict[str, list[Seen]]:
    """Give what there is to be seen in families that the default profiles fill."""
    ipv4 = {"family": "ipv4"}
    return {
        "sysdx_block_io_latency_seconds": [
            Seen(READS, now.io_median, {"device": "sda", "operation": "read"}),
            Seen(WRITES, now.io_median + 1, {"device": "sda", "operation": "write"}),
        ],
        "sysdx_block_io_queue_seconds": [
            Seen(READS + WRITES, now.io_median - 4, {"device": "sda"})
        ],
        "sysdx_run_queue_latency_seconds": [Seen(WAITS, now.wait_median)],
        "sysdx_run_queue_length": [Seen(49, max(now.queue, 0.2), unit=1.0)],
        "sysdx_tcp_connect_latency_seconds": [Seen(CONNECTS, now.connect_median, ipv4)],
        "sysdx_tcp_round_trip_time_seconds": [Seen(500, now.connect_median, ipv4)],
        "sysdx_dns_latency_seconds": [Seen(CONNECTS, now.connect_median, ipv4)],
        "sysdx_off_cpu_seconds": [Seen(WAITS, 22.0)],
    }


def every_probe() -> list[ProbeSample]:
    """Make a sample of every probe there is, so that every family occurs."""
    samples = []
    for name, found in discover_probes().items():
        families = {f.name: _some(f) for f in found.families}
        samples.append(probe(name, 30.0, families, 5))
    return samples
