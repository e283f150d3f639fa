"""Rules on what eBPF probes see of storage: slow and failed writing back, failed requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.probed import by_probe, quantiles, slowest
from analysis.registry import rule
from analysis.text import duration

_LEAST_CALLS = 100
_NAMED = 5
# Drives whose medium may be missing or scratched without any harm to the host.
_REMOVABLE = re.compile(r"(?:fd|sr)\d+")
_UNSUPPORTED = frozenset({"EOPNOTSUPP", "ENOTSUP"})


@rule(
    resource="disk",
    cause="slow_storage",
    kind=Kind.SATURATION,
    unit="s",
    warning=0.1,
    critical=1.0,
    scale=Scale.LOG,
    probe="fsync",
    at_once=True,
    source="etcd mixin etcdHighFsyncDurations: a 99th percentile of 1 s is critical, of 0.5 s a "
    "warning; warned of from 0.1 s on, which is twice what a disk with one head needs for two "
    "seeks and two turns, since etcd asks for 10 ms",
    gate="100 calls of that kind in the window",
    explanation="Programs that need their data on the disk, databases above all, waited long for "
    "one in a hundred of these calls; every commit takes as long.",
    next_steps=("See who calls fsync, and how often.", "iostat -dxy 1 5: what else is written?"),
)
def fsync_latency(facts: Facts) -> Signal | None:
    """Watch how long the slowest hundredth of calls took to bring data to the disk."""
    sample = facts.probe("fsync")
    if sample is None:
        return None
    worst = slowest(sample.histograms, _LEAST_CALLS)
    if worst is None:
        return Signal(0.0, "There were too few calls of fsync to judge")
    call = worst.labels["operation"]
    return Signal(
        value=worst.p99 or 0.0,
        message=f"One in a hundred calls of {call} took {duration(worst.p99)} or longer",
        evidence=quantiles(worst, f"calls of {call}", f"sys_enter_{call}, sys_exit_{call}"),
        culprits=by_probe(sample),
    )


@rule(
    resource="disk",
    cause="failing_disk",
    kind=Kind.ERRORS,
    unit="calls",
    warning=0.5,
    critical=1,
    probe="fsync",
    at_once=True,
    source="fsync(2), EIO: data that was written before may be lost, and a second call does not "
    "tell of it again; PostgreSQL stops itself on the first one",
    gate="EIO only: a full disk has rules of its own",
    explanation="A program was told that its data did not reach the disk.",
    next_steps=("dmesg | grep -iE 'I/O error|lost'", "Check the disk; restore what was lost."),
)
def fsync_errors(facts: Facts) -> Signal | None:
    """Watch calls that said that data did not reach the disk."""
    sample = facts.probe("fsync")
    if sample is None:
        return None
    rows = [row for row in sample.tops.get("error", ()) if row["error"] == "EIO"]
    failed = sum(row["count"] for row in rows)
    calls = ", ".join(row["operation"] for row in rows)
    return Signal(
        value=float(failed),
        message=f"{failed} calls of {calls} failed: their data did not reach the disk"
        if failed
        else "No call of fsync failed",
        evidence=(Evidence("failed calls", failed, "calls", "sys_exit_fsync EIO"),),
        culprits=by_probe(sample) if failed else (),
    )


@rule(
    resource="disk",
    cause="failing_disk",
    kind=Kind.ERRORS,
    unit="errors",
    warning=1,
    critical=50,
    scale=Scale.LOG,
    probe="blockerrors",
    at_once=True,
    source="block/blk-core.c tells of a request only when it failed for good, after all of the "
    "driver's attempts; thresholds as for storage_log_errors",
    gate="no floppy or optical drive, and no operation the device does not know",
    explanation="Requests to a disk failed.",
    next_steps=("dmesg | grep -iE 'I/O error|timeout'", "smartctl -a on the disk."),
)
def block_errors(facts: Facts) -> Signal | None:
    """Watch requests that a disk or its driver failed."""
    sample = facts.probe("blockerrors")
    if sample is None:
        return None
    rows = [row for row in sample.tops.get("error", ()) if _counts(row)]
    failed, first = sum(row["count"] for row in rows), rows[0] if rows else None
    return Signal(
        value=float(failed),
        message=f"{failed} requests failed, most of them {first['operation']} on "
        f"{first['device']} ({first['error']})"
        if first
        else "No request to a disk failed",
        subject=first["device"] if first else None,
        evidence=tuple(
            Evidence(f"{row['operation']} on {row['device']}, {row['error']}", row["count"],
                     "errors", "block_rq_error")
            for row in rows[:_NAMED]
        ),
        culprits=tuple(
            Culprit("device", row["device"], value=row["count"], unit="errors",
                    share=row["count"] / failed, detail=f"{row['operation']}: {row['error']}")
            for row in rows[:_NAMED]
        ),
    )  # fmt: skip


def _counts(row: Mapping[str, Any]) -> bool:
    """Tell whether an error means harm."""
    return row["error"] not in _UNSUPPORTED and not _REMOVABLE.fullmatch(row["device"])
