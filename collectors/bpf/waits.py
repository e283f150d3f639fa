"""The C that notes since when tasks wait for a CPU, for every probe of such waits."""

from __future__ import annotations


def waits(name: str) -> str:
    """
    Write the C that follows tasks from runnable to running.

    The functions are `NAME_runnable(tid)` for sched_wakeup, `NAME_born(tid)` for
    sched_wakeup_new, and for sched_switch, in this order, `NAME_stopped(tid, state)` for
    the task that gives up the CPU, and `NAME_started(tid)` for the next one: how long it
    waited [ns], or 0 when that is not known or the task is filtered out.

    A wake-up tells the task but not its process. So whether a task is filtered out is
    noted each time it gives up a CPU, when it is the current one; under a filter, a task
    counts from then on.

    Args:
        name: Prefix of all names, beginning with the probe's.

    Returns:
        C text.

    """
    return _TEXT.replace("NAME", name)


_TEXT = r"""
/* By task id: since when it can run [ns, in steps of 4], and in the two lowest bits whether
   it counts: 0 unknown, 1 yes, 2 no. An array costs half of what a hash does. */
BPF_ARRAY(NAME_since, u64, 65536);

static __always_inline void NAME_runnable(u32 tid)
{
    u32 slot = tid & 0xffff;
    u64 *since = NAME_since.lookup(&slot);
    if (tid && since)
        *since = (bpf_ktime_get_ns() & ~3ULL) | (*since & 3);
}

static __always_inline void NAME_born(u32 tid)
{
    u32 slot = tid & 0xffff;
    u64 now = bpf_ktime_get_ns() & ~3ULL;
    NAME_since.update(&slot, &now);
}

static __always_inline void NAME_stopped(u32 tid, s64 state)
{
    u32 slot = tid & 0xffff;
    u64 *since = NAME_since.lookup(&slot);
    if (!tid || !since)
        return;
    u64 time = *since & ~3ULL;
    /* 0x100 marks a task that was preempted: still runnable, TASK_REPORT_MAX. */
    if (state == 0 || state & 0x100)
        time = bpf_ktime_get_ns() & ~3ULL;
    *since = time | (alien_() ? 2 : 1);
}

static __always_inline u64 NAME_started(u32 tid)
{
    u32 slot = tid & 0xffff;
    u64 *since = NAME_since.lookup(&slot);
    if (!tid || !since || *since < 4)
        return 0;
    u64 mark = *since & 3, waited = bpf_ktime_get_ns() - (*since & ~3ULL);
    *since = mark;
#if defined(ONLY_TGID) || defined(ONLY_CGROUP)
    if (mark == 0)
        return 0;
#endif
    return mark == 2 ? 0 : waited;
}
"""
