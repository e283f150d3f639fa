"""The composition root: build the service from a configuration, run it, stop it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.registry import discover_rules
from collectors.base import Collector, Paths, discover
from collectors.model import Cause, Outcome, Status
from collectors.system import SystemSample
from exporter import clock
from exporter.config import PROBES, Config, ConfigError, Known, load
from exporter.examine import Examiner, Result, version
from exporter.metrics import Exposition
from exporter.metrics_totals import Published
from exporter.orchestrator import Orchestrator
from exporter.policy import policy
from exporter.probes import BpfProbes
from exporter.scheduler import Schedule, Scheduler
from exporter.status_page import ABSENT, ServiceState
from exporter.store import Store, StoredReport
from exporter.web import Application
from exporter.web_server import WebServer

log = logging.getLogger(__name__)

# SIGTERM to exit takes at most five seconds: one to cancel the sweep, and the
# rest for the web server and for what a stuck collector may still hold up.
_STOP_SWEEP = 2.0
_STOP_WEB = 1.5


def known() -> Known:
    """
    Gather the names a configuration may use.

    Returns:
        Collectors, probes and rules with their default thresholds.

    """
    return Known(
        collectors=frozenset(discover()),
        probes=PROBES,
        rules={r.id: (r.warning, r.critical) for r in discover_rules().values()},
    )


def paths(config: Config) -> Paths:
    """
    Give the collectors' paths.

    Args:
        config: The configuration.

    Returns:
        procfs, sysfs and the root.

    """
    where = config.paths
    return Paths(Path(where.procfs), Path(where.sysfs), Path(where.rootfs))


def collectors(config: Config) -> dict[str, Collector]:
    """
    Give the collectors that a configuration leaves enabled.

    Args:
        config: The configuration.

    Returns:
        dict name -> collector.

    """
    return {n: c for n, c in discover().items() if n not in config.collectors.disabled}


def options(config: Config, **more: Any) -> dict[str, Any]:
    """
    Give the collectors' settings.

    Args:
        config: The configuration.
        more: Further settings, such as filters from the command line.

    Returns:
        dict name -> value.

    """
    process = config.process
    return {"top": process.top, "command_line": process.command_line, **more}


def schedules(config: Config) -> list[Schedule]:
    """
    Give the schedule of each enabled profile.

    Args:
        config: The configuration.

    Returns:
        One schedule per profile.

    """
    return [
        Schedule(name, profile.schedule.every, profile.schedule.cron)
        for name, profile in config.profiles.items()
        if profile.enabled
    ]


@dataclass(frozen=True, slots=True)
class Source:
    """
    Where the configuration comes from.

    Attributes:
        file: The file; None for the defaults.
        changes: Settings from the command line, over those of the file.

    """

    file: Path | None = None
    changes: Mapping[str, Mapping[str, Any]] | None = None

    def read(self) -> Config:
        """
        Read the configuration.

        Returns:
            The file's settings with the command line's over them.

        Raises:
            ConfigError: With every problem at once.

        """
        config = load(self.file, known())
        for section, values in (self.changes or {}).items():
            part = getattr(config, section).model_copy(update=dict(values))
            config = config.model_copy(update={section: part})
        return config


class Service:
    """
    The running exporter.

    Args:
        source: Where the configuration comes from; it is read at once.

    Raises:
        ConfigError: When the configuration has problems.

    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.config = config = source.read()
        self.stopping = threading.Event()
        self._cancelled = threading.Event()
        self._hang_up = threading.Event()
        self._started = clock.rfc3339(clock.wall())
        self._config_problem: str | None = None
        self._outcomes: Mapping[str, Outcome] = {}
        self._sweep_ends = 0.0
        directory = Path(config.store.directory) if config.store.directory else None
        self.store = Store(directory, config.store.keep, config.store.max_size)
        if self.store.problem:
            log.warning("reports are kept in memory only: %s", self.store.problem)
        self._judging = policy(config)
        self.probes = BpfProbes()
        self.examiner = Examiner(
            Orchestrator(collectors(config), paths(config)),
            self._judging,
            self._publish,
            probes=self.probes,
            options=options(config),
        )
        self.scheduler = Scheduler(
            schedules(config), self._sweep, splay_seed=_machine_id(config), splay_cap=300.0
        )
        self.exposition = Exposition(version(), self._intervals(), self._judging)
        app = Application(
            metrics=self.exposition.pages,
            store=self.store,
            state=self._state,
            schema=_schema,
            reload=self.reload,
        )
        web = config.web
        self.web = WebServer(app, web.listen_address, web.max_connections, web.client_timeout)

    def run(self) -> None:
        """
        Serve until a signal comes.

        Raises:
            OSError: When the address cannot be listened on.

        """
        woken = self._catch_signals()
        self.web.start()
        log.info("listening on http://%s", self.web.address)
        self.scheduler.start()
        while not self.stopping.is_set():
            woken.recv(64)
            if self._hang_up.is_set():
                self._hang_up.clear()
                self.reload()
        self._finish()

    def _catch_signals(self) -> socket.socket:
        """Answer signals, and give what the main thread can sleep on until one comes."""
        woken, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.detach(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, lambda *_: self._hang_up.set())
        return woken

    def _stop(self, number: int, _: object) -> None:
        """Answer a signal to stop; a second one ends the program on the spot."""
        if self.stopping.is_set():
            os._exit(128 + number)
        self._cancelled.set()
        self.stopping.set()

    def _finish(self) -> None:
        """Stop sweeping, then serving; whatever hangs is left behind."""
        log.info("stopping")
        if not self.scheduler.stop(_STOP_SWEEP):
            log.warning("a sweep did not end in time and is left behind")
        self.web.stop(_STOP_WEB)

    def reload(self) -> str | None:
        """
        Read the configuration again and put it in force, or keep the old one.

        Returns:
            What is wrong with it; None when it is in force.

        """
        try:
            config = self.source.read()
        except ConfigError as error:
            self._config_problem = str(error)
            log.error("the configuration was not changed:\n%s", error)  # noqa: TRY400  the text says it all
            self.exposition.configured(successful=False, at=clock.wall())
            return self._config_problem
        old = self.config
        if (config.web, config.store, config.log) != (old.web, old.store, old.log):
            log.warning("changes to web, store and log take effect at the next start")
        self._apply(config)
        return None

    def _apply(self, config: Config) -> None:
        """Put a configuration in force; a running sweep observes under the old one."""
        self.config, self._judging, self._config_problem = config, policy(config), None
        examiner = self.examiner
        examiner.orchestrator = examiner.orchestrator.renewed(collectors(config), paths(config))
        examiner.policy, examiner.options = self._judging, options(config)
        self.scheduler.replace(schedules(config))
        self.exposition.configured(
            successful=True,
            at=clock.wall(),
            intervals=self._intervals(),
            policy=self._judging,
        )
        log.info("the configuration was read again")

    def _sweep(self, name: str, trigger: str) -> None:
        """Run one due sweep; the scheduler's thread comes here."""
        profile = dict(self.config.profiles.items())[name]
        self._sweep_ends = time.monotonic() + profile.duration
        self.exposition.skipped(self.scheduler.skipped)
        self.exposition.started(name)
        done = False
        try:
            self.examiner.examine(name, profile, trigger, self._cancelled)
            done = True
        finally:
            if not done:
                self.exposition.failed(name)

    def _publish(self, result: Result) -> None:
        """Show a result on all pages."""
        self._outcomes = result.sweep.outcomes
        cancelled = self._cancelled.is_set()
        if not cancelled:
            # A cancelled sweep saw too little to replace what is served.
            self.store.put(stored(result))
        self.exposition.judged(self.probes.available)
        self.exposition.publish(Published.of(result, cancelled=cancelled))

    def _state(self) -> ServiceState:
        """Tell the web pages how the service is."""
        return ServiceState(
            version=version(),
            hostname=_hostname(self._outcomes),
            started=self._started,
            ready=self.store.newest() is not None,
            stale=self.exposition.stale(),
            next_sweep_seconds=self.scheduler.next_due(),
            running_profile=self.scheduler.running,
            running_seconds_left=max(0.0, self._sweep_ends - time.monotonic()),
            collectors=[(n, _status(o), o.reason) for n, o in self._outcomes.items()],
            config_problem=self._config_problem,
            stopping=self.stopping.is_set(),
        )

    def _intervals(self) -> dict[str, float | None]:
        """Give the time between two sweeps of each enabled profile."""
        return {s.profile: self.scheduler.interval(s.profile) for s in schedules(self.config)}


def stored(result: Result) -> StoredReport:
    """
    Make a result ready to be kept.

    Args:
        result: The result.

    Returns:
        Its JSON with what identifies it.

    """
    metadata = result.report.metadata
    return StoredReport(
        report_id=metadata.report_id,
        profile=metadata.profile,
        started_at=metadata.started_at,
        complete=metadata.complete,
        health_score=result.assessment.health_score,
        size_bytes=len(result.body),
        body=result.body,
    )


def _schema() -> bytes:
    """Describe reports; imported on demand, because it would cost memory for ever."""
    from exporter.report_schema import text

    return text()


def _machine_id(config: Config) -> bytes:
    """Read what the splay is derived from; without it the host name must do."""
    if not config.schedule.splay:
        return b""
    try:
        return (Path(config.paths.rootfs) / "etc/machine-id").read_bytes().strip()
    except OSError:
        return socket.gethostname().encode()


def _status(outcome: Outcome) -> str:
    """Give a collector's status; what this host does not have is no failure."""
    absent = outcome.status is Status.UNAVAILABLE and outcome.cause is Cause.ABSENT
    return ABSENT if absent else str(outcome.status)


def _hostname(outcomes: Mapping[str, Outcome]) -> str:
    """Give the host's name as the newest sweep has it."""
    for outcome in outcomes.values():
        if isinstance(outcome.data, SystemSample):
            return outcome.data.hostname
    return socket.gethostname()
