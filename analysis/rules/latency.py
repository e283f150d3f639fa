"""Rules on latencies that only eBPF probes see: of CPUs, disks, connections and reclaim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.culprits import by_cpu, by_io, by_memory
from analysis.disks import disks, kind_of, name_disk
from analysis.model import Facts, Kind, Scale, Signal
from analysis.probed import quantiles
from analysis.registry import rule
from analysis.rules.disk import ORDINARY
from analysis.text import duration
from collectors.bpf.model import Histogram, ProbeSample
from collectors.disk import Disk
from collectors.pressure import PressureSample

_LEAST_WAITS, _LEAST_REQUESTS, _LEAST_CONNECTS, _LEAST_RECLAIMS = 1000, 100, 100, 10
# Writes are put off and done in bulk; they hurt where tasks wait for storage at all.
_WRITES_HURT = 0.05


def _only(sample: ProbeSample | None, least: int) -> Histogram | None:
    """Give a probe's histogram of the host when it has enough values to speak of a hundredth."""
    # What a control group reclaims at its own limit is that group's trouble.
    found = [h for h in sample.histograms if h.labels.get("scope") != "cgroup"] if sample else []
    histogram = found[0] if found else None
    return histogram if histogram is not None and histogram.count >= least else None


def _quiet(sample: ProbeSample | None, what: str) -> Signal | None:
    """Say that there was too little to judge; None when the probe saw nothing at all."""
    return None if sample is None else Signal(0.0, f"There were too few {what} to judge")


@rule(
    resource="cpu",
    cause="cpu_saturation",
    kind=Kind.SATURATION,
    unit="s",
    warning=0.010,
    critical=0.050,
    scale=Scale.LOG,
    probe="runqlat",
    at_once=True,
    source="the scheduler's base slice is 0.7 to 3 ms (kernel/sched/fair.c, "
    "sysctl_sched_base_slice): to wait for 10 ms is to stand behind several others",
    gate="1,000 waits in the window",
    explanation="Tasks that could run waited long for a CPU, even if only one in a hundred: "
    "that is what the slowest answers of a service are made of.",
    next_steps=("pidstat -u -p PID 1 5", "Look at the CPU limits of their groups."),
)
def run_queue_latency(facts: Facts) -> Signal | None:
    """Watch the run queue latency of the unluckiest hundredth."""
    sample = facts.probe("runqlat")
    waits = _only(sample, _LEAST_WAITS)
    if waits is None or waits.p99 is None:
        return _quiet(sample, "waits for a CPU")
    return Signal(
        value=waits.p99,
        message=f"One in a hundred tasks waited {duration(waits.p99)} or longer for a CPU",
        evidence=quantiles(waits, "waits for a CPU", "sched_wakeup, sched_switch"),
        culprits=by_cpu(facts),
    )


@dataclass(frozen=True, slots=True)
class _Tail:
    """The slow end of one operation on a disk, against what is ordinary there."""

    disk: Disk
    operation: str
    kind: str
    histogram: Histogram
    times: float


def _tails(facts: Facts, sample: ProbeSample) -> Iterator[_Tail]:
    """Compare each disk's requests with what is ordinary for its kind."""
    known = {disk.name: disk for disk in disks(facts)}
    pressure = facts.sample(PressureSample)
    some = pressure.io.some.mean if pressure and pressure.io else None
    for histogram in sample.histograms:
        operation = histogram.labels["operation"]
        disk = known.get(histogram.labels["device"])
        waits = operation == "read" or (operation == "write" and (some or 0.0) >= _WRITES_HURT)
        if disk is None or not waits or histogram.p99 is None:
            continue
        if histogram.count >= _LEAST_REQUESTS:
            kind = kind_of(disk, facts)
            yield _Tail(disk, operation, kind, histogram, histogram.p99 / ORDINARY[kind])


@rule(
    resource="disk",
    cause="slow_storage",
    kind=Kind.SATURATION,
    unit="times ordinary",
    warning=4.0,
    critical=20.0,
    scale=Scale.LOG,
    probe="biolatency",
    at_once=True,
    source="what is an ordinary mean at most, as for disk_latency, by the device's own kind; the "
    "slowest hundredth of a device that queues little is within four times its mean "
    "(exponential service times give 4.6)",
    gate="100 requests of that operation in the window; writes only where tasks wait for "
    "storage in 5 % of the time, because otherwise nobody waits for them",
    explanation="One in a hundred requests to a disk takes far longer than such a disk needs.",
    next_steps=("Look at its queue and at who fills it.", "smartctl -a, or ask the provider."),
)
def block_io_latency(facts: Facts) -> Signal | None:
    """Watch the slowest hundredth of requests against what is ordinary for the disk's kind."""
    sample = facts.probe("biolatency")
    if sample is None:
        return None
    worst = max(_tails(facts, sample), key=lambda tail: tail.times, default=None)
    if worst is None:
        return _quiet(sample, "requests")
    name, p99 = worst.disk.name, worst.histogram.p99
    what = f"{worst.operation}s"
    source = "block_rq_issue, block_rq_complete"
    return Signal(
        value=worst.times,
        message=f"One in a hundred {what} on {name} took {duration(p99)} or longer; for a "
        f"{worst.kind} disk {duration(4 * ORDINARY[worst.kind])} would be ordinary",
        subject=name,
        evidence=quantiles(worst.histogram, what, source),
        culprits=(name_disk(worst.disk, p99, "s"), *by_io(facts)),
    )


@rule(
    resource="network",
    cause="packet_loss",
    kind=Kind.SATURATION,
    unit="s",
    warning=0.9,
    critical=2.9,
    scale=Scale.LOG,
    probe="tcpconnlat",
    at_once=True,
    source="RFC 6298: a lost SYN is sent again after 1 s and then after 2 s more; a connection "
    "that takes that long has lost one, or two",
    gate="100 connections in the window",
    explanation="One in a hundred connections to others needed a second attempt.",
    next_steps=("Look at retransmits, and at the remote side's listen queues.", "ss -ti"),
)
def tcp_connect_latency(facts: Facts) -> Signal | None:
    """Watch how long the slowest hundredth of connections to others took."""
    sample = facts.probe("tcpconnlat")
    known = [h for h in sample.histograms if h.p99 is not None] if sample else []
    enough = [h for h in known if h.count >= _LEAST_CONNECTS]
    if not enough:
        return _quiet(sample, "connections to others")
    worst = max(enough, key=lambda h: h.p99 or 0.0)
    return Signal(
        value=worst.p99 or 0.0,
        message=f"One in a hundred connections to others took {duration(worst.p99)} or longer",
        evidence=quantiles(worst, "connections", "inet_sock_set_state"),
    )


@rule(
    resource="memory",
    cause="memory_exhaustion",
    kind=Kind.SATURATION,
    unit="s",
    warning=0.010,
    critical=0.100,
    scale=Scale.LOG,
    probe="drsnoop",
    at_once=True,
    source="as long as a rotating disk's request: from there on allocating memory is as slow "
    "as reading a disk",
    gate="10 direct reclaims in the window",
    explanation="Programs that asked for memory had to free some first, and it took long.",
    next_steps=("ps -eo pid,rss,comm --sort=-rss | head", "Look at vm.min_free_kbytes and swap."),
)
def direct_reclaim_latency(facts: Facts) -> Signal | None:
    """Watch how long the slowest hundredth of direct reclaims took."""
    sample = facts.probe("drsnoop")
    reclaims = _only(sample, _LEAST_RECLAIMS)
    if reclaims is None or reclaims.p99 is None:
        return _quiet(sample, "direct reclaims")
    return Signal(
        value=reclaims.p99,
        message=f"One in a hundred direct reclaims took {duration(reclaims.p99)} or longer",
        evidence=quantiles(reclaims, "direct reclaims", "mm_vmscan_direct_reclaim_begin, _end"),
        culprits=by_memory(facts),
    )
