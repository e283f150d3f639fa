"""Advice on memory: only for the symptom it cures, in sizes that fit this host."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import investigate, sysctl
from analysis.culprits import by_memory, leaders, names, pids
from analysis.model import Facts, Recommendation, Signal
from collectors.memory import MemorySample
from collectors.numa import NumaSample
from collectors.rates import ratio

_MIB = 1 << 20
_SYS = "/sys/kernel/mm/transparent_hugepage"
_VM = "Documentation/admin-guide/sysctl/vm.rst"
# With less to spare, keeping more free only brings the OOM killer nearer.
_ENOUGH = 0.10
_PLENTY = 0.20
_LARGE = 8 << 30


def find_consumer(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise to look at what holds the memory.

    Args:
        facts: What is known of the host.

    Yields:
        The advice, when processes are known.

    """
    guilty = leaders(by_memory(facts))
    if guilty:
        yield investigate(
            "memory:consumers",
            resource="memory",
            rule="memory_utilization",
            title=f"See whether {names(guilty)} should hold this much memory",
            why="They hold most of it; a leak, a cache without a limit or a job in the wrong "
            "place is ended at its source.",
            commands=(f"ps -o pid,ppid,user,lstart,rss,comm -p {pids(guilty)}", "free -m"),
        )


def find_faulting(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise to look at whose pages come from storage.

    Args:
        facts: What is known of the host.
        signal: What was seen.

    Yields:
        Who holds the memory, when it is short or swapped; otherwise who waits, and
        for which files.

    """
    sample, waiting = facts.sample(MemorySample), leaders(signal.culprits)
    if sample is None or _spare(sample) < _PLENTY or _swapped(sample, signal.value):
        yield from find_consumer(facts, signal)
    elif waiting:
        yield investigate(
            "memory:cold_files",
            resource="memory",
            rule="major_faults",
            title=f"See which mapped files {names(waiting)} waits for",
            why="Memory is not short: what is read is cold, or was dropped from the cache. Who "
            "drops it, or larger and earlier reads (madvise), are the way out.",
            commands=(
                f"pidstat -r -d -p {pids(waiting)} 1 5",
                f"cat /proc/{{{pids(waiting)},}}/maps 2>/dev/null | grep -o '/.*' | sort -u",
            ),
        )


def swap_less(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise to keep programs in memory where it is caches that push them out.

    Args:
        facts: What is known of the host.
        signal: What was seen.

    Yields:
        Whom to look at; and a lower vm.swappiness when much of memory could be
        freed and swap is on storage.

    """
    yield from find_consumer(facts, signal)
    sample = facts.sample(MemorySample)
    if sample is None or _spare(sample) < _PLENTY or any(s.in_memory for s in sample.swaps):
        return
    yield from sysctl(
        facts,
        "vm.swappiness",
        10,
        rule="swap_in",
        resource="memory",
        direction="lower",
        why="Pages of programs are swapped out although a fifth of memory or more could be "
        "freed; the kernel then drops cached files first.",
        risk="files are cached less, which costs reads where files are what is used",
        source=f"{_VM}, swappiness",
    )


def reclaim_earlier(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise to let kswapd begin earlier, so that programs need not reclaim themselves.

    Args:
        facts: What is known of the host.
        signal: What was seen.

    Yields:
        Settings when there is enough that could be freed in time; otherwise
        only whom to look at.

    """
    sample = facts.sample(MemorySample)
    if sample is None or _spare(sample) < _ENOUGH:
        yield from find_consumer(facts, signal)
        return
    yield from sysctl(
        facts,
        "vm.watermark_scale_factor",
        100,
        rule="direct_reclaim",
        resource="memory",
        direction="raise",
        why="Memory that could be freed is there, only too late: kswapd then begins when 1 % "
        "of a zone is left above its reserve, and programs stop freeing it themselves.",
        risk="up to 2 % of memory is kept free that caches could use",
        source=f"{_VM}, watermark_scale_factor",
    )
    yield from sysctl(
        facts,
        "vm.zone_reclaim_mode",
        0,
        rule="direct_reclaim",
        resource="memory",
        direction="lower",
        why="Programs then take free memory of another node before they reclaim their own.",
        risk="more memory is far from the CPU that uses it",
        source=f"{_VM}, zone_reclaim_mode",
    )


def compact_less(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise to leave compaction to the background, and to keep more memory whole.

    Args:
        facts: What is known of the host.

    Yields:
        What applies to this host.

    """
    sample = facts.sample(MemorySample)
    if sample is None:
        return
    if sample.huge_pages_defrag == "always":
        yield _mode(
            "defrag", "always", "defer+madvise",
            rule="compaction_stalls",
            title="Let huge pages be made in the background unless a program asks for them",
            why="Every fault that wants a huge page now compacts memory itself when none is free.",
            risk="programs that profit without asking get huge pages later",
        )  # fmt: skip
    if sample.total_bytes and sample.total_bytes >= _LARGE and _spare(sample) >= _ENOUGH:
        yield from sysctl(
            facts,
            "vm.min_free_kbytes",
            _reserve_kib(sample.total_bytes),
            rule="compaction_stalls",
            resource="memory",
            direction="raise",
            why="Memory stays less fragmented when more of it is kept free; the value is a 256th "
            "of this host's memory, at least 64 MiB and at most 1 GiB.",
            risk="as much memory is not for programs; far too much of it brings the OOM killer",
            source=f"{_VM}, min_free_kbytes",
        )


def ask_for_huge_pages(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise huge pages only for programs that ask for them.

    Args:
        facts: What is known of the host.

    Yields:
        The advice, when all programs get them now.

    """
    sample = facts.sample(MemorySample)
    if sample is not None and sample.huge_pages == "always":
        yield _mode(
            "enabled", "always", "madvise",
            rule="huge_page_splits",
            title="Give huge pages only to programs that ask for them",
            why="Huge pages that are split again cost their making and their splitting.",
            risk="programs that profit without asking get slower",
            persistent=("add transparent_hugepage=madvise to the kernel's command line",),
        )  # fmt: skip


def balance_nodes(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise to let the kernel move pages to the node that uses them.

    Args:
        facts: What is known of the host.
        signal: What was seen.

    Yields:
        The setting on a host of several nodes, and whom to look at.

    """
    yield from find_consumer(facts, signal)
    sample = facts.sample(NumaSample)
    if sample is not None and len(sample.nodes) > 1:
        yield from sysctl(
            facts,
            "kernel.numa_balancing",
            1,
            rule="numa_miss",
            resource="memory",
            direction="raise",
            why="Pages then follow the CPUs that use them, and tasks follow their pages.",
            risk="costs page faults to learn who uses what; programs that place their memory "
            "themselves gain nothing",
            source="Documentation/admin-guide/sysctl/kernel.rst, numa_balancing",
        )


def write_back_earlier(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise to write changed pages back sooner and in smaller bursts.

    Args:
        facts: What is known of the host.

    Yields:
        Settings, where the limits are shares of memory and not bytes.

    """
    for name, proposed in (("dirty_background_ratio", 5), ("dirty_ratio", 10)):
        yield from sysctl(
            facts,
            f"vm.{name}",
            proposed,
            rule="dirty_throttling",
            resource="memory",
            direction="lower",
            why="Less piles up that storage has to take at once, so other programs' reads and "
            "fsyncs wait less for it.",
            risk="programs that write in bursts are slowed earlier",
            source=f"{_VM}, {name}",
        )


def _spare(sample: MemorySample) -> float:
    """Give the share of memory that could be had; 0 when unknown, which is the careful side."""
    return ratio(sample.available_bytes, sample.total_bytes) or 0.0


def _swapped(sample: MemorySample, faults: float) -> bool:
    """Tell whether most page faults [1/s] that wait for storage wait for swap."""
    # A kernel without swap does not count it.
    return 2 * (sample.per_second("pswpin") or 0.0) > faults


def _reserve_kib(total: int) -> int:
    """Size the reserve: a 256th of memory between 64 MiB and 1 GiB [KiB]."""
    return min(max(total // 256, 64 * _MIB), 1024 * _MIB) // 1024


def _mode(
    name: str,
    current: str,
    proposed: str,
    *,
    rule: str,
    title: str,
    why: str,
    risk: str,
    persistent: tuple[str, ...] = (),
) -> Recommendation:
    """Advise another mode of transparent huge pages."""
    path = f"{_SYS}/{name}"
    boot = f"echo 'w {path} - - - - {proposed}' > /etc/tmpfiles.d/90-huge-pages-{name}.conf"
    return Recommendation(
        id=f"huge_pages:{name}",
        kind="tune",
        resource="memory",
        title=title,
        why=why,
        risk=risk,
        commands=(f"echo {proposed} > {path}",),
        persistent=persistent or (boot,),
        undo=(f"echo {current} > {path}",),
        source="Documentation/admin-guide/mm/transhuge.rst",
        addresses=rule,
        current=current,
        proposed=proposed,
        scope="persistent",
    )
