"""Who does it: processes by what they take, as culprits of a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from analysis.model import Culprit, Facts
from collectors.process_sample import Process, ProcessSample

MOST = 5
_LEAST_SHARE = 0.05


def by_cpu(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes that used most CPU time in the window.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by cores used, each with its share of what the listed ones use.

    """
    sample = facts.sample(ProcessSample)
    return _rank(sample.top_cpu if sample else (), lambda p: p.cpu, "cores")


def by_wait(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes that waited longest for a CPU.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by waiting time per second of the window [ratio].

    """
    sample = facts.sample(ProcessSample)
    return _rank(sample.top_wait if sample else (), lambda p: p.run_wait, "ratio")


def by_memory(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes with most resident memory.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by resident memory [bytes].

    """
    sample = facts.sample(ProcessSample)
    return _rank(sample.top_memory if sample else (), lambda p: p.rss_bytes, "bytes")


def by_io(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes that moved most bytes to and from storage.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by bytes read and written per second [bytes/s].

    """
    sample = facts.sample(ProcessSample)
    return _rank(sample.top_io if sample else (), _io, "bytes/s")


def by_fds(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes with most open files.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by open file descriptors.

    """
    sample = facts.sample(ProcessSample)
    return _rank(sample.top_fds if sample else (), lambda p: p.fds, "descriptors")


def by_threads(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes with most threads.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by threads.

    """
    sample = facts.sample(ProcessSample)
    return _rank(sample.top_threads if sample else (), lambda p: p.threads, "threads")


def by_faults(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes with most major page faults.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by major faults per second [1/s].

    """
    sample = facts.sample(ProcessSample)
    return _rank(sample.top_faults if sample else (), lambda p: p.major_faults_per_second, "1/s")


def _io(process: Process) -> float | None:
    """Give the bytes a process moved per second; None when neither side is known."""
    sides = [process.read_bytes_per_second, process.write_bytes_per_second]
    known = [s for s in sides if s is not None]
    return sum(known) if known else None


def _rank(
    processes: Iterable[Process], value: Callable[[Process], float | None], unit: str
) -> tuple[Culprit, ...]:
    """Order processes by a value and merge those of one name: four stressors are one culprit."""
    merged: dict[tuple[str, str | None], list[Process]] = {}
    for process in processes:
        if value(process):
            merged.setdefault((process.comm, process.cgroup), []).append(process)
    sums = {key: sum(value(p) or 0.0 for p in group) for key, group in merged.items()}
    whole = sum(sums.values())
    ranked = sorted(sums, key=lambda key: -sums[key])[:MOST]
    return tuple(
        _culprit(merged[key], sums[key], unit, sums[key] / whole)
        for key in ranked
        if sums[key] / whole >= _LEAST_SHARE
    )


def _culprit(group: list[Process], total: float, unit: str, share: float) -> Culprit:
    """Describe one process, or several of one name and group."""
    pids = ",".join(str(p.pid) for p in group[:MOST]) + (",…" if len(group) > MOST else "")
    return Culprit("process", group[0].comm, pids, round(total, 4), unit, share, group[0].cgroup)
