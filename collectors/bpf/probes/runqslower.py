"""
Slow run queue waits: each time a task that could run waited 10 ms or longer for a CPU.

Event: sched:sched_wakeup and sched_wakeup_new (a task becomes runnable), sched:sched_switch (it
gets a CPU; a preempted one becomes runnable again). Cost: about 0.2 us per wake-up and per
switch, and 1 us more per slow wait (an estimate). Missed: as in runqlat; waits that did not end
in the window. Values: `slow_seconds`, the sum of the slow waits. Records: who waited, how long,
and who ran on that CPU until then; all slow waits are counted, also those that no record could be
kept of.
Kernels: all with these tracepoints, 4.15 and later.
"""

from __future__ import annotations

import struct

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Part, Probe, Recorder, Settings, counters
from collectors.bpf.sampling import Ranking, Reservoir
from collectors.bpf.waits import waits

# The scheduler lets a task run for about 3 ms before the next one's turn (its base slice,
# rounded up to a tick of 4 ms): who waits for 10 ms stood behind three others at least.
THRESHOLD = 10_000_000  # [ns]

# at, waited [ns], tid, before, cpu, padding, comm, before_comm
_EVENT = struct.Struct("=QQIIII16s16s")

_SHARED = (
    waits("runqslower")
    + counters("runqslower_seen", "slow", "nanoseconds", "lost")
    + r"""
struct runqslower_event {
    u64 at, waited;
    u32 tid, before, cpu, pad;
    char comm[16], before_comm[16];
};
BPF_RINGBUF_OUTPUT(runqslower_events, 32);
"""
)

_SWITCH = r"""
    runqslower_stopped(args->prev_pid, args->prev_state);
    u64 waited = runqslower_started(args->next_pid);
    if (waited < THRESHOLD || off_())
        return 0;
    runqslower_seen_count(RUNQSLOWER_SEEN_SLOW, 1);
    runqslower_seen_count(RUNQSLOWER_SEEN_NANOSECONDS, waited);
    struct runqslower_event *event =
        runqslower_events.ringbuf_reserve(sizeof(struct runqslower_event));
    if (!event) {
        runqslower_seen_count(RUNQSLOWER_SEEN_LOST, 1);
        return 0;
    }
    event->at = bpf_ktime_get_ns();
    event->waited = waited;
    event->tid = args->next_pid;
    event->before = args->prev_pid;
    event->cpu = bpf_get_smp_processor_id();
    event->pad = 0;
    __builtin_memcpy(event->comm, args->next_comm, 16);
    __builtin_memcpy(event->before_comm, args->prev_comm, 16);
    runqslower_events.ringbuf_submit(event, 0);
""".replace("THRESHOLD", str(THRESHOLD))


class RunqslowerRecorder(Recorder):
    """Keep a sample of the waits, and rank who waited and who ran."""

    ring = "runqslower_events"

    def __init__(self, settings: Settings) -> None:
        """
        Begin a window.

        Args:
            settings: Bounds.

        """
        super().__init__(settings)
        self._waits = Reservoir(settings.records)
        self._waiters = Ranking()
        self._runners = Ranking()

    def event(self, raw: bytes, kernel: Kernel) -> None:  # noqa: ARG002  names come with it
        """
        Take one slow wait.

        Args:
            raw: Its bytes.
            kernel: Not needed.

        """
        at, waited, tid, before, cpu, _, comm, before_comm = _EVENT.unpack(raw)
        seconds = waited * NANOSECOND
        waiter, runner = text(comm), text(before_comm)
        self._waiters.add(waiter, seconds)
        self._runners.add(runner, seconds)
        self._waits.add(
            {
                "monotonic_seconds": at * NANOSECOND,
                "comm": waiter,
                "tid": tid,
                "waited_seconds": seconds,
                "before_comm": runner,
                "before_tid": before,
                "cpu": cpu,
            }
        )

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            Count and sum of the slow waits, a sample of them, and rankings by process name.

        """
        slow, nanoseconds, lost = kernel.counts("runqslower_seen")
        most = self.settings.tops
        return ProbeSample(
            "runqslower",
            seconds,
            slow,
            lost=lost,
            values={"slow_seconds": nanoseconds * NANOSECOND},
            tops={
                "waiters": self._waiters.top(most, "comm", value="waited_seconds"),
                "ran_before": self._runners.top(most, "comm", value="waited_seconds"),
            },
            records=self._waits.records(),
            records_of=self._waits.seen,
        )


_COMMS = ("prev_comm", "next_comm")

PROBE = Probe(
    category="cpu",
    recorder=RunqslowerRecorder,
    shared=_SHARED,
    parts=(
        Part("sched:sched_wakeup", "\n    runqslower_runnable(args->pid);\n"),
        Part("sched:sched_wakeup_new", "\n    runqslower_born(args->pid);\n"),
        Part("sched:sched_switch", _SWITCH, ("prev_state", "prev_pid", "next_pid", *_COMMS)),
    ),
    filters=("pid", "cgroup"),
)
