"""
The process that compiles, attaches and reads eBPF programs: `python -m collectors.bpf.worker`.

One line of JSON on standard input says what is wanted. It answers with one line "ready" when
everything is attached, opens the window when told so, and after the window writes one line per
probe. Then it ends at once: the kernel takes 60 to 100 ms to detach each program, and nobody
needs to wait for that. It needs the standard library and bcc only, and is the one place that
imports bcc, which takes 72 MB that the daemon must not carry for ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from collectors.bpf import fdinfo, model, pipe, process, source
from collectors.bpf.btf import VMLINUX, Btf
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import ProbeSample, Verdict
from collectors.bpf.probe import Probe, Recorder, Settings, load
from collectors.bpf.source import Filters, Host, Planned, Program, Rejected

HEADERS = Path(__file__).parent / "headers"
_SETTLE = 0.2  # [s] until every CPU runs the new programs
_LOOK = 0.05  # [s] between two looks into the ring buffers
# Nobody debugs these programs: without debug information they compile an eighth faster.
_FLAGS = ("-g0", "-Wno-duplicate-decl-specifier", "-Wno-unused-variable", "-Wno-unused-function")
_PERF_SOFTWARE = 1  # PERF_TYPE_SOFTWARE, include/uapi/linux/perf_event.h
_PERF_DISABLE = 0x2401  # PERF_EVENT_IOC_DISABLE, the same file
_PERF_EVENTS = {"cpu_clock": 0, "page_faults": 2, "page_faults_maj": 6}
_EVERY = {"cpu_clock": "sample_freq"}  # all others count events

Verdicts = dict[str, tuple[Verdict, str]]


class Fault(Exception):  # noqa: N818  it is an answer, not a failure of this program
    """
    What bcc, clang or the kernel refused.

    Args:
        text: What they said.

    """


@dataclass(slots=True)
class Module:
    """
    A compiled module.

    Attributes:
        bpf: bcc's object.
        stops: File descriptors that hold the attachments.

    """

    bpf: Any
    stops: list[int] = field(default_factory=list)


class Worker:
    """
    One window from request to answers.

    Args:
        request: What is wanted.

    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        own = (os.getpid(), *request["own"])
        self.duration = float(request["duration"])
        self.filters = Filters(
            own, request.get("pid"), request.get("cgroup"), request.get("cgroup_level", 0)
        )
        bounds = {k: request[k] for k in ("records", "stacks", "tops") if k in request}
        self.settings = Settings(own=frozenset(own), **bounds)
        self.verdicts: Verdicts = {}
        self.errors = process.ErrorCatcher()
        self.probes = {name: load(name) for name in request["probes"]}
        self.recorders: dict[str, Recorder] = {}
        self.host = Host(None, None)

    def run(self) -> None:
        """Do it all, and tell."""
        started = time.monotonic()
        refused = self._refused()
        if refused is not None:
            self.verdicts |= dict.fromkeys(self.probes, refused)
            pipe.say("ready", verdicts=self.verdicts, seconds=0.0)
            return
        self._look()
        plans = self._plan()
        # Five megabytes and more that nobody asks again.
        self.host = replace(self.host, btf=None)
        module, planned = self._compile(plans)
        running = {p.probe.name: p for p in planned if module and self._attach(module, p)}
        self.place.leave()
        time.sleep(_SETTLE)
        pipe.say("ready", verdicts=self.verdicts, seconds=time.monotonic() - started)
        if module is not None and running:
            self._observe(module, running)

    def _refused(self) -> tuple[Verdict, str] | None:
        """Tell why nothing can run at all."""
        self.bcc = _import_bcc()
        if self.bcc is None:
            return Verdict.NO_BCC, (
                "the Python module bcc is missing; install the package python3-bpfcc (the project "
                "called bcc on PyPI is something else)"
            )
        return process.may_trace()

    def _look(self) -> None:
        """See what the kernel offers, as far as the probes need it."""
        parts = [part for probe in self.probes.values() for part in probe.parts]
        needs_btf = any(p.offsets or p.optional_offsets for p in self.probes.values())
        try:
            btf = Btf(VMLINUX.read_bytes()) if needs_btf else None
        except (OSError, ValueError):
            btf = None
        kprobes = any(part.on.startswith("k") for part in parts)
        functions = process.functions() if kprobes else frozenset()
        self.place = process.Place()
        self.host = Host(self.place.tracefs, btf, functions)

    def _plan(self) -> list[Planned]:
        """Fit the probes to the kernel."""
        planned = []
        for name, probe in self.probes.items():
            outcome = source.plan(probe, self.host)
            if isinstance(outcome, Rejected):
                self.verdicts[name] = (outcome.verdict, outcome.text)
            else:
                planned.append(replace(outcome, notes=(*outcome.notes, *self._unfiltered(probe))))
        return planned

    def _unfiltered(self, probe: Probe) -> tuple[str, ...]:
        """Say what a probe cannot be limited to."""
        asked = {"pid": self.filters.pid, "cgroup": self.filters.cgroup}
        wanted = [name for name, value in asked.items() if value is not None]
        missing = [name for name in wanted if name not in probe.filters]
        what = " and ".join(missing)
        return (f"it tells of the whole host: its events cannot be told by {what}",) if what else ()

    def _compile(self, planned: list[Planned]) -> tuple[Module | None, list[Planned]]:
        """Compile all probes as one module, three times cheaper than one each."""
        if not planned:
            return None, []
        try:
            return self._build(planned), planned
        except Fault as fault:
            if len(planned) == 1:
                self.verdicts[planned[0].probe.name] = (Verdict.COMPILE_ERROR, str(fault))
                return None, []
        # Find the culprits one by one, so that the others go on.
        sound = [one for one in planned if self._compile([one])[0] is not None]
        return self._compile(sound) if len(sound) < len(planned) else (None, [])

    def _build(self, planned: list[Planned]) -> Module:
        """Compile a module."""
        text = source.write(planned, self.host, self.filters)
        flags = [*_FLAGS, f"-DPAGE_SIZE={os.sysconf('SC_PAGE_SIZE')}"]
        return Module(self._ask(lambda: self.bcc.BPF(text=text, cflags=flags)))

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Ask bcc something; its errors are bare, and what they mean stands on stderr."""
        self.errors.take()
        try:
            return question()
        except Exception as error:
            said = str(error) or type(error).__name__
            raise Fault(f"{said}: {self.errors.take()}".strip(": ")) from error

    def _attach(self, module: Module, planned: Planned) -> bool:
        """Load and attach a probe's programs; one that fails takes its probe with it."""
        name = planned.probe.name
        try:
            for program in planned.programs:
                self._attach_one(module, program)
        except Fault as fault:
            self.verdicts[name] = (Verdict.ATTACH_ERROR, f"{planned.probe.name}: {fault}")
            return False
        self.recorders[name] = recorder = planned.probe.recorder(self.settings)
        if recorder.ring is not None:
            self._listen(module, recorder, recorder.ring)
        self.verdicts[name] = (Verdict.OK, "; ".join(planned.notes))
        return True

    def _attach_one(self, module: Module, program: Program) -> None:
        """Load and attach one program."""
        kind, _, name = program.part.on.partition(":")
        if kind == "perf":
            self._attach_perf(module, program.name, *name.split(":"))
        elif kind in ("kprobe", "kretprobe"):
            attach = getattr(module.bpf, f"attach_{kind}")
            self._ask(lambda: attach(event=name, fn_name=program.name))
        elif kind == "raw":
            function = self._load(module, program.name, self.bcc.BPF.RAW_TRACEPOINT)
            attached = self._lib.bpf_attach_raw_tracepoint(function.fd, name.encode())
            self._keep(module, attached, program)
        else:
            # bcc's own function keeps one program per tracepoint only.
            function = self._load(module, program.name, self.bcc.BPF.TRACEPOINT)
            attached = self._lib.bpf_attach_tracepoint(function.fd, kind.encode(), name.encode())
            self._keep(module, attached, program)
            # What bcc attaches to is an event of perf on the first CPU, which would go on to
            # make a sample of each for nobody: 8.6 instead of 7.1 us for the worst context
            # switch. The program runs, on all CPUs, also while that event is off.
            with contextlib.suppress(OSError):
                fcntl.ioctl(attached, _PERF_DISABLE)

    @property
    def _lib(self) -> Any:
        return self.bcc.libbcc.lib

    def _load(self, module: Module, name: str, kind: int) -> Any:
        """Have the kernel verify a program."""
        return self._ask(lambda: module.bpf.load_func(name, kind))

    def _keep(self, module: Module, stop: int, program: Program) -> None:
        """Note an attachment."""
        if stop < 0:
            raise Fault(f"cannot attach to {program.part.on}: {self.errors.take()}")
        module.stops.append(stop)

    def _attach_perf(self, module: Module, function: str, name: str, every: str) -> None:
        """Attach to a software event on every CPU."""
        how = {_EVERY.get(name, "sample_period"): int(every)}
        event = _PERF_EVENTS[name]
        self._ask(lambda: module.bpf.attach_perf_event(_PERF_SOFTWARE, event, function, **how))

    def _listen(self, module: Module, recorder: Recorder, ring: str) -> None:
        """Hand a ring buffer's events to a recorder."""

        def take(_context: Any, data: int, size: int) -> None:
            recorder.event(ctypes.string_at(data, size), self.kernel)

        module.bpf[ring].open_ring_buffer(take)

    def _observe(self, module: Module, running: Mapping[str, Planned]) -> None:
        """Wait for the start, watch, and tell what was seen."""
        bpf = module.bpf
        maps = self._maps(bpf)
        self.kernel = Kernel(
            bpf,
            descriptors=maps,
            tracefs=self.host.tracefs,
            notes={name: planned.notes for name, planned in running.items()},
            user_symbol=lambda address, pid: bpf.sym(address, pid, show_module=False),
            kernel_symbol=bpf.ksym,
            forget_symbols=self._forget_symbols,
        )
        rings = [r for r in self.recorders.values() if r.ring is not None]
        if not pipe.told(None):
            return
        before = _skipped(bpf, running)
        gate = bpf["gate_"]
        gate[0] = ctypes.c_uint64(1)
        opened = time.monotonic()
        while (left := opened + self.duration - time.monotonic()) > 0:
            if rings:
                bpf.ring_buffer_consume()
            if pipe.told(min(left, _LOOK if rings else left)):
                break
        gate[0] = ctypes.c_uint64(0)
        seconds = time.monotonic() - opened
        if rings:
            bpf.ring_buffer_consume()
        skipped = _skipped(bpf, running)
        sizes = {name: fdinfo.memory(fd) for name, fd in maps.items()}
        for name in running:
            self._tell(name, seconds, sizes, _more(before[name], skipped[name]))
        pipe.say("done", **_usage(), map_bytes=sum(sizes.values()))

    def _tell(
        self, name: str, seconds: float, sizes: Mapping[str, int], skipped: int | None
    ) -> None:
        """Conclude one probe; a mistake in its decoder costs only that probe."""
        recorder = self.recorders[name]
        try:
            sample: ProbeSample = self._ask(lambda: recorder.sample(self.kernel, seconds))
        except Fault as fault:
            pipe.say("failed", probe=name, text=f"the readings were not understood: {fault}")
            return
        own = sum(size for table, size in sizes.items() if table.startswith(f"{name}_"))
        notes = (*self.kernel.notes.get(name, ()), *sample.notes)
        whole = model.with_skipped(replace(sample, map_bytes=own, notes=notes), skipped)
        pipe.say("sample", probe=name, sample=asdict(whole))

    def _forget_symbols(self, pid: int) -> None:
        """Free bcc's symbols of a process; it keeps them as long as it lives."""
        cache = self.bcc.BPF._sym_caches.pop(pid, None)  # noqa: SLF001  there is no other way
        if cache is not None:
            self._lib.bcc_free_symcache(cache.cache, pid)

    def _maps(self, bpf: Any) -> dict[str, int]:
        """Give the descriptor of each map."""
        lib = self._lib
        lib.bpf_table_name.restype = ctypes.c_char_p  # bcc does not use it, so does not say
        lib.bpf_table_name.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        numbers = range(lib.bpf_num_tables(bpf.module))
        names = [lib.bpf_table_name(bpf.module, number) for number in numbers]
        find = lib.bpf_table_fd
        return {n.decode(): process.out_of_reach(find(bpf.module, n)) for n in names}


def _skipped(bpf: Any, running: Mapping[str, Planned]) -> dict[str, int | None]:
    """Read how many calls of each probe's programs the kernel has left out."""
    return {name: _skipped_of(bpf, planned.programs) for name, planned in running.items()}


def _skipped_of(bpf: Any, programs: Iterable[Program]) -> int | None:
    """Add up what was left out of one probe; perf's samples are left to chance anyway."""
    kinds = {p.name: p.part.on.partition(":")[0] for p in programs}
    counts = [
        fdinfo.skipped(bpf.funcs[name.encode()].fd, raw=kind == "raw")
        for name, kind in kinds.items()
        if kind != "perf"
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _more(before: int | None, after: int | None) -> int | None:
    """Tell by how much a count grew."""
    return None if before is None or after is None else after - before


def _import_bcc() -> Any:
    """Import bcc, the real one; None when it is not there."""
    os.environ["BCC_KERNEL_SOURCE"] = str(HEADERS)
    try:
        import bcc
        import bcc.libbcc
    except (ImportError, OSError):
        return None
    return bcc if hasattr(bcc, "BPF") else None


def _usage() -> dict[str, float | int]:
    """Tell what this process has cost so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_bytes": usage.ru_maxrss * 1024,
    }


def _crash(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Tell on standard output what nobody caught: standard error is not read."""
    pipe.say("crashed", text="".join(traceback.format_exception(kind, error, where, limit=-3)))


def main() -> None:
    """Run one window."""
    sys.excepthook = _crash
    process.be_modest()
    Worker(pipe.request()).run()
    # Without this, the interpreter would detach every program first.
    os._exit(0)


if __name__ == "__main__":
    main()
