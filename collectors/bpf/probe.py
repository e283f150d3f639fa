"""What a probe is, and how it is found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import collectors.bpf.probes

if TYPE_CHECKING:
    from collectors.bpf.kernel import Kernel
    from collectors.bpf.model import ProbeSample


@dataclass(frozen=True, slots=True)
class Family:
    """
    A histogram family that a probe fills.

    Attributes:
        name: As scraped, in base units.
        help: What it is.
        edges: Upper edges that are exported, at most 20; powers of two of the kernel's unit.
        labels: Label names; every label has a bounded set of values.
        limit: Most label sets.

    """

    name: str
    help: str
    edges: tuple[float, ...]
    labels: tuple[str, ...] = ()
    limit: int = 32


def latency_edges(first: int, last: int, step: int = 1) -> tuple[float, ...]:
    """
    Give edges for a latency that the kernel measures in nanoseconds.

    Args:
        first: Power of two of the lowest edge [ns].
        last: Power of two of the highest edge [ns].
        step: Distance of the powers.

    Returns:
        The edges [s].

    """
    return tuple(2.0**power * 1e-9 for power in range(first, last + 1, step))


@dataclass(frozen=True, slots=True)
class Part:
    """
    One program of a probe: the body of a C function, and where it is attached.

    In the body `args` is the event: for a tracepoint its fields by name, without
    the common ones, with `NAME_loc` for a variable-length one.

    Attributes:
        on: "CATEGORY:EVENT" (a tracepoint), "raw:EVENT", "perf:NAME:N" (a software event;
            N is a frequency [1/s] for cpu_clock and a period for others), "kprobe:FUNCTION",
            "kretprobe:FUNCTION".
        body: C statements; `return 0;` leaves it, and is added at the end. What the kernel
            is told is always 1, see `collectors.bpf.source`.
        fields: Fields of the tracepoint that the body cannot do without.
        optional: Without it the probe still tells something.
        instead_of: `on` of the part that this one stands in for where that is missing.

    """

    on: str
    body: str
    fields: tuple[str, ...] = ()
    optional: bool = False
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """
    One eBPF probe: what runs in the kernel, and what is made of it.

    Attributes:
        category: The resource it tells of.
        recorder: Turns events and maps into the sample, in the worker.
        shared: C before the parts: maps and helpers; their names begin with the probe's.
        parts: The programs.
        offsets: C macro to paths of kernel structure members ("rq.nr_running"), the first
            that this kernel has is taken; an offset in bytes.
        optional_offsets: The same, for what the C code tests with #ifdef.
        families: The histogram families it fills.
        filters: Which filters it can apply: "pid", "cgroup".
        name: Its module's name.

    """

    category: str
    recorder: type[Recorder]
    shared: str
    parts: tuple[Part, ...]
    offsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional_offsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    families: tuple[Family, ...] = ()
    filters: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What a recorder may be told.

    Attributes:
        records: Most single events kept.
        stacks: Most stacks kept.
        tops: Length of each ranking.
        own: Process ids that are not to be told of.

    """

    records: int = 200
    stacks: int = 500
    tops: int = 10
    own: frozenset[int] = frozenset()


class Recorder:
    """
    What the worker keeps for one probe during a window; a probe's own one says more.

    Attributes:
        ring: Name of the probe's ring buffer; None when it has none.

    """

    ring: ClassVar[str | None] = None

    def __init__(self, settings: Settings) -> None:
        """
        Begin a window.

        Args:
            settings: Bounds.

        """
        self.settings = settings

    def event(self, raw: bytes, kernel: Kernel) -> None:
        """
        Take one event out of the ring buffer.

        Args:
            raw: Its bytes.
            kernel: For symbols and names.

        """
        raise NotImplementedError

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude, after the window has closed.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            The sample.

        """
        raise NotImplementedError


def histogram(name: str) -> str:
    """
    Write the C of a histogram by powers of two: the function `NAME_add(u64 value)`.

    Args:
        name: Of the map, beginning with the probe's name.

    Returns:
        C text; `Kernel.slots(name)` and `Kernel.sum(name)` read it.

    """
    return f"""
BPF_PERCPU_ARRAY({name}, u64, 65);
BPF_PERCPU_ARRAY({name}_sum, u64, 1);
static __always_inline void {name}_add(u64 value)
{{
    int slot = bpf_log2l(value), first = 0;
    u64 *count = {name}.lookup(&slot), *sum = {name}_sum.lookup(&first);
    if (count)
        *count += 1;
    if (sum)
        *sum += value;
}}
"""


def counters(name: str, *names: str) -> str:
    """
    Write the C of named counters: the function `NAME_count(int which, u64 more)`.

    Args:
        name: Of the map, beginning with the probe's name.
        names: What is counted; each becomes the constant `NAME_WHAT`, in upper case.

    Returns:
        C text; `Kernel.counts(name)` reads it, in the same order.

    """
    constants = "".join(
        f"#define {name.upper()}_{what.upper()} {n}\n" for n, what in enumerate(names)
    )
    return f"""
{constants}BPF_PERCPU_ARRAY({name}, u64, {len(names)});
static __always_inline void {name}_count(int which, u64 more)
{{
    u64 *count = {name}.lookup(&which);
    if (count)
        *count += more;
}}
"""


_found: dict[str, Probe] = {}


def discover() -> dict[str, Probe]:
    """
    Find every probe by walking the package; there is no list to edit.

    Returns:
        dict name -> probe, by name.

    """
    if not _found:
        for module in sorted(m.name for m in pkgutil.iter_modules(collectors.bpf.probes.__path__)):
            _found[module] = load(module)
    return dict(_found)


def load(name: str) -> Probe:
    """
    Load one probe, so that a worker need not load all.

    Args:
        name: Its name.

    Returns:
        The probe.

    Raises:
        ModuleNotFoundError: When there is none of that name.

    """
    module: Any = importlib.import_module(f"collectors.bpf.probes.{name}")
    probe: Probe = module.PROBE
    return Probe(
        probe.category, probe.recorder, probe.shared, probe.parts, probe.offsets,
        probe.optional_offsets, probe.families, probe.filters, name,
    )  # fmt: skip
