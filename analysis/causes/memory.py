"""Causes that lie in memory: too little of it, in the wrong shape, or lost."""

from __future__ import annotations

from analysis.clues import (
    MEMORY_SHORT,
    MEMORY_STALLS,
    OWN_RECLAIM,
    SWAPPING,
    memory_below,
)  # fmt: skip
from analysis.model import Facts
from analysis.pattern import Clue, Pattern
from collectors.disk import DiskSample
from collectors.memory import MemorySample

# What storage shows when it has to carry what memory cannot hold.
STORAGE = (
    "io_pressure", "io_stall", "cpu_iowait", "disk_utilization", "disk_queue", "disk_latency",
    "block_io_latency", "blocked_tasks", "hung_tasks",
)  # fmt: skip
_STALLS, _RECLAIM = MEMORY_STALLS.rules, OWN_RECLAIM.rules
_MIGRATED = 1000.0  # [pages/s], 4 MB/s between nodes
_WRITES = 4.0


def _huge_pages_always(facts: Facts) -> bool | None:
    """Tell whether the kernel looks for huge pages for everybody."""
    sample = facts.sample(MemorySample)
    return None if sample is None or sample.huge_pages is None else sample.huge_pages == "always"


def _pages_migrate(facts: Facts) -> bool | None:
    """Tell whether pages are moved between nodes all the time."""
    sample = facts.sample(MemorySample)
    rate = sample.per_second("numa_pages_migrated") if sample else None
    return None if rate is None else rate >= _MIGRATED


def _mostly_writes(facts: Facts) -> bool | None:
    """Tell whether far more is written to storage than read."""
    sample = facts.sample(DiskSample)
    written, read = (
        (sample.write_bytes_per_second, sample.read_bytes_per_second) if sample else (None, None)
    )
    return None if written is None or read is None else written > _WRITES * read


PATTERNS = (
    Pattern(
        "swap_thrash",
        "memory",
        "the programs need more memory than there is, so pages go to swap and back",
        seen=SWAPPING,
        speaks_for=(
            MEMORY_STALLS,
            Clue("hardly any memory is left", ("memory_utilization", "swap_full")),
        ),
        explains=(*STORAGE, "major_faults", "run_queue_latency", "container_pressure"),
    ),
    Pattern(
        "memory_exhausted",
        "memory",
        "the memory is nearly used up",
        seen=MEMORY_SHORT,
        speaks_for=(
            MEMORY_STALLS,
            OWN_RECLAIM,
        ),
        explains=(
            *_RECLAIM,
            *STORAGE,
            "major_faults",
            "page_allocation_failures",
            "page_cache_misses",
            "oom_kill",
            "swap_full",
            "compaction_stalls",
            "commit_limit",
        ),
    ),
    Pattern(
        "swap_full",
        "memory",
        "swap is nearly full, and what comes next is a kill",
        seen=Clue("swap is nearly full", ("swap_full",)),
        speaks_for=(MEMORY_SHORT,),
        speaks_against=(SWAPPING,),
    ),
    Pattern(
        "memory_stalls",
        "memory",
        "tasks stall because memory has to be found for them",
        seen=MEMORY_STALLS,
        speaks_for=(OWN_RECLAIM,),
        speaks_against=(
            Clue("a group is at its own limit", ("container_memory", "container_pressure")),
            SWAPPING,
            MEMORY_SHORT,
            Clue("files are read again and again", ("major_faults", "page_cache_misses")),
            Clue("huge pages are put together", ("compaction_stalls",)),
        ),
        explains=_RECLAIM,
    ),
    Pattern(
        "cold_files",
        "memory",
        "programs and files they map are read from storage again and again",
        seen=Clue("page faults wait for storage", ("major_faults", "page_cache_misses")),
        speaks_for=(
            Clue(
                "tasks wait for storage",
                ("io_pressure", "io_stall", "disk_utilization", "cpu_iowait", "disk_queue"),
            ),
        ),
        speaks_against=(
            SWAPPING,
            MEMORY_SHORT,
            Clue("a group is at its own limit", ("container_memory",)),
        ),
        explains=(*STORAGE, *_STALLS),
    ),
    Pattern(
        "cache_full_of_writes",
        "memory",
        "what is written and never read again pushes what is read out of the cache",
        seen=Clue("files that were just read are read again", ("page_cache_misses",)),
        must=(Clue("far more is written than read", fact=_mostly_writes),),
        explains=("major_faults", "io_pressure", "io_stall", "disk_utilization"),
    ),
    Pattern(
        "direct_reclaim",
        "memory",
        "the kernel frees memory too late, so tasks have to free it themselves",
        seen=OWN_RECLAIM,
        speaks_for=(MEMORY_STALLS,),
        speaks_against=(
            MEMORY_SHORT,
            SWAPPING,
        ),
        explains=(*_STALLS, "page_allocation_failures", "run_queue_latency"),
    ),
    Pattern(
        "compaction_stalls",
        "memory",
        "memory is fragmented, and tasks wait while huge pages are put together",
        seen=Clue("tasks wait for compaction", ("compaction_stalls", "compaction_latency")),
        speaks_for=(
            Clue("huge pages are sought for everybody", fact=_huge_pages_always),
            Clue("huge pages are split again", ("huge_page_splits",)),
        ),
        explains=(*_STALLS, *_RECLAIM, "huge_page_splits"),
    ),
    Pattern(
        "cgroup_memory_limit",
        "container",
        "a group of processes is at its own memory limit",
        seen=Clue("a group is at its memory limit", ("container_memory", "container_pressure")),
        speaks_for=(
            Clue("processes of a group were killed", ("container_oom",)),
            Clue("the host has memory left", fact=memory_below(0.9)),
        ),
        explains=(*_STALLS, *STORAGE, *_RECLAIM, "major_faults", "container_oom", "oom_kill"),
    ),
    Pattern(
        "oom",
        "memory",
        "the kernel killed programs to get memory back",
        seen=Clue("programs were killed", ("oom_kill", "container_oom")),
        explains=_STALLS,
    ),
    Pattern(
        "commit_limit",
        "memory",
        "programs asked for nearly all the memory that the host lets them promise themselves",
        seen=Clue("the commit limit is near", ("commit_limit",)),
    ),
    Pattern(
        "numa_remote",
        "memory",
        "programs work with memory of another node",
        seen=Clue("memory is given by another node", ("numa_miss",)),
        speaks_against=(Clue("pages are moved between nodes", fact=_pages_migrate),),
    ),
    Pattern(
        "numa_migrations",
        "memory",
        "pages are moved between nodes faster than that can pay",
        seen=Clue("memory is given by another node", ("numa_miss",)),
        must=(Clue("pages are moved between nodes", fact=_pages_migrate),),
        explains=(*_STALLS, "context_switches"),
    ),
    Pattern(
        "failing_hardware",
        "memory",
        "memory or processor report errors: the hardware is failing",
        seen=Clue(
            "errors are reported",
            (
                "memory_uncorrected",
                "memory_corrupted",
                "machine_checks",
                "bus_errors",
                "memory_corrected_errors",
                "memory_uncorrected_errors",
                "bus_corrected_errors",
                "bus_lost_transactions",
            ),
        ),
        explains=("kernel_faults", "kernel_warnings", "kernel_alarms", "program_crashes"),
    ),
    Pattern(
        "leaking_process",
        "memory",
        "a process takes more and more and gives nothing back",
        seen=Clue("one process grows all the time", ("process_leak",)),
        explains=("memory_utilization", "process_file_descriptors", "commit_limit"),
    ),
)
