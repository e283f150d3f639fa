"""One sweep from beginning to end, in its five phases."""

from __future__ import annotations

import logging
import platform
import resource
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata as packages
from typing import Any, Protocol

from analysis.assess import assess
from analysis.model import Assessment
from analysis.state import State
from collectors.model import Outcome, Status, Sweep
from collectors.system import SystemSample
from exporter import clock, report
from exporter.config import Profile
from exporter.orchestrator import Orchestrator, Window
from exporter.policy import Policy
from exporter.probes import BpfProbes

log = logging.getLogger(__name__)
_KIB = 1024


class ProbeRunner(Protocol):
    """
    What runs a profile's eBPF probes beside the collectors.

    `prepare` compiles and attaches before the window opens, so that compiling
    is never inside what is measured; `finish` closes the window and hands over
    one outcome per probe, at the window's deadline at the latest.
    """

    def prepare(self, probes: tuple[str, ...], window: Window) -> None:
        """Compile and attach."""

    def finish(self) -> dict[str, Outcome]:
        """Close the window and return the outcomes."""

    @property
    def cost(self) -> report.WorkerOverhead | None:
        """What the worker of the last window cost."""


@dataclass(frozen=True, slots=True)
class Run:
    """
    A sweep under way.

    Attributes:
        profile: The profile's name.
        trigger: schedule, catch-up, request or command.
        probes: The probes to run.
        window: What is asked of the collectors.
        started_at: Wall time of the start [s].
        started: The same on the monotonic clock [s].
        cpu_before: CPU time the process and its children had used [s].

    """

    profile: str
    trigger: str
    probes: tuple[str, ...]
    window: Window
    started_at: float
    started: float
    cpu_before: float


@dataclass(frozen=True, slots=True)
class Result:
    """
    What a sweep led to.

    Attributes:
        report: The report.
        body: The same as JSON.
        sweep: The facts.
        assessment: The judgments.
        state: What to remember.

    """

    report: report.Report
    body: bytes
    sweep: Sweep
    assessment: Assessment
    state: State


@dataclass(slots=True)
class Examiner:
    """
    Run sweeps, one at a time, and remember what the next one needs.

    Attributes:
        orchestrator: Runs the collectors.
        policy: How sweeps are judged.
        publish: Called with each result.
        probes: Runs the eBPF probes.
        options: Settings for the collectors.
        state: What is remembered of earlier sweeps.
        progress: Called with a phase or a collector's name as they pass.

    """

    orchestrator: Orchestrator
    policy: Policy
    publish: Callable[[Result], None]
    probes: ProbeRunner = field(default_factory=BpfProbes)
    options: Mapping[str, Any] = field(default_factory=dict)
    state: State = field(default_factory=State)
    progress: Callable[[str, str], None] = lambda _kind, _name: None

    def examine(
        self, name: str, profile: Profile, trigger: str, cancelled: threading.Event
    ) -> Result:
        """
        Examine the host once.

        Args:
            name: The profile's name.
            profile: Duration, interval, timeout and probes.
            trigger: schedule, catch-up, request or command.
            cancelled: Set to end the sweep within a second.

        Returns:
            The published result, marked incomplete when anything was late.

        """
        self.progress("phase", "initialize")
        run = self._initialize(name, profile, trigger, cancelled)
        self.progress("phase", "collect")
        outcomes = self._collect(run)
        self.progress("phase", "assemble")
        sweep = self._assemble(run, outcomes)
        self.progress("phase", "analyze")
        assessment, self.state = assess(sweep, self.state, self.policy.judging)
        self.progress("phase", "publish")
        return self._publish(run, sweep, assessment)

    def _initialize(
        self, name: str, profile: Profile, trigger: str, cancelled: threading.Event
    ) -> Run:
        """Fix the deadline and prepare the probes, whose compiling is not part of the window."""
        started = time.monotonic()
        window = Window(
            profile=name,
            duration=profile.duration,
            interval=profile.sample_interval,
            deadline=started + profile.timeout,
            cancelled=cancelled,
            options=self.options,
        )
        probes = tuple(profile.probes)
        run = Run(name, trigger, probes, window, clock.wall(), started, _cpu_seconds())
        self.probes.prepare(run.probes, window)
        return run

    def _collect(self, run: Run) -> dict[str, Outcome]:
        """Observe the host through the window."""
        outcomes = self.orchestrator.collect(
            run.window, lambda name: self.progress("collector", name)
        )
        return {**outcomes, **self.probes.finish()}

    def _assemble(self, run: Run, outcomes: dict[str, Outcome]) -> Sweep:
        """Put the facts together and say what is missing."""
        cancelled = run.window.cancelled.is_set()
        seconds = time.monotonic() - run.started
        reasons = [f"cancelled after {seconds:.1f} s"] if cancelled else []
        reasons += [f"{n}: {o.reason}" for n, o in outcomes.items() if o.status is Status.TIMEOUT]
        windows = (getattr(o.data, "window_seconds", None) for o in outcomes.values())
        return Sweep(
            profile=run.profile,
            started_at=run.started_at,
            started_monotonic=run.started,
            seconds=seconds,
            window_seconds=max((w for w in windows if w is not None), default=0.0),
            complete=not reasons,
            partial_reasons=tuple(reasons),
            outcomes=outcomes,
        )

    def _publish(self, run: Run, sweep: Sweep, assessment: Assessment) -> Result:
        """Write the report and hand it on."""
        built = report.build(_metadata(run, sweep, self.probes.cost), sweep, assessment)
        result = Result(built, report.to_json(built), sweep, assessment, self.state)
        self.publish(result)
        log.info(
            "sweep %s: score %s, %d anomalies, %.1f s%s",
            built.metadata.report_id,
            assessment.health_score,
            len(assessment.anomalies),
            sweep.seconds,
            "" if sweep.complete else f", partial: {'; '.join(sweep.partial_reasons)}",
        )
        return result


def version() -> str:
    """
    Return the program's version.

    Returns:
        As installed.

    """
    try:
        return packages.version("sysdx")
    except packages.PackageNotFoundError:
        return "unknown"


def _metadata(run: Run, sweep: Sweep, worker: report.WorkerOverhead | None) -> report.Metadata:
    """Say which sweep this is and what it cost."""
    system = sweep.sample(SystemSample)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    overhead = report.Overhead(
        cpu_seconds=round(_cpu_seconds() - run.cpu_before, 6),
        peak_memory_bytes=usage.ru_maxrss * _KIB,
        worker=worker,
    )
    return report.Metadata(
        report_id=report.new_id(run.profile, run.started_at),
        tool="sysdx",
        version=version(),
        hostname=system.hostname if system else socket.gethostname(),
        machine_id_hash=system.machine_id_hash if system else None,
        boot_id=system.boot_id if system else None,
        kernel=system.kernel if system else platform.release(),
        arch=platform.machine(),
        profile=run.profile,
        started_at=clock.rfc3339(run.started_at),
        duration_seconds=round(time.monotonic() - run.started, 3),
        window_seconds=round(sweep.window_seconds, 3),
        complete=sweep.complete,
        partial_reasons=sweep.partial_reasons,
        trigger=run.trigger,
        overhead=overhead,
    )


def _cpu_seconds() -> float:
    """Give the CPU time of the process and of the children it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
