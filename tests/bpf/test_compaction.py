"""Compaction against the zones of this host and the clock of who asked for it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("workloads", Path(__file__).parent / "workloads.py")
workloads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(workloads)

TIMES = 3

COMPACT = """
began = time.monotonic()
for number in range(times):
    with open("/proc/sys/vm/compact_memory", "w") as switch:
        switch.write("1")
told["seconds"] = time.monotonic() - began
"""


def populated_zones():
    """Zones with memory of their own: those that compaction goes through."""
    text = Path("/proc/zoneinfo").read_text()
    present = [int(line.split()[1]) for line in text.splitlines() if "  present" in line]
    return sum(1 for pages in present if pages)


def test_each_zone_is_told_once_for_each_time_that_all_are_compacted(observe):
    before = workloads.vmstat()
    program = workloads.Program("compacter", COMPACT, times=TIMES)
    seen = observe("compaction", load=program.run)
    after = workloads.vmstat()
    sample = seen["compaction"]
    (row,) = workloads.of(sample.tops["process"], comm="compacter", by="task")
    assert row["count"] == TIMES * populated_zones()
    assert row["pid"] == program.pid
    assert 0 < row["max_seconds"] <= row["seconds"] < seen.told["seconds"]
    assert after["compact_migrate_scanned"] > before["compact_migrate_scanned"]
    # Nobody who wanted memory had to wait.
    assert sample.values["stalls"] == after["compact_stall"] - before["compact_stall"]


def test_results_have_the_kernels_words(observe):
    sample = observe("compaction", load=lambda: workloads.run("compacter", COMPACT, times=TIMES))[
        "compaction"
    ]
    results = {row["result"]: row["count"] for row in sample.tops["result"]}
    assert sum(results.values()) == sample.events >= TIMES * populated_zones()
    assert not any(word.isdigit() for word in results)
    assert results.get("complete", 0) + results.get("partial_skipped", 0) > 0


def test_who_is_called_like_the_daemon_waits_in_the_background(observe):
    sample = observe("compaction", load=lambda: workloads.run("kcompactd9", COMPACT, times=1))[
        "compaction"
    ]
    rows = workloads.of(sample.tops["process"], comm="kcompactd9")
    assert [(row["by"], row["count"]) for row in rows] == [("daemon", populated_zones())]
    assert {h.labels["by"] for h in sample.histograms} >= {"daemon"}
