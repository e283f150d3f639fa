"""
A day and a quarter of three hosts, as Prometheus would have stored it.

The facts are those of a recorded host, changed from sweep to sweep; analysis, state and pages are
the program's own, driven by a fake clock. The first day is healthy, with a quick sweep and a
scrape every quarter of an hour, and every four minutes in its first hour and in the evening. Then
the configuration is read again, quick sweeps and scrapes come every minute, and there are four
incidents. The last half hour of one host is scraped every fifteen seconds.

What is written down ends without a sign, because the import has none: a series that is gone
can still be seen for five minutes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from analysis.assess import assess
from analysis.state import State
from collectors.bpf.probe import discover as discover_probes
from collectors.model import Outcome, Sweep
from collectors.system import SystemSample
from exporter import clock, metrics, report
from exporter.config import Config
from exporter.metrics_totals import Published
from exporter.policy import policy
from tests.grafana.recorded import PROFILES, Condition, Counts, outcomes, recorded

JOB = "sysdx"
HOSTS = ("web-1:10987", "db-1:10987", "ci-1:10987")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
START = 1_772_409_600.0  # 2026-03-02T00:00:00Z
TODAY = START + DAY
END = TODAY + 6 * HOUR
# From here on every scrape of one host is there that a default Prometheus makes.
FINE, FINELY = END - 30 * MINUTE, HOSTS[1]
QUICK, FAST_SCRAPE = 60.0, 15.0
SLOW, SLOWEST = 240.0, 900.0  # on the first day
EVENING = TODAY - 6 * HOUR
SCRAPED = 45.0  # after the full minute [s], when the sweep that began with it has ended


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that goes wrong on one host for a while."""

    name: str
    host: str
    start: float
    end: float
    change: Callable[[Condition], Condition]

    @property
    def middle(self) -> float:
        """Give a moment in it after which two standard sweeps lie in the half hour before."""
        return self.start + 31 * MINUTE + 5


def _disk(now: Condition) -> Condition:
    return replace(now, disk=0.99, disk_queue=70.0, disk_latency=0.25, io_stall=0.8, filled=0.99,
                   io_median=25.5)  # fmt: skip


def _memory(now: Condition) -> Condition:
    return replace(now, memory=0.985, memory_stall=0.5)


def _cpu(now: Condition) -> Condition:
    return replace(now, cpu=0.97, queue=4.0, cpu_stall=0.9, wait_median=23.0)


def _network(now: Condition) -> Condition:
    return replace(now, link=0.6, resent=2_700, dropped=400, connect_median=27.0)


INCIDENTS = (
    Incident("disk", HOSTS[1], TODAY + 1 * HOUR, TODAY + 1.75 * HOUR, _disk),
    Incident("cpu", HOSTS[2], TODAY + 2 * HOUR, TODAY + 2.75 * HOUR, _cpu),
    Incident("memory", HOSTS[1], TODAY + 3 * HOUR, TODAY + 3.75 * HOUR, _memory),
    Incident("network", HOSTS[0], TODAY + 4 * HOUR, TODAY + 4.75 * HOUR, _network),
)
# Sweeps do not end on this host, so that its values are withdrawn.
STALLED = Incident("stalled", HOSTS[2], TODAY + 5 * HOUR, TODAY + 5.25 * HOUR, lambda now: now)
# One sweep in which a collector is late.
LATE = Incident("late", HOSTS[0], TODAY + 0.5 * HOUR, TODAY + 0.5 * HOUR + MINUTE,
                lambda now: replace(now, late="process"))  # fmt: skip


def condition(host: str, when: float) -> Condition:
    """Tell how a host is at a moment: the load of the day, and what goes wrong."""
    phase = 0.1 * HOSTS.index(host)
    day = 0.5 - 0.5 * math.cos(2 * math.pi * ((when - START) / DAY - phase))
    now = Condition(
        cpu=0.1 + 0.3 * day,
        memory=0.35 + 0.15 * day,
        disk=0.05 + 0.1 * day,
        disk_queue=0.1 + 0.4 * day,
        link=0.02 + 0.15 * day,
    )
    for incident in (*INCIDENTS, LATE):
        if incident.host == host and incident.start <= when < incident.end:
            now = incident.change(now)
            if incident.name == "memory" and when == incident.start + 20 * MINUTE:
                now = replace(now, kills=1)
    return now


def slow(when: float) -> float:
    """Tell how far sweeps and scrapes are apart on the first day [s]."""
    return SLOWEST if START + HOUR <= when < EVENING else SLOW


def profile_at(when: float) -> str | None:
    """Tell which sweep begins with a minute."""
    minute = round((when - START) / MINUTE)
    if minute % 360 == 30:
        return "deep"
    if minute % 15 == 7:
        return "standard"
    if minute % 360 == 31:
        return None
    return "quick" if when >= TODAY or (when - START) % slow(when) == 0 else None


class Process:
    """The exporter's own process, as its library tells of it."""

    def __init__(self) -> None:
        self.now = START

    def collect(self):
        run = self.now - START
        cpu = CounterMetricFamily("process_cpu_seconds_total", "CPU time.")
        cpu.add_metric((), 2.0 + 0.004 * run)
        return (
            cpu,
            GaugeMetricFamily("process_resident_memory_bytes", "Memory.", 52e6),
            GaugeMetricFamily("process_start_time_seconds", "Start.", START - HOUR),
            GaugeMetricFamily("process_open_fds", "Files.", 17),
        )


class Host:
    """One host with its exporter, sweep by sweep."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.base = recorded()
        self.policy = policy(Config())
        self.state = State()
        self.counts = Counts()
        self.process = Process()
        self.now = START
        self.exposition = metrics.Exposition("0.1.0", self._intervals(SLOW), self.policy)
        self.exposition._process = self.process
        self.exposition.judged(dict.fromkeys(_named_probes(), (True, "ok")))
        self.exposition.configured(successful=True, at=START - HOUR)

    @staticmethod
    def _intervals(quick: float) -> dict[str, float | None]:
        return {"quick": quick, "standard": 900.0, "deep": 21_600.0}

    def reconfigured(self) -> None:
        """Take over the configuration with more quick sweeps."""
        self.exposition.configured(successful=True, at=TODAY, intervals=self._intervals(QUICK))

    def sweep(self, profile: str, when: float) -> None:
        """Let a sweep find the host in the condition of that moment."""
        self.exposition.started(profile)
        now = condition(self.name, when)
        found = outcomes(self.base, now, self.counts, profile)
        self.examine(profile, when, found, late=now.late)

    def examine(self, profile: str, when: float, found: dict[str, Outcome], late: str = "") -> None:
        """Judge what was found, and publish."""
        settings = PROFILES[profile]
        reasons = (f"{late}: no answer by the deadline",) if late else ()
        seconds = (settings.timeout if late else settings.duration) + 0.4
        swept = Sweep(
            profile, when, when - START, seconds, settings.duration, not late, reasons, found
        )
        assessment, self.state = assess(swept, self.state, self.policy.judging)
        self.now = self.process.now = when + seconds
        built = report.build(self._metadata(swept), swept, assessment)
        ended = "partial" if late else "complete"
        size = 60_000 + 900 * len(assessment.anomalies)
        self.exposition.publish(
            Published(built, size, assessment, self.state, found, ended, self.now)
        )

    def _metadata(self, found: Sweep) -> report.Metadata:
        system = found.sample(SystemSample)
        assert system is not None
        number = f"{round(found.started_monotonic):08x}"
        return report.Metadata(
            report_id=f"{clock.compact(found.started_at)}-{found.profile}-{number}",
            tool="sysdx", version="0.1.0", hostname=self.name.partition(":")[0],
            machine_id_hash=system.machine_id_hash, boot_id=system.boot_id, kernel=system.kernel,
            arch="x86_64", profile=found.profile, started_at=clock.rfc3339(found.started_at),
            duration_seconds=found.seconds, window_seconds=found.window_seconds,
            complete=found.complete, partial_reasons=found.partial_reasons, trigger="schedule",
            overhead=report.Overhead(0.05, 52_000_000),
        )  # fmt: skip


def _named_probes() -> set[str]:
    return {name for _, profile in PROFILES.items() for name in profile.probes}


def pages(host: str) -> Iterator[tuple[float, str]]:
    """Give every scrape of a host: when, and the page."""
    with _clock() as time:
        sut = Host(host)
        time.of = sut
        pending = _sweeps(host)
        for when in _scrapes(host):
            while pending and _ends(*pending[0]) <= when:
                begun, profile = pending.pop(0)
                if begun == TODAY:
                    sut.reconfigured()
                sut.sweep(profile, begun)
            sut.now = when
            yield when, sut.exposition.pages().text.decode()


def _sweeps(host: str) -> list[tuple[float, str]]:
    """Give all sweeps of a host: when each begins, and its profile."""
    minutes = (START + n * MINUTE for n in range(round((END - START) / MINUTE)))
    named = ((when, profile_at(when)) for when in minutes)
    return [(when, name) for when, name in named if name and not _stalls(host, when)]


def _stalls(host: str, when: float) -> bool:
    return host == STALLED.host and STALLED.start <= when < STALLED.end


def _ends(begun: float, profile: str) -> float:
    return begun + PROFILES[profile].duration + 0.4


def _scrapes(host: str) -> list[float]:
    """Tell when Prometheus came by."""
    minutes = (START + n * MINUTE for n in range(round(DAY / MINUTE)))
    first = [m + SCRAPED for m in minutes if (m - START) % slow(m) == 0]
    second = [TODAY + n * MINUTE + SCRAPED for n in range(round((FINE - TODAY) / MINUTE))]
    if host != FINELY:
        more = range(round((END - FINE) / MINUTE))
        return [*first, *second, *(FINE + n * MINUTE + SCRAPED for n in more), END]
    # Scrapes never come at the very moment for which a dashboard asks.
    third = [FINE + 5 + n * FAST_SCRAPE for n in range(round((END - FINE) / FAST_SCRAPE))]
    return [*first, *second, *third]


class _clock:  # noqa: N801  it is used like a function
    """Replace the clocks and the cost of children that the pages are made with."""

    def __enter__(self):
        self.of = SimpleNamespace(now=START)
        fake = SimpleNamespace(monotonic=lambda: self.of.now)
        usage = SimpleNamespace(ru_utime=20.0, ru_stime=3.0, ru_maxrss=130_000)
        cost = SimpleNamespace(
            RUSAGE_CHILDREN=-1,
            getrusage=lambda _: SimpleNamespace(
                ru_utime=usage.ru_utime + 0.0008 * (self.of.now - START),
                ru_stime=usage.ru_stime,
                ru_maxrss=usage.ru_maxrss,
            ),
        )
        self._patches = [
            mock.patch.object(metrics, "time", fake),
            mock.patch.object(metrics, "resource", cost),
            mock.patch.object(clock, "wall", fake.monotonic),
        ]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_):
        for patch in self._patches:
            patch.stop()


SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def _stored(host: str) -> str:
    """Write one host's scrapes as Prometheus names them."""
    parts: list[str] = []
    page, lines = "", []
    own = f'instance="{host}",job="{JOB}"'
    for when, text in pages(host):
        if text is not page and text != page:
            page = text
            named = SERIES.findall(text)
            lines = [f"{n}{{{f'{ls},' if ls else ''}{own}}} {v}" for n, ls, v in named]
        scrape = [
            f"up{{{own}}} 1",
            f"scrape_duration_seconds{{{own}}} 0.004",
            f"scrape_samples_scraped{{{own}}} {len(lines)}",
        ]
        end = f" {when:.0f}\n"
        parts += [end.join((*lines, *scrape)), end]
    return "".join(parts)


def write(path: Path) -> None:
    """Write everything as OpenMetrics with timestamps, for promtool to import."""
    with ProcessPoolExecutor(len(HOSTS), get_context("spawn")) as pool, path.open("w") as out:
        for text in pool.map(_stored, HOSTS):
            out.write(text)
        out.write("# EOF\n")


def named_probes() -> set[str]:
    """Name the probes that the default profiles run, and that thus have been seen."""
    return _named_probes() & set(discover_probes())
