"""From probes to one C module: what this kernel can run, and why not the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from collectors.bpf.btf import Btf
from collectors.bpf.model import Verdict
from collectors.bpf.probe import Part, Probe
from collectors.bpf.tracefs import Tracefs, struct

_PRELUDE = """
#include <uapi/linux/ptrace.h>
#include <linux/types.h>

/* Programs count only while the window is open; it is opened when all are attached. */
BPF_ARRAY(gate_, u64, 1);

static __always_inline int off_(void)
{
    int first = 0;
    u64 *open = gate_.lookup(&first);
    return !open || !*open;
}

/* Whether the current task is not to be told of: our own, or filtered out. */
static __always_inline int alien_(void)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
OWN_TEST
#ifdef ONLY_TGID
    if (tgid != ONLY_TGID)
        return 1;
#endif
#ifdef ONLY_CGROUP
    if (bpf_get_current_ancestor_cgroup_id(CGROUP_LEVEL) != ONLY_CGROUP)
        return 1;
#endif
    return 0;
}
"""

# bcc compiles functions that print and scan the keys and values of every table that others can
# see, for its command line tools: 25 of the 380 ms of eleven probes. So they are kept local.
_LOCAL = """
#pragma clang attribute push(__attribute__((internal_linkage)), apply_to = variable(is_global))
"""


@dataclass(frozen=True, slots=True)
class Filters:
    """
    Whose events count.

    Attributes:
        own: Process ids of this program, which never count.
        pid: Only this process; None for all.
        cgroup: Only this control group (v2), its id; None for all.
        cgroup_level: Its depth below the root.

    """

    own: tuple[int, ...] = ()
    pid: int | None = None
    cgroup: int | None = None
    cgroup_level: int = 0


@dataclass(frozen=True, slots=True)
class Host:
    """
    What the kernel offers.

    Attributes:
        tracefs: None when it cannot be read.
        btf: None when there is none.
        functions: Kernel functions that can be probed; empty without kprobes.

    """

    tracefs: Tracefs | None
    btf: Btf | None
    functions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Program:
    """
    One function of the module.

    Attributes:
        name: Its name in C.
        part: What it is made of.

    """

    name: str
    part: Part


@dataclass(frozen=True, slots=True)
class Planned:
    """
    A probe as this kernel can run it.

    Attributes:
        probe: The probe.
        programs: Its functions.
        defines: C macro to value.
        notes: What was left out, and why.

    """

    probe: Probe
    programs: tuple[Program, ...]
    defines: Mapping[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """
    A probe that this kernel cannot run.

    Attributes:
        verdict: Why, from the closed list.
        text: The same for people, with the way out.

    """

    verdict: Verdict
    text: str


@dataclass(slots=True)
class _Missing:
    """What a probe lacks, gathered while it is planned."""

    notes: list[str] = field(default_factory=list)
    rejected: Rejected | None = None

    def add(self, verdict: Verdict, text: str, *, optional: bool) -> None:
        """Note it, and reject the probe when it cannot do without."""
        if text not in self.notes:
            self.notes.append(text)
        if not optional and self.rejected is None:
            self.rejected = Rejected(verdict, text)


_FUNCTION = {"kprobe", "kretprobe"}


def plan(probe: Probe, host: Host) -> Planned | Rejected:
    """
    Fit a probe to a kernel.

    Args:
        probe: The probe.
        host: What the kernel offers.

    Returns:
        What can run, or why it cannot.

    """
    missing = _Missing()
    faults = {part.on: _fault(part, host) for part in probe.parts}
    stand_ins = {p.instead_of for p in probe.parts if p.instead_of and not faults[p.on]}
    chosen: list[Part] = []
    for part in probe.parts:
        fault = faults[part.on]
        if part.instead_of is not None and not faults[part.instead_of]:
            continue
        if fault is None:
            chosen.append(part)
        elif part.instead_of is None:
            covered = part.on in stand_ins
            missing.add(*fault, optional=part.optional or covered)
    defines = _defines(probe, host, missing)
    if missing.rejected is not None:
        return missing.rejected
    programs = tuple(Program(_function(probe, part), part) for part in chosen)
    return Planned(probe, programs, defines, tuple(missing.notes))


def _fault(part: Part, host: Host) -> tuple[Verdict, str] | None:
    """Tell why a part cannot be attached here."""
    kind, _, name = part.on.partition(":")
    if kind == "perf" or (kind in _FUNCTION and name in host.functions):
        return None
    if kind in _FUNCTION:
        return Verdict.MISSING_TRACEPOINT, f"this kernel cannot probe its function {name}"
    if host.tracefs is None:
        return Verdict.NO_TRACEFS, "tracefs is not readable; mount it, as root"
    return _tracepoint_fault(part, host.tracefs)


def _tracepoint_fault(part: Part, tracefs: Tracefs) -> tuple[Verdict, str] | None:
    """Tell what a tracepoint lacks."""
    kind, _, name = part.on.partition(":")
    fields = tracefs.fields(part.on if kind != "raw" else _category(tracefs, name))
    if fields is None:
        return Verdict.MISSING_TRACEPOINT, f"this kernel has no tracepoint {part.on}"
    lacking = [f for f in part.fields if f not in {known.name for known in fields}]
    if lacking:
        return Verdict.MISSING_FIELD, f"the tracepoint {part.on} has no field {lacking[0]} here"
    return None


def _category(tracefs: Tracefs, name: str) -> str:
    """Name a raw tracepoint in full, for its presence to be looked up."""
    found = next(iter((tracefs.root / "events").glob(f"*/{name}/format")), None)
    return f"{found.parent.parent.name}:{name}" if found else f"raw:{name}"


def _defines(probe: Probe, host: Host, missing: _Missing) -> dict[str, int]:
    """Look up the offsets of a probe."""
    defines: dict[str, int] = {}
    wanted = [(m, p, False) for m, p in probe.offsets.items()]
    wanted += [(m, p, True) for m, p in probe.optional_offsets.items()]
    for macro, paths, optional in wanted:
        if host.btf is None:
            text = "this kernel carries no type information (CONFIG_DEBUG_INFO_BTF)"
            missing.add(Verdict.NO_BTF, text, optional=optional)
            continue
        offsets = (host.btf.offset(path) for path in paths)
        found = next((offset for offset in offsets if offset is not None), None)
        if found is None:
            text = f"this kernel has no {' or '.join(paths)}"
            missing.add(Verdict.MISSING_FIELD, text, optional=optional)
        else:
            defines[macro] = found
    return defines


def _function(probe: Probe, part: Part) -> str:
    """Name the function of a part."""
    return f"{probe.name}__{re.sub('[^a-z0-9]+', '_', part.on.lower())}"


def write(planned: Iterable[Planned], host: Host, filters: Filters) -> str:
    """
    Write the C module of several probes.

    Args:
        planned: The probes.
        host: What the kernel offers.
        filters: Whose events count.

    Returns:
        C text.

    """
    probes = list(planned)
    texts = [_prelude(filters), *_structs(probes, host)]
    for one in probes:
        texts += [f"#define {macro} {value}\n" for macro, value in one.defines.items()]
        texts.append(one.probe.shared)
        texts += [_program(program) for program in one.programs]
    return "".join([_LOCAL, *texts, "#pragma clang attribute pop\n"])


def _prelude(filters: Filters) -> str:
    """Write what all probes share."""
    own = "".join(f"    if (tgid == {pid})\n        return 1;\n" for pid in filters.own)
    defines = {} if filters.pid is None else {"ONLY_TGID": str(filters.pid)}
    if filters.cgroup is not None:
        defines |= {
            "ONLY_CGROUP": f"{filters.cgroup}ULL",
            "CGROUP_LEVEL": str(filters.cgroup_level),
        }
    lines = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    return lines + _PRELUDE.replace("OWN_TEST\n", own)


def _structs(probes: Iterable[Planned], host: Host) -> Iterator[str]:
    """Write the events' structures, each once."""
    events = {program.part.on for one in probes for program in one.programs}
    for event in sorted(events):
        if host.tracefs is not None and event.partition(":")[0] not in _NO_STRUCT:
            fields = host.tracefs.fields(event) or ()
            yield struct(event, tuple(f for f in fields if not f.name.startswith("common_")))


_NO_STRUCT = {"perf", "raw", *_FUNCTION}
_NOTHING = re.compile(r"\breturn 0;")
_ARGS = {
    "perf": "struct bpf_perf_event_data",
    "raw": "struct bpf_raw_tracepoint_args",
    "kprobe": "struct pt_regs",
    "kretprobe": "struct pt_regs",
}


def _program(program: Program) -> str:
    """Write one function."""
    kind = program.part.on.partition(":")[0]
    args = _ARGS.get(kind) or "struct tp__" + program.part.on.replace(":", "__")
    # What a program returns on a tracepoint says whether perf may go on: after a 0, others who
    # watch the same event with perf do not see it (0 of 53 while a probe was attached).
    body = _NOTHING.sub("return 1;", program.part.body)
    return f"\nint {program.name}({args} *args)\n{{{body}    return 1;\n}}\n"
