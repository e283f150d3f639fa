"""Rules on what the whole host shares: open files, tasks, process ids, interrupts."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import sysctl
from analysis.culprits import by_fds, by_threads
from analysis.model import Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.text import percent
from collectors.interrupts import InterruptsSample
from collectors.limits import LimitsSample

_LEAST_PACKETS = 20_000.0
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
    """Advise more process ids."""
    sample = facts.sample(LimitsSample)
    if sample is not None and sample.pid_max and sample.tasks:
        yield from sysctl(
            facts,
            "kernel.pid_max",
            min(4 * sample.pid_max, 4_194_304),
            rule="task_capacity",
            resource="kernel",
            direction="raise",
            why="No program can start a process or thread when all ids are taken.",
            risk="hides a leak of threads for a while; look at the culprits first",
            source="Documentation/admin-guide/sysctl/kernel.rst, pid_max",
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
    resource="network",
    cause="interrupt_load",
    kind=Kind.SATURATION,
    unit="ratio",
    warning=0.90,
    critical=None,
    source="with four CPUs or more an even spread puts at most a quarter on each",
    gate="four CPUs and 20,000 received packets' softirqs a second",
    explanation="One CPU receives nearly all packets while the others could help.",
    next_steps=("cat /proc/interrupts", "ethtool -l INTERFACE", "Look at irqbalance or RPS."),
)
def packet_steering(facts: Facts) -> Signal | None:
    """Watch the busiest CPU's share of the work of receiving packets."""
    sample = facts.sample(InterruptsSample)
    if sample is None or sample.network_receive_per_second is None:
        return None
    share, rate = sample.network_receive_share, sample.network_receive_per_second
    busy = rate >= _LEAST_PACKETS and sample.cpus >= _LEAST_CPUS
    return Signal(
        value=share if busy and share is not None else 0.0,
        message=f"One of {sample.cpus} CPUs handles {percent(share)} of received packets",
        evidence=(
            Evidence("share of the busiest CPU", share, "ratio", "/proc/softirqs NET_RX"),
            Evidence("softirqs for received packets", rate, "1/s", "/proc/softirqs NET_RX"),
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
        message=f"The processor reported {events} hardware errors",
        evidence=(Evidence("machine checks", events, "events", "/proc/interrupts MCE"),),
    )
