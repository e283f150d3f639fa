"""
System calls: how many of which, how long they took, how many failed.

Event: raw_syscalls:sys_enter and sys_exit. Cost: about 0.4 us per system call of the host, which
is why it belongs into rare and deep sweeps only. Missed: calls that do not return within the
window, those that were under way when the probe was attached, and those of tasks whose ids are
equal modulo 65,536 and that are in a call at the same time; what returns without a known
beginning is told as `unmatched`, among it the child's return of each fork. Calls of 32-bit
programs have other numbers and are only counted, as `compat`. The time includes waiting, so poll,
futex and their like have most of it. A call that a signal interrupts before it is restarted has
not failed.
Kernels: all with CONFIG_FTRACE_SYSCALLS; 32-bit calls are told apart with type information (BTF).
"""

from __future__ import annotations

import platform
from typing import Any

from collectors.bpf.kernel import Kernel
from collectors.bpf.model import ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, counters
from collectors.bpf.spans import heaviest, totals
from collectors.bpf.syscalls import names

# Where a task notes that it is in a 32-bit call, and the bit:
# arch/x86/include/asm/thread_info.h (TS_COMPAT), arch/arm64/include/asm/thread_info.h (TIF_32BIT).
_COMPAT = {"x86_64": ("thread_info.status", 0x2), "aarch64": ("thread_info.flags", 1 << 22)}
_MEMBER, _BIT = _COMPAT.get(platform.machine(), ("", 0))
_SLOTS = 512  # the last one is for numbers that no call has

_SHARED = (
    counters("syscount_counts", "unmatched", "compat")
    + r"""
#define SYSCOUNT_BIT BIT
#define SYSCOUNT_LAST (SLOTS - 1)
struct syscount_call { u64 at; u32 tid; s32 number; };
struct syscount_total { u64 count, sum, most, errors; };
BPF_ARRAY(syscount_calls, struct syscount_call, 65536);
BPF_PERCPU_ARRAY(syscount_totals, struct syscount_total, SLOTS);

static __always_inline int syscount_compat(void)
{
#ifdef SYSCOUNT_MODE
    u32 mode = 0;
    bpf_probe_read_kernel(&mode, sizeof(mode), (void *)(bpf_get_current_task() + SYSCOUNT_MODE));
    return mode & SYSCOUNT_BIT;
#else
    return 0;
#endif
}

/* Errors are -1 to -4095; those of include/linux/errno.h ask for a restart. */
static __always_inline int syscount_failed(s64 result)
{
    return result < 0 && result >= -4095 && !(result <= -512 && result >= -516);
}

static __always_inline void syscount_add(u32 number, u64 took, s64 result)
{
    u32 which = number < SYSCOUNT_LAST ? number : SYSCOUNT_LAST;
    struct syscount_total *total = syscount_totals.lookup(&which);
    if (!total)
        return;
    total->count += 1;
    total->sum += took;
    if (took > total->most)
        total->most = took;
    if (syscount_failed(result))
        total->errors += 1;
}
""".replace("BIT BIT", f"BIT {_BIT}").replace("SLOTS", str(_SLOTS))
)

_ENTER = r"""
    u32 tid = bpf_get_current_pid_tgid(), slot = tid & 0xffff;
    struct syscount_call *call = syscount_calls.lookup(&slot);
    if (!call)
        return 0;
    call->tid = tid;
    call->number = args->id;
    call->at = bpf_ktime_get_ns();
"""

_EXIT = r"""
    u32 tid = bpf_get_current_pid_tgid(), slot = tid & 0xffff;
    struct syscount_call *call = syscount_calls.lookup(&slot);
    if (off_() || !call || alien_())
        return 0;
    if (call->tid != tid) {
        syscount_counts_count(SYSCOUNT_COUNTS_UNMATCHED, 1);
        return 0;
    }
    call->tid = 0;
    if (syscount_compat())
        syscount_counts_count(SYSCOUNT_COUNTS_COMPAT, 1);
    else
        syscount_add(call->number, bpf_ktime_get_ns() - call->at, args->ret);
"""


class SyscountRecorder(Recorder):
    """Read the totals."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            System calls by count, by time and by failures. Values `failed`, `seconds` (in all
            calls together), `unmatched` and `compat`.

        """
        rows, most = _rows(kernel), self.settings.tops
        unmatched, compat = kernel.counts("syscount_counts")
        failing = [row for row in rows if row["errors"]]
        return ProbeSample(
            "syscount",
            seconds,
            sum(row["count"] for row in rows) + compat,
            values={
                "failed": sum(row["errors"] for row in rows),
                "seconds": sum(row["seconds"] for row in rows),
                "unmatched": unmatched,
                "compat": compat,
            },
            tops={
                "count": heaviest(rows, "count", most),
                "seconds": heaviest(rows, "seconds", most),
                "errors": heaviest(failing, "errors", most),
            },
        )


class _Sum:
    """What all CPUs counted of one call."""

    def __init__(self, cpus: Any) -> None:
        self.count = sum(one.count for one in cpus)
        self.sum = sum(one.sum for one in cpus)
        self.most = max(one.most for one in cpus)
        self.errors = sum(one.errors for one in cpus)


def _rows(kernel: Kernel) -> list[dict[str, Any]]:
    """Read one row per system call that was made."""
    known, rows = names(), []
    for number, cpus in kernel.items("syscount_totals"):
        total = _Sum(cpus)
        if total.count:
            name = "other" if number == _SLOTS - 1 else known.get(number, f"number {number}")
            rows.append({"syscall": name, "errors": total.errors} | totals(total))
    return rows


PROBE = Probe(
    category="system",
    recorder=SyscountRecorder,
    shared=_SHARED,
    parts=(
        Part("raw_syscalls:sys_enter", _ENTER, ("id",)),
        Part("raw_syscalls:sys_exit", _EXIT, ("ret",)),
    ),
    optional_offsets={"SYSCOUNT_MODE": (_MEMBER,)} if _MEMBER else {},
    filters=("pid", "cgroup"),
)
