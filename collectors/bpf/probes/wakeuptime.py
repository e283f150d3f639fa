"""
Wake-ups: who ended the sleep of whom, from where, and how long that sleep had been.

Event: sched:sched_switch (a task goes to sleep), sched:sched_waking (the current task, or an
interrupt that came while it ran, wakes it). Cost: about 0.2 us per switch and 4 us per wake-up.
Missed: tasks asleep when the window opens, until they next go to sleep; sleeps that nobody ended
in it. Lost: wake-ups by an interrupt that comes while an eBPF program of a tracepoint runs on its
CPU, which the kernel then leaves out (0.4 % beside syscount). Values: `asleep_seconds`, the sum of
the sleeps; `stacks_lost`, wake-ups whose stack is not known, among them those of programs that
were interrupted, which are not shown anyway. Stacks: microseconds of sleep; the waker comes first,
and "wakes TASK" last; what an interrupt did is not charged to the process that it interrupted.
Tops: pairs of waker and woken. Filters choose whose sleeps count.
Kernels: all with these tracepoints, 4.15 and later.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from collectors.bpf import stacks
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import NANOSECOND, ProbeSample, Stack
from collectors.bpf.probe import Part, Probe, Recorder
from collectors.bpf.stacks import Place, Stacks

_MICROSECOND = 1000  # [ns]
_WAKES = "wakes "

# Where the kernel enters a hardware interrupt on x86 (arch/x86/entry/entry_64.S,
# arch/x86/include/asm/idtentry.h) and arm64 (arch/arm64/kernel/entry-common.c).
_INTERRUPT = re.compile(
    r"((asm_)?(sysvec_\w+|common_interrupt)|(smp_)?(apic_timer|reschedule|call_function\w*)_interrupt"
    r"|do_IRQ|ret_from_intr|el[01]\w*_(irq|interrupt)|gic_handle_irq)_\[k\]"
)

_STACKS = Stacks("wakeuptime", more="char target[16];", apart=True)

_SHARED = (
    _STACKS.c()
    + r"""
/* By task id, as in runqlat: since when it sleeps. */
BPF_ARRAY(wakeuptime_since, u64, 65536);
"""
)

_SWITCH = r"""
    u32 slot = args->prev_pid & 0xffff;
    if (off_() || !args->prev_pid || !args->prev_state || args->prev_state & AWAKE || alien_())
        return 0;
    u64 now = bpf_ktime_get_ns();
    wakeuptime_since.update(&slot, &now);
""".replace("AWAKE", hex(stacks.AWAKE))

_WAKING = r"""
    if (off_())
        return 0;
    u32 slot = args->pid & 0xffff;
    u64 *since = wakeuptime_since.lookup(&slot);
    if (!since || !*since)
        return 0;
    u64 slept = bpf_ktime_get_ns() - *since;
    *since = 0;
    struct wakeuptime_place place = {};
    wakeuptime_here(args, &place);
    __builtin_memcpy(place.target, args->comm, 16);
    wakeuptime_add(&place, slept);
"""


class WakeuptimeRecorder(Recorder):
    """Fold the stacks of those who woke."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            The stacks, in microseconds.

        """
        woken, lost, nameless = kernel.counts("wakeuptime_seen")
        found = list(_STACKS.places(kernel))
        folded = stacks.fold(
            kernel, found, self.settings.stacks, lambda p: _frames(kernel, p), _MICROSECOND
        )
        return ProbeSample(
            "wakeuptime",
            seconds,
            woken,
            lost=lost,
            values={
                "asleep_seconds": sum(p.value for p in found) * NANOSECOND,
                "stacks_lost": float(nameless),
            },
            tops={"pairs": _pairs(folded.stacks, self.settings.tops)},
            stacks=folded.stacks,
            stack_unit="microseconds",
            notes=folded.notes,
        )


def _frames(kernel: Kernel, place: Place) -> tuple[str, ...]:
    """Name the frames of who woke, and whom."""
    named = _STACKS.frames(kernel, place)
    entered = next((n for n, frame in enumerate(named) if _INTERRUPT.fullmatch(frame)), None)
    if entered is not None:
        named = ("[interrupt]", *named[entered:])
    return (*named, f"{_WAKES}{place.target}")


def _pairs(folded: tuple[Stack, ...], most: int) -> tuple[dict[str, Any], ...]:
    """Rank who woke whom by the sleep that ended."""
    sums: Counter[tuple[str, str]] = Counter()
    for stack in folded:
        if stack.frames != stacks.OTHER:
            sums[stack.frames[0], stack.frames[-1].removeprefix(_WAKES)] += stack.value
    return tuple(
        {"waker": waker, "woken": woken, "asleep_seconds": microseconds / 1e6}
        for (waker, woken), microseconds in sums.most_common(most)
    )


PROBE = Probe(
    category="cpu",
    recorder=WakeuptimeRecorder,
    shared=_SHARED,
    parts=(
        Part("sched:sched_switch", _SWITCH, fields=("prev_state", "prev_pid")),
        Part("sched:sched_waking", _WAKING, fields=("pid", "comm")),
    ),
    optional_offsets=_STACKS.offsets(),
    filters=("pid", "cgroup"),
)
