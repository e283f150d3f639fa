"""Stacks: the C that takes them, and their folding and naming after the window."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import Stack
from collectors.bpf.probe import counters

# States of sched_switch that are no sleep (include/linux/sched.h): preempted 0x100, an idle
# kernel thread 0x80, ended 0x20 and 0x10.
AWAKE = 0x1B0
OTHER = ("other",)
_UNKNOWN = "[unknown]"
_LOST = "[lost]"
_NO_STACK = -14  # EFAULT: there is none, such as the user stack of a kernel thread
_TAKEN = -17  # EEXIST: another stack is in its place
_SECOND = 0x10000  # added to the numbers of stacks in the second map
# Many places become one stack when a program runs as many processes.
_PLACES_PER_STACK = 4
# [s] for one probe; the daemon waits 15 s for all of them.
NAMING_BUDGET = 3.0


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a process was.

    Attributes:
        process: Its name.
        pid: Its id.
        user: Number of its user stack; negative when there is none.
        kernel: Number of its kernel stack; negative when there is none.
        value: Samples, or nanoseconds.
        target: Whom it woke.

    """

    process: str
    pid: int
    user: int
    kernel: int
    value: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class Stacks:
    """
    The tables in which a probe keeps stacks.

    In C, `struct NAME_place` is a key, `NAME_here(args, &place)` fills it for the current task,
    `NAME_add(&place, value)` adds to it. `NAME_seen` counts what was added, what was lost
    because the table of places was full, and stacks that were lost because another one was in
    their place: what is added for them is kept, under "[lost]".

    Attributes:
        name: Of the probe.
        more: Further members of the key, without padding between them.
        apart: Whether kernel stacks have tables of their own, because user stacks from
            anywhere would fill a common one.

    """

    name: str
    more: str = ""
    apart: bool = False

    def c(self) -> str:
        """
        Write the C of it.

        Returns:
            C text.

        """
        words = {
            "KERNEL_STACKS": self._kernel_table,
            "USER_STACKS": f"{self.name}_stacks",
            "ENTRIES": "1024" if self.apart else "2048",
            "MORE": "256" if self.apart else "512",
            "FURTHER": self.more,
            "NAME": self.name,
            "UPPER": self.name.upper(),
            "NO_STACK": str(_NO_STACK),
            "TAKEN": str(_TAKEN),
            "SECOND": hex(_SECOND),
        }
        seen = counters(f"{self.name}_seen", "added", "lost", "stacks_lost")
        text = _TABLES + (_APART if self.apart else "") + _TEXT
        return seen + re.sub("|".join(words), lambda word: words[word[0]], text)

    @property
    def _kernel_table(self) -> str:
        return f"{self.name}_kernel" if self.apart else f"{self.name}_stacks"

    def offsets(self) -> dict[str, tuple[str, ...]]:
        """
        Give the optional offsets by which a thread's process is named.

        Returns:
            C macro to paths; without them a thread's own name stands for its process.

        """
        return {
            f"{self.name.upper()}_LEADER": ("task_struct.group_leader",),
            f"{self.name.upper()}_COMM": ("task_struct.comm",),
        }

    def places(self, kernel: Kernel) -> Iterator[Place]:
        """
        Read the places.

        Args:
            kernel: The maps.

        Yields:
            Each place with its sum.

        """
        for key, value in kernel.items(f"{self.name}_places"):
            yield place(key, value)

    def frames(self, kernel: Kernel, where: Place) -> tuple[str, ...]:
        """
        Name the frames of a place.

        Args:
            kernel: For the names.
            where: The place.

        Returns:
            The process, its user functions and the kernel's, outermost first.

        """
        table = f"{self.name}_stacks"
        user = _frames(table, where.user, lambda t, n: kernel.user_frames(t, n, where.pid))
        inner = _frames(self._kernel_table, where.kernel, kernel.kernel_frames)
        return (where.process, *user, *inner)


# A stack map takes 1 KB per stack. Each stack has one place in it, by its hash, and is refused
# where another one is. So a small second map takes the refused: of 1,000 stacks 5 % are lost
# (and still counted, without their names), with one map of 4,096 it would be 11 %.
_TABLES = r"""
struct NAME_place { u32 pid; s32 user; s32 kernel; char comm[16]; FURTHER };
BPF_HASH(NAME_places, struct NAME_place, u64, 4096);
BPF_STACK_TRACE(NAME_stacks, ENTRIES);
BPF_STACK_TRACE(NAME_stacks_more, MORE);
"""

_APART = r"""
BPF_STACK_TRACE(NAME_kernel, ENTRIES);
BPF_STACK_TRACE(NAME_kernel_more, MORE);
"""

_TEXT = r"""
static __always_inline void NAME_here(void *args, struct NAME_place *place)
{
    place->pid = bpf_get_current_pid_tgid() >> 32;
#if defined(UPPER_LEADER) && defined(UPPER_COMM)
    u64 leader = 0;
    bpf_probe_read_kernel(&leader, 8, (void *)(bpf_get_current_task() + UPPER_LEADER));
    bpf_probe_read_kernel(place->comm, 16, (void *)(leader + UPPER_COMM));
#else
    bpf_get_current_comm(place->comm, 16);
#endif
    place->user = USER_STACKS.get_stackid(args, BPF_F_USER_STACK);
    if (place->user == TAKEN) {
        place->user = USER_STACKS_more.get_stackid(args, BPF_F_USER_STACK);
        place->user = place->user < 0 ? place->user : place->user | SECOND;
    }
    place->kernel = KERNEL_STACKS.get_stackid(args, 0);
    if (place->kernel == TAKEN) {
        place->kernel = KERNEL_STACKS_more.get_stackid(args, 0);
        place->kernel = place->kernel < 0 ? place->kernel : place->kernel | SECOND;
    }
    if ((place->user < 0 && place->user != NO_STACK)
        || (place->kernel < 0 && place->kernel != NO_STACK))
        NAME_seen_count(UPPER_SEEN_STACKS_LOST, 1);
}

static __always_inline void NAME_add(struct NAME_place *place, u64 value)
{
    u64 zero = 0, *sum = NAME_places.lookup_or_try_init(place, &zero);
    if (sum) {
        __sync_fetch_and_add(sum, value);
        NAME_seen_count(UPPER_SEEN_ADDED, 1);
    } else {
        NAME_seen_count(UPPER_SEEN_LOST, 1);
    }
}
"""


def place(key: Any, value: int) -> Place:
    """
    Take a place out of a C structure.

    Args:
        key: The structure.
        value: What was added up there.

    Returns:
        The place.

    """
    target = text(key.target) if hasattr(key, "target") else ""
    return Place(text(key.comm), key.pid, key.user, key.kernel, value, target)


def processes(
    found: Iterable[Place], most: int, value: str, unit: float = 1
) -> tuple[dict[str, Any], ...]:
    """
    Rank processes.

    Args:
        found: Places.
        most: How many.
        value: What the sum of their values is called.
        unit: One of the places' units in the sum's.

    Returns:
        Dicts of comm, pid and the sum, largest first.

    """
    sums: Counter[tuple[str, int]] = Counter()
    for where in found:
        sums[where.process, where.pid] += where.value
    ranked = sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    return tuple({"comm": comm, "pid": pid, value: n * unit} for (comm, pid), n in ranked)


def _frames(table: str, number: int, read: Callable[[str, int], tuple[str, ...]]) -> Iterator[str]:
    """Name the frames of one stack; a run of unknown ones is one."""
    if number < 0:
        if number != _NO_STACK:
            yield _LOST
        return
    which = f"{table}_more" if number & _SECOND else table
    last = None
    for frame in read(which, number & ~_SECOND):
        if frame != last or not frame.startswith(_UNKNOWN):
            yield frame
        last = frame


@dataclass(frozen=True, slots=True)
class Folded:
    """
    Stacks with names.

    Attributes:
        stacks: Heaviest first; what is beyond the limit comes last, as "other".
        notes: What was cut short.

    """

    stacks: tuple[Stack, ...]
    notes: tuple[str, ...] = ()


def fold(
    kernel: Kernel,
    found: Iterable[Place],
    limit: int,
    name: Callable[[Place], tuple[str, ...]],
    unit: int = 1,
    budget: float = NAMING_BUDGET,
) -> Folded:
    """
    Name the heaviest places and merge those that look alike.

    Args:
        kernel: Keeps symbols, process by process.
        found: The places.
        limit: Most stacks.
        name: Names the frames of a place.
        unit: How many of the places' units one of the stacks' is.
        budget: Longest time for naming [s]; one process may take longer.

    Returns:
        The stacks.

    """
    ranked = sorted(found, key=lambda p: -p.value)
    most = _PLACES_PER_STACK * limit
    other = sum(p.value for p in ranked[most:])
    merged: Counter[tuple[str, ...]] = Counter()
    late, unnamed = time.monotonic() + budget, 0
    for pid, group in _by_process(ranked[:most]).items():
        for where in group:
            if time.monotonic() < late:
                merged[name(where)] += where.value
            else:
                other += where.value
                unnamed += 1
        kernel.forget(pid)
    notes = (f"no time was left to name {unnamed} stacks",) if unnamed else ()
    return Folded(_cut(merged, other, limit, unit), notes)


def _by_process(ranked: Iterable[Place]) -> dict[int, list[Place]]:
    """Gather places by process, that of the heaviest place first."""
    groups: dict[int, list[Place]] = defaultdict(list)
    for where in ranked:
        groups[where.pid].append(where)
    return groups


def _cut(merged: Counter[tuple[str, ...]], other: int, limit: int, unit: int) -> tuple[Stack, ...]:
    """Keep the heaviest stacks, and sum up the rest."""
    ranked = sorted(merged.items(), key=lambda pair: (-pair[1], pair[0]))
    other += sum(value for _, value in ranked[limit:])
    stacks = [Stack(key, value // unit) for key, value in ranked[:limit]]
    if other >= unit:
        stacks.append(Stack(OTHER, other // unit))
    return tuple(stacks)
