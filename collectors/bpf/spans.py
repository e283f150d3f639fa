"""
Latencies of what one task begins and ends: by kind and by process, added up in the kernel.

Nothing is sent per event, so nothing is lost at high rates: the histograms are exact, and
the processes are those that a table of 2,048 recently used ones holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from collectors.bpf import model
from collectors.bpf.kernel import Kernel, text
from collectors.bpf.model import NANOSECOND, Histogram, ProbeSample
from collectors.bpf.probe import Recorder

_SLOTS = 65  # powers of two that a u64 can have


def span_maps(name: str, *kinds: str) -> str:
    """
    Write the C of spans: `NAME_begin(kind)`, and `NAME_end(kind)` which gives whether it counted.

    Args:
        name: Of the probe.
        kinds: What is told apart; each becomes the constant `NAME_KIND`, in upper case.

    Returns:
        C text.

    """
    constants = "".join(f"#define {name}_{kind} {n}\n" for n, kind in enumerate(kinds)).upper()
    constants = constants.replace("#DEFINE", "#define")
    sums = _SUMS.replace("SLOTS", str(_SLOTS)).replace("KINDS", str(len(kinds)))
    return constants + (sums + _SPANS).replace("NAME", name)


def sum_maps(name: str, kinds: int) -> str:
    """
    Write the C of the sums alone: `NAME_add(pid, kind, nanoseconds)`.

    Args:
        name: Of the probe.
        kinds: How many there are.

    Returns:
        C text.

    """
    return _SUMS.replace("SLOTS", str(_SLOTS)).replace("KINDS", str(kinds)).replace("NAME", name)


_SUMS = r"""
struct NAME_key { char comm[16]; u32 pid; u32 kind; };
struct NAME_total { u64 count, sum, most; };
BPF_PERCPU_ARRAY(NAME_slots, u64, KINDS * SLOTS);
BPF_PERCPU_ARRAY(NAME_sums, u64, KINDS);
BPF_TABLE("lru_hash", struct NAME_key, struct NAME_total, NAME_processes, 2048);
BPF_ARRAY(NAME_lost, u64, 1);

static __always_inline void NAME_sum(struct NAME_total *total, u64 took)
{
    if (!total)
        return;
    __sync_fetch_and_add(&total->count, 1);
    __sync_fetch_and_add(&total->sum, took);
    if (took > total->most)
        total->most = took;
}

static __always_inline void NAME_add(u32 pid, u32 kind, u64 took)
{
    int slot = kind * SLOTS + bpf_log2l(took), which = kind;
    u64 *count = NAME_slots.lookup(&slot), *sum = NAME_sums.lookup(&which);
    struct NAME_key key = {.pid = pid, .kind = kind};
    struct NAME_total none = {};
    if (count)
        *count += 1;
    if (sum)
        *sum += took;
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    NAME_sum(NAME_processes.lookup_or_try_init(&key, &none), took);
}
"""

_SPANS = r"""
struct NAME_open { u32 tid; u32 kind; };
BPF_HASH(NAME_since, struct NAME_open, u64, 4096);

static __always_inline void NAME_begin(u32 kind)
{
    struct NAME_open open = {.tid = bpf_get_current_pid_tgid(), .kind = kind};
    u64 now = bpf_ktime_get_ns();
    if (!alien_() && NAME_since.update(&open, &now) && !off_())
        NAME_lost.atomic_increment(0);
}

static __always_inline int NAME_end(u32 kind)
{
    struct NAME_open open = {.tid = bpf_get_current_pid_tgid(), .kind = kind};
    u64 *since = NAME_since.lookup(&open);
    if (!since)
        return 0;
    u64 took = bpf_ktime_get_ns() - *since;
    NAME_since.delete(&open);
    if (off_())
        return 0;
    NAME_add(bpf_get_current_pid_tgid() >> 32, kind, took);
    return 1;
}
"""


class SpanRecorder(Recorder):
    """
    Read spans.

    Attributes:
        probe: Name of the probe.
        family: The histogram family.
        label: Its label, whose values are the kinds.
        kinds: In the order in which the C knows them.

    """

    probe: ClassVar[str]
    family: ClassVar[str]
    label: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            One histogram per kind with values; the processes by the time they took.

        """
        histograms = self.histograms(kernel)
        return ProbeSample(
            self.probe,
            seconds,
            sum(h.count for h in histograms),
            lost=kernel.counts(f"{self.probe}_lost")[0],
            histograms=histograms,
            values=self.values(kernel),
            tops={"process": self.processes(kernel)} | self.tops(kernel),
        )

    def values(self, kernel: Kernel) -> dict[str, float]:
        """
        Tell further numbers; a probe that has some overrides this.

        Args:
            kernel: The maps.

        Returns:
            dict name -> number.

        """
        del kernel
        return {}

    def tops(self, kernel: Kernel) -> dict[str, tuple[Mapping[str, Any], ...]]:
        """
        Tell further groups; a probe that has some overrides this.

        Args:
            kernel: The maps.

        Returns:
            dict by what -> the groups.

        """
        del kernel
        return {}

    def histograms(self, kernel: Kernel) -> tuple[Histogram, ...]:
        """
        Read the histograms.

        Args:
            kernel: The maps.

        Returns:
            One per kind with values.

        """
        slots = kernel.counts(f"{self.probe}_slots")
        sums = kernel.counts(f"{self.probe}_sums")
        rows = (slots[n * _SLOTS : (n + 1) * _SLOTS] for n in range(len(self.kinds)))
        every = (
            model.histogram(self.family, row, total, labels={self.label: kind})
            for kind, row, total in zip(self.kinds, rows, sums, strict=True)
        )
        return tuple(histogram for histogram in every if histogram.count)

    def processes(self, kernel: Kernel) -> tuple[Mapping[str, Any], ...]:
        """
        Rank the processes.

        Args:
            kernel: The maps.

        Returns:
            Those that took longest, with what they did.

        """
        rows = [
            {"comm": text(key.comm), "pid": key.pid, self.label: self.kinds[key.kind]}
            | totals(value)
            for key, value in kernel.items(f"{self.probe}_processes")
        ]
        return heaviest(rows, "seconds", self.settings.tops)


def totals(value: Any) -> dict[str, Any]:
    """
    Read what the kernel added up.

    Args:
        value: With count, sum and most [ns].

    Returns:
        The same, in seconds.

    """
    return {
        "count": value.count,
        "seconds": value.sum * NANOSECOND,
        "max_seconds": value.most * NANOSECOND,
    }


def heaviest(rows: list[dict[str, Any]], by: str, most: int) -> tuple[Mapping[str, Any], ...]:
    """
    Rank rows.

    Args:
        rows: Groups.
        by: The number that counts.
        most: How many are kept.

    Returns:
        The largest, largest first.

    """
    return tuple(sorted(rows, key=lambda row: (-row[by], str(row)))[:most])
