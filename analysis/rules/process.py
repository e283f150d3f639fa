"""Rules on processes: dead, stuck, or at the end of their descriptors."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import investigate
from analysis.model import Culprit, Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.text import duration, percent
from collectors.process_sample import Process, ProcessSample

_MOST = 5
# Sandboxed programs set themselves tiny limits on purpose.
_LEAST_LIMIT = 256


def _find_waiting(_: Facts, signal: Signal) -> Iterable[Recommendation]:
    """Advise to look at what a stuck process waits for."""
    for culprit in signal.culprits[:1]:
        yield investigate(
            "process:blocked",
            resource="kernel",
            rule="blocked_tasks",
            title=f"See what {culprit.name} ({culprit.id}) waits for in the kernel",
            why="Its kernel stack tells the file system, device or lock; it cannot be killed "
            "before that answers.",
            commands=(f"cat /proc/{culprit.id}/stack", "dmesg --level=err,warn | tail -n 50"),
        )


@rule(
    resource="kernel",
    cause="blocked_tasks",
    kind=Kind.SATURATION,
    unit="s",
    warning=30,
    critical=120,
    scale=Scale.LOG,
    source="kernel.hung_task_timeout_secs is 120 s by default (Documentation/admin-guide/"
    "sysctl/kernel.rst); 30 s is how long a SCSI command may take before it is aborted",
    gate="processes in state D that have not run for a moment; kernel threads do not count",
    explanation="A process sleeps uninterruptibly and has not run at all since: a device, "
    "a network file system or a kernel lock does not answer.",
    next_steps=("cat /proc/PID/stack", "Look at the disks and network mounts."),
    advise=_find_waiting,
)
def blocked_tasks(facts: Facts) -> Signal | None:
    """Watch how long a process has been uninterruptible without running at all."""
    sample = facts.sample(ProcessSample)
    # One look cannot tell what is stuck from what waits for a moment.
    if sample is None or sample.scans < 2:  # noqa: PLR2004
        return None
    known = [p for p in sample.blocked if p.blocked_seconds is not None]
    if sample.blocked and not known:
        return None
    stuck = [p for p in known if p.blocked_seconds]
    longest = max((p.blocked_seconds or 0.0 for p in stuck), default=0.0)
    worst = stuck[0] if stuck else None
    where = f" in {worst.wchan}" if worst and worst.wchan else ""
    return Signal(
        value=longest,
        message=f"{worst.comm} ({worst.pid}) has been blocked{where} for at least "
        f"{duration(longest)}, one of {len(stuck)}"
        if worst
        else "No process is blocked",
        subject=worst.comm if worst else None,
        evidence=(
            Evidence("blocked without running", longest, "s", "/proc/PID/{stat,schedstat}"),
            Evidence("processes in state D", sample.states.get("D", 0), "processes",
                     "/proc/PID/stat state"),
        ),
        culprits=tuple(_culprit(p, p.blocked_seconds, "s", p.wchan) for p in stuck[:_MOST]),
    )  # fmt: skip


@rule(
    resource="kernel",
    cause="zombies",
    kind=Kind.ERRORS,
    unit="processes",
    warning=50,
    critical=500,
    scale=Scale.LOG,
    source="wait(2): a zombie lasts until its parent collects it, which sound parents do at "
    "once; 500 are 1.5 % of the default pid limit of 32,768",
    explanation="Processes ended and their parents do not collect them: each keeps a pid, "
    "and the parent is broken.",
    next_steps=("Restart the parent, or report the fault to its maker.",),
)
def zombies(facts: Facts) -> Signal | None:
    """Watch processes that ended and were not collected."""
    sample = facts.sample(ProcessSample)
    if sample is None:
        return None
    count = sample.states.get("Z", 0)
    parents = list(sample.zombie_parents.items())
    first = f", {parents[0][1]} of them children of {parents[0][0]}" if parents else ""
    return Signal(
        value=float(count),
        message=f"{count} processes are zombies{first}",
        evidence=(Evidence("zombies", count, "processes", "/proc/PID/stat state Z"),),
        culprits=tuple(
            Culprit("process", *_split(name), value=n, unit="processes", share=n / max(count, 1))
            for name, n in parents[:_MOST]
        ),
    )


@rule(
    resource="kernel",
    cause="process_file_descriptors",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.85,
    critical=0.95,
    source="getrlimit(2): at the limit open, accept and socket fail with EMFILE; node-mixin "
    "NodeFileDescriptorLimit (70 % and 90 % of the host's), nearer for a single process",
    gate="a limit of at least 256",
    explanation="A process is about to reach its limit of open files; then it can neither "
    "open files nor accept connections.",
    next_steps=("ls -l /proc/PID/fd", "Raise LimitNOFILE of its unit, or find its leak."),
)
def process_file_descriptors(facts: Facts) -> Signal | None:
    """Watch the process that uses most of its own limit of open files."""
    sample = facts.sample(ProcessSample)
    if sample is None:
        return None
    known = [
        (p.fds / p.fd_limit, p)
        for p in sample.top_fd_share
        if p.fds is not None and p.fd_limit is not None and p.fd_limit >= _LEAST_LIMIT
    ]
    if not known:
        # Either all limits are tiny, or nobody's may be read.
        asked = sample.top_fd_share or sample.top_fds
        unknown = all(p.fds is None or p.fd_limit is None for p in asked)
        return None if unknown else Signal(0.0, "No process is near its limit of open files")
    share, worst = max(known, key=lambda pair: pair[0])
    return Signal(
        value=share,
        message=f"{worst.comm} ({worst.pid}) has {worst.fds} of at most {worst.fd_limit} files "
        f"open ({percent(share)})",
        subject=worst.comm,
        evidence=(
            Evidence("open files", worst.fds, "descriptors", "/proc/PID/fd"),
            Evidence("limit", worst.fd_limit, "descriptors", "/proc/PID/limits Max open files"),
        ),
        culprits=(_culprit(worst, share, "ratio", worst.cgroup),),
    )


def _culprit(process: Process, value: float | None, unit: str, detail: str | None) -> Culprit:
    """Name a process as the culprit."""
    return Culprit("process", process.comm, str(process.pid), value, unit, None, detail)


def _split(name: str) -> tuple[str, str]:
    """Split "name (pid)" at its last parenthesis; the name may hold others."""
    comm, _, pid = name.rpartition(" (")
    return comm, pid.rstrip(")")
