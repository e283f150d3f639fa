"""
Off-CPU time: where tasks were when they went to sleep, and how long until they ran again.

Event: sched:sched_switch, where the current task is still the one that goes to sleep. Cost: about
2 us per switch to sleep. Missed: tasks asleep when the window opens, until they next go to sleep;
what a preempted task waits is in runqlat; sleeps whose end the kernel does not tell, which are
lost (on some virtual machines no tracepoint comes while process 1 runs, not the switch from it to
another task either); the kernel's own idle threads are left out. Values: `asleep_seconds`, the
sum, and `unfinished`, how many sleeps go on beyond the window: they count up to its end in the
stacks, and not in the histogram; `stacks_lost`, sleeps whose stack is not known. Stacks:
microseconds. Tops: processes.
Kernels: all with this tracepoint, 4.15 and later.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectors.bpf import model, stacks
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import NANOSECOND, ProbeSample
from collectors.bpf.probe import Family, Part, Probe, Recorder, histogram, latency_edges
from collectors.bpf.stacks import Place, Stacks

_FAMILY = "sysdx_off_cpu_seconds"
_MICROSECOND = 1000  # [ns]

_STACKS = Stacks("offcputime")

_SHARED = (
    _STACKS.c()
    + histogram("offcputime_slept")
    + r"""
struct offcputime_sleep { u64 since; struct offcputime_place place; u32 pad; };
BPF_HASH(offcputime_asleep, u32, struct offcputime_sleep, 8192);
BPF_ARRAY(offcputime_opened, u64, 1);
"""
)

_SWITCH = r"""
    if (off_())
        return 0;
    int first = 0;
    u64 now = bpf_ktime_get_ns(), *opened = offcputime_opened.lookup(&first);
    if (opened && !*opened)
        *opened = now;
    u32 tid = args->prev_pid;
    if (tid && args->prev_state && !(args->prev_state & AWAKE) && !alien_()) {
        /* An earlier sleep whose end was not told. */
        if (offcputime_asleep.lookup(&tid))
            offcputime_seen_count(OFFCPUTIME_SEEN_LOST, 1);
        struct offcputime_sleep sleep = {.since = now};
        offcputime_here(args, &sleep.place);
        if (offcputime_asleep.update(&tid, &sleep))
            offcputime_seen_count(OFFCPUTIME_SEEN_LOST, 1);
    }
    tid = args->next_pid;
    struct offcputime_sleep *slept = offcputime_asleep.lookup(&tid);
    if (!tid || !slept)
        return 0;
    u64 took = now - slept->since;
    offcputime_add(&slept->place, took);
    offcputime_slept_add(took);
    offcputime_asleep.delete(&tid);
""".replace("AWAKE", hex(stacks.AWAKE))


class OffcputimeRecorder(Recorder):
    """Fold the stacks, with those that are still asleep."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            The stacks, in microseconds.

        """
        _, lost, nameless = kernel.counts("offcputime_seen")
        slept = model.histogram(
            _FAMILY, kernel.slots("offcputime_slept"), kernel.sum("offcputime_slept")
        )
        asleep = list(_asleep(kernel, seconds))
        found = [*_STACKS.places(kernel), *asleep]
        folded = stacks.fold(
            kernel,
            found,
            self.settings.stacks,
            lambda p: _STACKS.frames(kernel, p),
            _MICROSECOND,
        )
        most = self.settings.tops
        ranked = stacks.processes(found, most, "asleep_seconds", NANOSECOND)
        return ProbeSample(
            "offcputime",
            seconds,
            slept.count + len(asleep),
            lost=lost,
            histograms=(slept,),
            values={
                "asleep_seconds": sum(p.value for p in found) * NANOSECOND,
                "unfinished": float(len(asleep)),
                "stacks_lost": float(nameless),
            },
            tops={"processes": ranked},
            stacks=folded.stacks,
            stack_unit="microseconds",
            notes=folded.notes,
        )


def _asleep(kernel: Kernel, seconds: float) -> Iterator[Place]:
    """Yield the sleeps that go on, up to the window's end."""
    # The first switch after the window opened tells when that was, to a few milliseconds.
    end = kernel.counts("offcputime_opened")[0] + int(seconds / NANOSECOND)
    for _, sleep in kernel.items("offcputime_asleep"):
        yield stacks.place(sleep.place, max(0, end - sleep.since))


PROBE = Probe(
    category="cpu",
    recorder=OffcputimeRecorder,
    shared=_SHARED,
    parts=(Part("sched:sched_switch", _SWITCH, fields=("prev_state", "prev_pid", "next_pid")),),
    optional_offsets=_STACKS.offsets(),
    families=(
        Family(
            _FAMILY,
            "How long tasks that went to sleep were off the CPU, in all windows since start.",
            latency_edges(12, 36, 2),
        ),
    ),
    filters=("pid", "cgroup"),
)
