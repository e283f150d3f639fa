"""Rules that fire together when one resource is short, whoever takes it."""

from __future__ import annotations

CPUS = frozenset({"cpu_pressure", "cpu_utilization", "run_queue", "run_queue_latency"})
STORAGE = frozenset(
    {
        "io_pressure", "io_stall", "cpu_iowait", "disk_utilization", "disk_queue", "disk_latency",
        "block_io_latency",
    }
)  # fmt: skip
STALLS = frozenset({"memory_pressure", "memory_stall"})
RECLAIM = frozenset({"direct_reclaim", "direct_reclaim_latency"})
MEMORY = STALLS | RECLAIM
