"""Rules on what the whole host shares: open files, tasks, process ids, interrupts."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import sysctl
from analysis.culprits import by_fds, by_threads
from analysis.model import Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.text import percent
from collectors.cpu import CpuSample
from collectors.interrupts import InterruptsSample
from collectors.limits import LimitsSample
from collectors.rates import ratio

_MOST_PIDS = 4_194_304  # PID_MAX_LIMIT on 64 bits, include/linux/threads.h
_MOST_THREADS = 1_073_741_823  # FUTEX_TID_MASK, which kernel/fork.c allows at most
_NEAR = 0.5
_LEAST_PACKETS = 20_000.0
_BUSY = 0.30
_LEAST_CPUS = 4
_NODE_MIXIN = "node-mixin NodeFileDescriptorLimit (70 %, 90 %)"


def _more_files(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """Advise twice as many open files."""
    sample = facts.sample(LimitsSample)
    if sample is not None and sample.files_max:
        yield from sysctl(
            facts,
            "fs.file-max",
            2 * sample.files_max,
            rule="file_descriptors",
            resource="kernel",
            direction="raise",
            why="Programs fail to open files and sockets at the limit; each handle takes about "
            "256 bytes of kernel memory.",
            risk="hides a leak of descriptors for a while; look at the culprits first",
            source="Documentation/admin-guide/sysctl/fs.rst",
        )


def _more_tasks(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """Advise more of what is nearly used up: process ids, tasks, or both."""
    sample = facts.sample(LimitsSample)
    if sample is None or sample.tasks is None:
        return
    bounds = (
        ("pid_max", sample.pid_max, 4, _MOST_PIDS),
        ("threads-max", sample.threads_max, 2, _MOST_THREADS),
    )
    for name, limit, factor, most in bounds:
        # Raising the limit that is far away would change nothing.
        if limit and sample.tasks >= _NEAR * limit:
            yield from sysctl(
                facts,
                f"kernel.{name}",
                min(factor * limit, most),
                rule="task_capacity",
                resource="kernel",
                direction="raise",
                why="No program can start a process or thread at the limit.",
                risk="hides a leak of threads for a while; look at the culprits first. Each task "
                "takes about 20 KiB of kernel memory",
                source=f"Documentation/admin-guide/sysctl/kernel.rst, {name}",
            )


def _more_requests(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """Advise more asynchronous I/O requests."""
    sample = facts.sample(LimitsSample)
    if sample is not None and sample.aio_requests_max:
        yield from sysctl(
            facts,
            "fs.aio-max-nr",
            max(2 * sample.aio_requests_max, 1_048_576),
            rule="aio_requests",
            resource="kernel",
            direction="raise",
            why="Databases fail to start, or fall back to slow I/O, when io_setup fails.",
            risk="a few hundred bytes of kernel memory for each request in use",
            source="Documentation/admin-guide/sysctl/fs.rst, aio-nr & aio-max-nr",
        )


@rule(
    resource="kernel",
    cause="file_descriptors",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.70,
    critical=0.90,
    source=_NODE_MIXIN,
    gate="fs.file-max limits anything",
    explanation="The host runs out of open files; then nothing can open a file or a connection.",
    next_steps=("lsof | awk '{print $1}' | sort | uniq -c | sort -rn | head",),
    advise=_more_files,
)
def file_descriptors(facts: Facts) -> Signal | None:
    """Watch the share of file handles in use."""
    sample = facts.sample(LimitsSample)
    if sample is None or sample.files is None:
        return None
    if not sample.files_max:
        return Signal(0.0, f"{sample.files} files are open, without a limit for the host")
    share = sample.files / sample.files_max
    return Signal(
        value=share,
        message=f"{sample.files} of {sample.files_max} file handles are in use",
        evidence=(Evidence("file handles", share, "ratio", "/proc/sys/fs/file-nr"),),
        culprits=by_fds(facts),
    )


@rule(
    resource="kernel",
    cause="task_capacity",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.75,
    critical=0.90,
    source="the same margins as for file descriptors, " + _NODE_MIXIN,
    explanation="The host runs out of tasks; then nothing can start, not even a login shell.",
    next_steps=("ps -eLf | awk '{print $NF}' | sort | uniq -c | sort -rn | head",),
    advise=_more_tasks,
)
def task_capacity(facts: Facts) -> Signal | None:
    """Watch processes and threads against the nearer of their two limits."""
    sample = facts.sample(LimitsSample)
    bounds = [b for b in (sample.threads_max, sample.pid_max) if b] if sample else []
    if sample is None or sample.tasks is None or not bounds:
        return None
    share = sample.tasks / min(bounds)
    return Signal(
        value=share,
        message=f"{sample.tasks} of {min(bounds)} possible tasks exist",
        evidence=(Evidence("tasks", share, "ratio", "/proc/loadavg, pid_max, threads-max"),),
        culprits=by_threads(facts),
    )


@rule(
    resource="kernel",
    cause="aio_requests",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.75,
    critical=0.95,
    source="Documentation/admin-guide/sysctl/fs.rst: io_setup fails with EAGAIN at aio-max-nr; "
    "margins as for tasks",
    explanation="The host runs out of asynchronous I/O requests; then the next database cannot "
    "start.",
    next_steps=("sysctl fs.aio-nr fs.aio-max-nr",),
    advise=_more_requests,
)
def aio_requests(facts: Facts) -> Signal | None:
    """Watch asynchronous I/O requests set up against their limit."""
    sample = facts.sample(LimitsSample)
    share = ratio(sample.aio_requests, sample.aio_requests_max) if sample else None
    if sample is None or share is None:
        return None
    return Signal(
        value=share,
        message=f"{sample.aio_requests} of {sample.aio_requests_max} asynchronous I/O requests "
        "are set up",
        evidence=(Evidence("requests", share, "ratio", "/proc/sys/fs/aio-nr, aio-max-nr"),),
    )


@rule(
    resource="network",
    cause="interrupt_load",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.90,
    critical=None,
    source="with four CPUs or more an even spread puts at most a quarter on each",
    gate="four CPUs, 20,000 received packets' softirqs a second, and a CPU that spends 30 % of "
    "its time in interrupts: one queue on one idle CPU is no trouble",
    explanation="One CPU receives nearly all packets while the others could help.",
    next_steps=("cat /proc/interrupts", "ethtool -l INTERFACE", "Look at irqbalance or RPS."),
)
def packet_steering(facts: Facts) -> Signal | None:
    """Watch the busiest CPU's share of the work of receiving packets."""
    sample = facts.sample(InterruptsSample)
    cpus = facts.sample(CpuSample)
    if sample is None or sample.network_receive_per_second is None or cpus is None:
        return None
    share, rate = sample.network_receive_share, sample.network_receive_per_second
    loads = [load for load in cpus.interrupts.values() if load is not None]
    if share is None or not loads:
        # Too few packets to say is told apart from too many to overlook.
        return None if rate >= _LEAST_PACKETS else Signal(0.0, "Hardly any packet is received")
    busy = rate >= _LEAST_PACKETS and sample.cpus >= _LEAST_CPUS and max(loads) >= _BUSY
    return Signal(
        value=share if busy else 0.0,
        message=f"One of {sample.cpus} CPUs handles {percent(share)} of received packets",
        evidence=(
            Evidence("share of the busiest CPU", share, "ratio", "/proc/softirqs NET_RX"),
            Evidence("softirqs for received packets", rate, "1/s", "/proc/softirqs NET_RX"),
            Evidence("busiest CPU", max(loads, default=None), "ratio", "/proc/stat irq, softirq"),
        ),
    )


@rule(
    resource="cpu",
    cause="hardware",
    kind=Kind.ERRORS,
    unit="events",
    warning=1,
    critical=10,
    at_once=True,
    scale=Scale.LOG,
    source="Documentation/arch/x86/x86_64/machinecheck.rst: polls are counted apart (MCP)",
    explanation="The processor reported hardware errors.",
    next_steps=("dmesg | grep -i mce", "ras-mc-ctl --errors"),
)
def machine_checks(facts: Facts) -> Signal | None:
    """Watch machine check exceptions."""
    sample, earlier = facts.sample(InterruptsSample), facts.before(InterruptsSample)
    if sample is None or sample.machine_checks is None:
        return None
    old = earlier.machine_checks if earlier else None
    known = old is not None and sample.machine_checks >= old
    events = sample.machine_checks - (old or 0) if known else sample.machine_checks_increase
    if events is None:
        return None
    return Signal(
        value=float(events),
        message=f"The processor reported {events} hardware {'error' if events == 1 else 'errors'}",
        evidence=(Evidence("machine checks", events, "events", "/proc/interrupts MCE"),),
    )
