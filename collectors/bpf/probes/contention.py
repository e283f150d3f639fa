"""
Contention of the kernel's own locks: how long tasks waited for one, of which kind, and where.

Event: lock:contention_begin and contention_end. Cost: about 13 us per wait that is not over at
once, most of it for the stack of the function that wanted the lock; nothing for locks that are
free. Missed: waits under way when the window closes; locks of programs, which are futexes;
interrupts of an idle CPU that wait for the same lock. Kernels: 5.19 and later.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, ProbeSample, Stack
from collectors.bpf.probe import Family, Part, Probe, latency_edges
from collectors.bpf.spans import SpanRecorder, heaviest, sum_maps

_FAMILY = "sysdx_lock_contention_seconds"
_KINDS = ("spinlock", "rwlock", "rwsem", "mutex", "rtmutex", "percpu_rwsem", "other")
_MICROSECOND = 1000  # [ns]
# How the functions are called that a stack begins with, up to the one that wanted the lock.
_LOCKING = re.compile(
    r"_*(do_|raw_|native_|pv_|queued_)*(trace|bpf_|(spin|read|write)_\w*lock|(ww_|rt_)?mutex_"
    r"|rwsem_|rwbase_|down(_|$)|percpu_(rwsem|down))"
)

_SHARED = (
    sum_maps("contention", len(_KINDS))
    + r"""
struct contention_wait { u64 lock; u32 tid; u32 cpu; };
struct contention_start { u64 at; u32 kind; s32 stack; };
struct contention_place { char comm[16]; s32 stack; u32 kind; };
struct contention_spent { u64 count, sum; };
BPF_TABLE("lru_hash", struct contention_wait, struct contention_start, contention_waits, 4096);
BPF_HASH(contention_places, struct contention_place, struct contention_spent, 2048);
BPF_STACK_TRACE(contention_stacks, 1024);

/* include/trace/events/lock.h: LCB_F_SPIN 1, READ 2, WRITE 4, RT 8, PERCPU 16, MUTEX 32. */
static __always_inline u32 contention_kind(u32 flags)
{
    if (flags & 32)
        return 3;
    if (flags & 16)
        return 5;
    if (flags & 8)
        return 4;
    if (flags & 1)
        return flags & 6 ? 1 : 0;
    return flags & 6 ? 2 : 6;
}

static __always_inline struct contention_wait contention_who(u64 lock)
{
    struct contention_wait wait = {.lock = lock, .tid = bpf_get_current_pid_tgid()};
    /* The idle tasks of all CPUs have the same id. */
    wait.cpu = wait.tid ? 0 : bpf_get_smp_processor_id();
    return wait;
}
"""
)

_BEGIN = r"""
    struct contention_wait wait = contention_who((u64)args->lock_addr);
    struct contention_start start = {.at = bpf_ktime_get_ns()};
    /* A mutex is waited for by spinning first and then asleep: one wait, told of twice. */
    if (off_() || alien_() || contention_waits.lookup(&wait))
        return 0;
    start.kind = contention_kind(args->flags);
    start.stack = contention_stacks.get_stackid(args, 0);
    contention_waits.update(&wait, &start);
"""

_END = r"""
    struct contention_wait wait = contention_who((u64)args->lock_addr);
    struct contention_start *start = contention_waits.lookup(&wait);
    struct contention_spent none = {}, *spent;
    if (!start)
        return 0;
    u64 took = bpf_ktime_get_ns() - start->at;
    struct contention_place place = {.stack = start->stack, .kind = start->kind};
    contention_waits.delete(&wait);
    if (off_())
        return 0;
    contention_add(bpf_get_current_pid_tgid() >> 32, place.kind, took);
    bpf_get_current_comm(&place.comm, sizeof(place.comm));
    spent = contention_places.lookup_or_try_init(&place, &none);
    if (!spent) {
        contention_lost.atomic_increment(0);
        return 0;
    }
    __sync_fetch_and_add(&spent->count, 1);
    __sync_fetch_and_add(&spent->sum, took);
"""


class ContentionRecorder(SpanRecorder):
    """Read the waits, and where they were."""

    probe, family, label, kinds = "contention", _FAMILY, "lock", _KINDS

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps and symbols.
            seconds: Length of the window [s].

        Returns:
            Waits by kind of lock and by process; `tops["place"]` has the functions that wanted a
            lock; stacks [us].

        """
        places = list(_places(kernel))
        rows = [place.row() for place in _by_function(places)]
        sample = super().sample(kernel, seconds)
        return replace(
            sample,
            tops={**sample.tops, "place": heaviest(rows, "seconds", self.settings.tops)},
            stacks=_stacks(places, self.settings.stacks),
            stack_unit="microseconds",
        )


@dataclass(slots=True)
class _Place:
    """Where tasks waited: the stack, outermost first."""

    comm: str
    frames: tuple[str, ...]
    kind: str
    count: int
    nanoseconds: int

    @property
    def function(self) -> str:
        """The function that wanted the lock."""
        inner = (f.removesuffix("_[k]") for f in reversed(self.frames))
        return next((name for name in inner if not _LOCKING.match(name)), "[unknown]")

    def row(self) -> dict[str, Any]:
        """What is shown of it."""
        return {
            "function": self.function,
            "lock": self.kind,
            "count": self.count,
            "seconds": self.nanoseconds * NANOSECOND,
        }


def _places(kernel: Kernel) -> Iterator[_Place]:
    """Read where tasks waited."""
    for place, spent in kernel.items("contention_places"):
        frames = kernel.kernel_frames("contention_stacks", place.stack)
        yield _Place(text(place.comm), frames, _KINDS[place.kind], spent.count, spent.sum)


def _by_function(places: Iterable[_Place]) -> Iterable[_Place]:
    """Merge what one function waited for in all tasks and on all ways to it."""
    merged: dict[tuple[str, str], _Place] = {}
    for place in places:
        known = merged.setdefault(
            (place.function, place.kind), replace(place, count=0, nanoseconds=0)
        )
        known.count += place.count
        known.nanoseconds += place.nanoseconds
    return merged.values()


def _stacks(places: Iterable[_Place], most: int) -> tuple[Stack, ...]:
    """Write stacks, equal ones merged, at most so many."""
    values: Counter[tuple[str, ...]] = Counter()
    for place in places:
        values[place.comm, *place.frames] += place.nanoseconds
    ranked = values.most_common()
    rest = sum(value for _, value in ranked[most:])
    other = (Stack(("other",), rest // _MICROSECOND),) if rest else ()
    return (*(Stack(frames, v // _MICROSECOND) for frames, v in ranked[:most]), *other)


PROBE = Probe(
    category="kernel",
    recorder=ContentionRecorder,
    shared=_SHARED,
    parts=(
        Part("lock:contention_begin", _BEGIN, ("lock_addr", "flags")),
        Part("lock:contention_end", _END, ("lock_addr",)),
    ),
    families=(
        Family(
            _FAMILY,
            "How long tasks waited for one of the kernel's own locks, in all windows since start.",
            latency_edges(11, 30),
            ("lock",),
        ),
    ),
    filters=("pid", "cgroup"),
)
