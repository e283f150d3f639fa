"""What probes say: verdicts, histograms, stacks, events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

NANOSECOND = 1e-9  # [s]


class Verdict(StrEnum):
    """Whether a probe works here, and why not: a closed list, so it can be a label."""

    OK = "ok"
    NO_BCC = "no_bcc"
    NO_BTF = "no_btf"
    NO_TRACEFS = "no_tracefs"
    NO_PERMISSION = "no_permission"
    LOCKDOWN = "lockdown"
    MISSING_TRACEPOINT = "missing_tracepoint"
    MISSING_FIELD = "missing_field"
    COMPILE_ERROR = "compile_error"
    ATTACH_ERROR = "attach_error"
    TIMEOUT = "timeout"
    LOST_WORKER = "lost_worker"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Bucket:
    """
    One bucket of a histogram.

    Attributes:
        le: Upper edge, in the histogram's unit.
        count: Values above the edge below and up to this one.

    """

    le: float
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """
    How values are spread, counted in the kernel by powers of two.

    Attributes:
        family: The metric family it belongs to.
        labels: Label name to value.
        buckets: Those with values, lowest first; the edges are powers of two of the
            kernel's unit.
        count: All values.
        sum: Their exact sum, kept in the kernel.
        p50: The median; None when there are no values.
        p90: Nine of ten values are lower.
        p99: Ninety-nine of a hundred values are lower.

    """

    family: str
    labels: Mapping[str, str] = field(default_factory=dict)
    buckets: tuple[Bucket, ...] = ()
    count: int = 0
    sum: float = 0.0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


def histogram(
    family: str,
    slots: Mapping[int, int] | Iterable[int],
    total: float,
    *,
    unit: float = NANOSECOND,
    labels: Mapping[str, str] | None = None,
) -> Histogram:
    """
    Build a histogram from the kernel's slots.

    Args:
        family: The metric family it belongs to.
        slots: Slot to count; slot n holds values from 2^(n-1) up to 2^n.
        total: Exact sum of all values, in the kernel's unit.
        unit: One of the kernel's units in the histogram's.
        labels: Label name to value.

    Returns:
        The histogram.

    """
    pairs = slots.items() if isinstance(slots, Mapping) else enumerate(slots)
    buckets = tuple(Bucket(2.0**slot * unit, count) for slot, count in sorted(pairs) if count)
    return Histogram(
        family,
        dict(labels or {}),
        buckets,
        sum(b.count for b in buckets),
        total * unit,
        *(quantile(buckets, q) for q in (0.5, 0.9, 0.99)),
    )


def quantile(buckets: tuple[Bucket, ...], share: float) -> float | None:
    """
    Estimate a quantile, taking values as spread evenly on a log scale within a bucket.

    Args:
        buckets: Of a histogram by powers of two.
        share: Which quantile [ratio].

    Returns:
        The value, never outside of its bucket; None when there are no values.

    """
    rank = share * sum(b.count for b in buckets)
    below = 0
    for bucket in buckets:
        if below + bucket.count >= rank:
            part = (rank - below) / bucket.count
            return bucket.le / 2 * math.pow(2.0, part)
        below += bucket.count
    return None


@dataclass(frozen=True, slots=True)
class Stack:
    """
    Where programs were, and how much of the window they were there.

    Attributes:
        frames: Outermost first; the process first of all, kernel functions end in "_[k]".
        value: Samples, or microseconds.

    """

    frames: tuple[str, ...]
    value: int


@dataclass(frozen=True, slots=True)
class ProbeSample:
    """
    What a probe saw.

    Attributes:
        probe: Its name.
        window_seconds: How long it watched [s].
        events: Events it saw.
        lost: Events it could not keep (full buffers and tables), and calls of its programs that
            the kernel left out because an eBPF program ran on that CPU: an event that begins and
            ends may miss both, so this is the most that is missing. A kernel before 6.7 does not
            count such calls, and a note says so.
        histograms: Spreads of what it measured.
        values: Further numbers by name; the probe's docstring says what they are.
        tops: By what, to the largest groups over all events: dicts with counts and sums.
        records: Single events, a fair sample over the whole window when there were more.
        records_of: How many the sample was drawn from.
        stacks: Heaviest first; the last may be "other".
        stack_unit: Unit of the stacks' values.
        notes: What was left out on this kernel, and why.
        map_bytes: Kernel memory of its maps [bytes].

    """

    probe: str
    window_seconds: float
    events: int
    lost: int = 0
    histograms: tuple[Histogram, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    tops: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    records: tuple[Mapping[str, Any], ...] = ()
    records_of: int = 0
    stacks: tuple[Stack, ...] = ()
    stack_unit: str = ""
    notes: tuple[str, ...] = ()
    map_bytes: int | None = None


def with_skipped(sample: ProbeSample, calls: int | None) -> ProbeSample:
    """
    Count as lost what a probe was not called for, and say so.

    Args:
        sample: What it saw.
        calls: How many calls of its programs the kernel left out; None when it does not count.

    Returns:
        The same, with them among the lost and a note; unchanged when there were none.

    """
    if calls == 0:
        return sample
    note = _UNCOUNTED if calls is None else f"{calls} of the lost are {_SKIPPED}"
    return replace(sample, lost=sample.lost + (calls or 0), notes=(*sample.notes, note))


_SKIPPED = (
    "calls that the kernel left out, as an eBPF program ran on that CPU already; with fewer probes "
    "at a time they are fewer"
)
_UNCOUNTED = (
    "this kernel does not count the calls that it leaves out while another eBPF program runs on "
    "that CPU; Linux 6.7 and later do"
)
