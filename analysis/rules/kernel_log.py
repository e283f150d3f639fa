"""Rules on what the kernel reports of itself: faults, lockups, exhausted tables, a flooded log."""

from __future__ import annotations

from analysis.kernel_events import events
from analysis.model import Evidence, Facts, Kind, Scale, Signal
from analysis.registry import rule
from collectors.kernel_log import KernelLogSample

_LOOK = "dmesg -T --level=emerg,alert,crit,err,warn | tail -n 100"


@rule(
    resource="kernel",
    cause="kernel_fault",
    kind=Kind.ERRORS,
    unit="faults",
    warning=0.5,
    critical=1,
    at_once=True,
    source="Documentation/admin-guide/bug-hunting.rst, lockup-watchdogs.rst and RCU/stallwarn.rst: "
    "each is a fault of kernel or hardware, and after an oops only a reboot restores order",
    explanation="The kernel itself failed: it oopsed, found its own data broken, or a CPU was "
    "stuck in it.",
    next_steps=(_LOOK, "Save the log, plan a reboot, look for a newer kernel or firmware."),
)
def kernel_faults(facts: Facts) -> Signal | None:
    """Watch for oopses, bugs, lockups and stalls that the kernel reports of itself."""
    return events(
        facts,
        ("oops", "bug", "soft_lockup", "hard_lockup", "rcu_stall"),
        ("fault of its own", "faults of its own"),
    )


@rule(
    resource="kernel",
    cause="blocked_tasks",
    kind=Kind.ERRORS,
    unit="tasks",
    warning=1,
    critical=3,
    at_once=True,
    scale=Scale.LOG,
    source="kernel.hung_task_timeout_secs (120 s), Documentation/admin-guide/sysctl/kernel.rst; "
    "after kernel.hung_task_warnings, ten by default, the kernel reports no more; several wait "
    "for something they share",
    explanation="Tasks could not run for two minutes: a device, a network file system or a lock "
    "in the kernel does not answer.",
    next_steps=("dmesg | grep -A 20 'blocked for more than'", "Look at disks and network mounts."),
)
def hung_tasks(facts: Facts) -> Signal | None:
    """Watch for tasks that the kernel found hanging."""
    return events(facts, ("hung_task",), ("hung task", "hung tasks"), names="process")


@rule(
    resource="kernel",
    cause="kernel_fault",
    kind=Kind.ERRORS,
    unit="warnings",
    warning=1,
    critical=None,
    at_once=True,
    source="include/asm-generic/bug.h: WARN marks what should never happen; most are survived",
    explanation="The kernel came upon something its authors ruled out; it goes on.",
    next_steps=(_LOOK, "Look for the first line of the trace among the kernel's known bugs."),
)
def kernel_warnings(facts: Facts) -> Signal | None:
    """Watch for the kernel's own warnings, those with a trace."""
    return events(
        facts, ("kernel_warning",), ("violated assumption", "violated assumptions of its own")
    )


@rule(
    resource="kernel",
    cause="kernel_fault",
    kind=Kind.ERRORS,
    unit="messages",
    warning=1,
    critical=None,
    at_once=True,
    source="include/linux/kern_levels.h: crit are critical conditions, alert asks for action at "
    "once, emerg says that the system is unusable",
    gate="messages that no other class explains",
    explanation="The kernel reports something critical.",
    next_steps=("dmesg -T --level=emerg,alert,crit",),
)
def kernel_alarms(facts: Facts) -> Signal | None:
    """Watch for messages of the three worst levels."""
    return events(facts, ("alarm",), ("critical condition", "critical conditions"))


@rule(
    resource="memory",
    cause="memory_exhaustion",
    kind=Kind.ERRORS,
    unit="failures",
    warning=1,
    critical=None,
    at_once=True,
    source="mm/page_alloc.c warn_alloc: only a request that may not wait, or whose waiting was in "
    "vain, fails and is reported",
    explanation="The kernel could not get memory it asked for: packets are lost, or a driver "
    "fails.",
    next_steps=("dmesg | grep -A 30 'page allocation failure'", "cat /proc/buddyinfo"),
)
def page_allocation_failures(facts: Facts) -> Signal | None:
    """Watch for memory the kernel itself could not get."""
    return events(
        facts,
        ("page_allocation_failure",),
        ("failed allocation of memory", "failed allocations of memory"),
        names="process",
    )


@rule(
    resource="kernel",
    cause="file_descriptors",
    kind=Kind.ERRORS,
    unit="reports",
    warning=0.5,
    critical=1,
    at_once=True,
    source="fs/file_table.c reports fs.file-max once per overrun: an open(2) failed with ENFILE",
    explanation="No program could open a file any more; the kernel tells even of a moment of it.",
    next_steps=("cat /proc/sys/fs/file-nr", "Look for the program that opens so many."),
)
def files_refused(facts: Facts) -> Signal | None:
    """Watch for files that could not be opened for lack of handles."""
    return events(facts, ("files_exhausted",), ("full table of files", "full tables of files"))


@rule(
    resource="kernel",
    cause="kernel_log",
    kind=Kind.ERRORS,
    unit="messages",
    warning=1,
    critical=None,
    source="Documentation/ABI/testing/dev-kmsg: messages overwritten before they are read; the "
    "log holds a few thousand (CONFIG_LOG_BUF_SHIFT), so that something writes in a loop",
    explanation="Something floods the kernel's log, and what it displaced cannot be judged.",
    next_steps=("dmesg | tail -n 50", "A larger log: the kernel's parameter log_buf_len=."),
)
def kernel_log_lost(facts: Facts) -> Signal | None:
    """Watch for messages that were overwritten before anybody read them."""
    sample = facts.sample(KernelLogSample)
    if sample is None:
        return None
    lost = sample.lost_increase
    return Signal(
        value=float(lost),
        message=f"The kernel's log lost {lost:,} {'message' if lost == 1 else 'messages'}",
        evidence=(Evidence("overwritten unread", lost, "messages", "/dev/kmsg sequence"),),
    )
