"""Who does it: processes by what they take, as culprits of a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from analysis.model import Culprit, Facts
from collectors.cpu import CpuSample
from collectors.memory import MemorySample
from collectors.process_sample import Process, ProcessSample
from collectors.socket_owners import Crowd
from collectors.tcp import TcpSample
from collectors.udp_losses import UdpLoser

MOST = 5
_LEAST_SHARE = 0.05
_NAMED = 3
_NEARLY_AS_MUCH = 0.5
# What explains less than this of the memory that was freed has not asked for it.
_EXPLAINS = 0.5


class _Named(Protocol):
    """What is told of a process wherever one is told of."""

    @property
    def pid(self) -> int: ...
    @property
    def comm(self) -> str: ...
    @property
    def cgroup(self) -> str | None: ...


N = TypeVar("N", bound=_Named)


def by_cpu(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes that used most CPU time in the window.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by cores used, each with its share of all CPU time that was used.

    """
    sample, cpus = facts.sample(ProcessSample), facts.sample(CpuSample)
    used = (cpus.utilization.mean or 0.0) * cpus.online if cpus else 0.0
    return _rank(sample.top_cpu if sample else (), lambda p: p.cpu, "cores", used)


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
        At most five, by resident memory [bytes], each with its share of the host's.

    """
    sample, memory = facts.sample(ProcessSample), facts.sample(MemorySample)
    whole = (memory.total_bytes or 0) if memory else 0
    return _rank(sample.top_memory if sample else (), lambda p: p.rss_bytes, "bytes", whole)


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


def by_demand(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes that asked for most memory while others had to give it back.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by pages asked for per second; where page faults explain less than
        half of what the kernel freed meanwhile, by bytes moved to and from storage, which
        fill the page cache; by resident memory where neither explains it.

    """
    sample, memory = facts.sample(ProcessSample), facts.sample(MemorySample)
    freed = memory.per_second("pgsteal_direct", "pgsteal_kswapd") if memory else None
    least = (freed or 0.0) * _EXPLAINS
    asking = sample.top_taken if sample else ()
    if sum(p.pages_taken_per_second or 0.0 for p in asking) >= least:
        found = _rank(asking, lambda p: p.pages_taken_per_second, "pages/s")
        return found or by_memory(facts)
    return by_io(facts) if _pages_moved(sample) >= least else by_memory(facts)


def _pages_moved(sample: ProcessSample | None) -> float:
    """Count the pages that went to and from storage [1/s]; 0 where that explains nothing."""
    if sample is None or not sample.page_bytes:
        return 0.0
    return sum(_io(p) or 0.0 for p in sample.top_io) / sample.page_bytes


def by_sockets(crowd: Crowd | None, least: float = _LEAST_SHARE) -> tuple[Culprit, ...]:
    """
    Name the processes that hold most of many sockets.

    Args:
        crowd: The sockets; None when they are no crowd.
        least: Share of all of them below which a process is not named [ratio].

    Returns:
        At most five, by sockets held, each with its share of all.

    """
    if crowd is None:
        return ()
    found = _rank(crowd.holders, lambda h: h.count, "sockets", crowd.sockets)
    return tuple(c for c in found if (c.share or 0.0) >= least)


def by_udp_losses(facts: Facts) -> tuple[Culprit, ...]:
    """
    Name the processes whose UDP sockets dropped most datagrams.

    Args:
        facts: What is known of the host.

    Returns:
        At most five, by datagrams dropped in the window, each with its share of what
        all sockets dropped; then the sockets whose process is not known, by their port.

    """
    sample = facts.sample(TcpSample)
    losers = sample.udp_losers if sample else ()
    whole = sum(loser.lost for loser in losers)
    known = [loser.process for loser in losers if loser.process is not None]
    named = _rank(known, lambda h: h.count, "datagrams", whole)
    nobodys = (_unread(loser, whole) for loser in losers if loser.process is None)
    both = (c for c in (*named, *nobodys) if (c.share or 0.0) >= _LEAST_SHARE)
    return tuple(sorted(both, key=lambda c: -(c.value or 0.0))[:MOST])


def _unread(loser: UdpLoser, whole: int) -> Culprit:
    """Describe a UDP socket whose process is not known."""
    where = f"{loser.address}:{loser.port}"
    name, share = f"UDP port {loser.port}", loser.lost / whole
    return Culprit("listener", name, where, float(loser.lost), "datagrams", share, where)


def leaders(culprits: Iterable[Culprit]) -> tuple[Culprit, ...]:
    """
    Choose those that are worth asking about.

    Args:
        culprits: Processes, most guilty first.

    Returns:
        The first and those that take at least half as much, at most three.

    """
    found = tuple(culprits)[:_NAMED]
    least = (found[0].value or 0.0) * _NEARLY_AS_MUCH if found else 0.0
    return tuple(c for c in found if (c.value or 0.0) >= least)


def names(culprits: Iterable[Culprit]) -> str:
    """
    Name the most guilty, for a title.

    Args:
        culprits: Processes, most guilty first.

    Returns:
        At most three names, each once; empty when there is none.

    """
    *first, last = list(dict.fromkeys(c.name for c in culprits))[:_NAMED] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def pids(culprits: Iterable[Culprit]) -> str:
    """
    List the ids of the same processes, for a command.

    Args:
        culprits: Processes, most guilty first.

    Returns:
        The ids, separated by commas.

    """
    found = (pid for c in culprits for pid in (c.id or "").split(","))
    return ",".join(pid for pid in found if pid.isdigit())


def _io(process: Process) -> float | None:
    """Give the bytes a process moved per second; None when neither side is known."""
    sides = [process.read_bytes_per_second, process.write_bytes_per_second]
    known = [s for s in sides if s is not None]
    return sum(known) if known else None


def _rank(
    processes: Iterable[N],
    value: Callable[[N], float | None],
    unit: str,
    whole: float = 0.0,
) -> tuple[Culprit, ...]:
    """
    Order processes by a value and merge those of one name: four stressors are one culprit.

    Shares are those of the whole, or of what the listed ones take where that is unknown.
    """
    merged: dict[tuple[str, str | None], list[N]] = {}
    for process in processes:
        if value(process):
            merged.setdefault((process.comm, process.cgroup), []).append(process)
    sums = {key: sum(value(p) or 0.0 for p in group) for key, group in merged.items()}
    listed = sum(sums.values())
    ranked = sorted(sums, key=lambda key: -sums[key])[:MOST]
    return tuple(
        _culprit(merged[key], sums[key], unit, sums[key] / max(whole, listed))
        for key in ranked
        if sums[key] / listed >= _LEAST_SHARE
    )


def _culprit(group: Sequence[_Named], total: float, unit: str, share: float) -> Culprit:
    """Describe one process, or several of one name and group."""
    # One that is listed for several of its sockets is one nevertheless.
    ids = list(dict.fromkeys(str(p.pid) for p in group))
    pids = ",".join(ids[:MOST]) + (",…" if len(ids) > MOST else "")
    return Culprit("process", group[0].comm, pids, round(total, 4), unit, share, group[0].cgroup)
