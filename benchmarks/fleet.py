"""A fleet in one Prometheus: what it costs there, and how soon the dashboard answers."""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.fleet_pages import LOADS, SWEEP, record, serving, spread
from benchmarks.page import Figure, Section, Table, number
from benchmarks.programs import ROOT, fetch, series
from tests.grafana import prometheus

_SCRAPE = 15  # [s]
_REPEATS = 5
_DASHBOARD = ROOT / "grafana/dashboards/fleet.json"
_RULES = ROOT / "grafana/alerts/sysdx.rules.yml"
_OWN = {
    "memory": "process_resident_memory_bytes",
    "CPU": "process_cpu_seconds_total",
    "series": "prometheus_tsdb_head_series",
    "samples": "prometheus_tsdb_head_samples_appended_total",
}


def run(small: bool) -> Section:
    """
    Serve recorded pages as so many hosts to one Prometheus and measure it.

    Args:
        small: Whether to do with a tenth of the hosts.

    Returns:
        What was found.

    """
    hosts, minutes = (50, 2) if small else (500, 6)
    with tempfile.TemporaryDirectory(prefix="sysdx-fleet-") as name:
        folder = Path(name)
        pages = record(folder / "recorded", minutes + 2)
        with serving(pages, hosts) as port:
            config = json.dumps(_config(port, hosts))
            with prometheus.running(folder / "data", config) as url:
                found = _measured(url, hosts, minutes * 60.0)
        found["disk"] = sum(f.stat().st_size for f in (folder / "data").rglob("*") if f.is_file())
    return _section(pages, found, hosts, minutes)


def _config(port: int, hosts: int) -> dict[str, Any]:
    """Write the configuration: each host is a path of one server, by an instance of its own."""
    targets = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {"instance": f"host{n:03}:10987", "__metrics_path__": f"/{n}/metrics"},
        }
        for n in range(hosts)
    ]
    return {
        "global": {"scrape_interval": f"{_SCRAPE}s", "evaluation_interval": "30s"},
        "rule_files": [str(_RULES)],
        "scrape_configs": [{"job_name": "sysdx", "static_configs": targets}],
    }


def _measured(url: str, hosts: int, seconds: float) -> dict[str, Any]:
    """Wait until all hosts are there and so much time has passed, then ask."""
    _await(url, hosts)
    began = time.monotonic()
    before = _own(url)
    time.sleep(seconds)
    after, passed = _own(url), time.monotonic() - began
    _await(url, hosts)
    return {
        "memory": after["memory"],
        "series": after["series"],
        "cpu": (after["CPU"] - before["CPU"]) / passed,
        "rate": (after["samples"] - before["samples"]) / passed,
        "scrape": _value(
            url, f"quantile(0.99, max_over_time(scrape_duration_seconds[{int(seconds)}s]))"
        ),
        "queries": dict(_queries(url, min(seconds, 300.0))),
    }


def _await(url: str, hosts: int) -> None:
    """Wait until every host is up."""
    deadline = time.monotonic() + 120
    while _value(url, 'sum(up{job="sysdx"})') != hosts:
        if time.monotonic() > deadline:
            raise RuntimeError(f"not all of {hosts} hosts are scraped")
        time.sleep(1)


def _own(url: str) -> dict[str, float]:
    """Read what Prometheus says of itself."""
    page = fetch(int(url.rpartition(":")[2])).decode()
    found = {
        name: [float(v) for v in re.findall(rf"^{family}(?:{{.*}})? (\S+)$", page, re.MULTILINE)]
        for name, family in _OWN.items()
    }
    if not all(found.values()):
        raise RuntimeError(f"this Prometheus does not tell all of {', '.join(_OWN.values())}")
    return {name: sum(values) for name, values in found.items()}


def _value(url: str, expression: str) -> float | None:
    """Ask for one number; None when there is none."""
    found = prometheus.instant(url, expression, time.time())
    return float(found[0]["value"][1]) if found else None


def _queries(url: str, seconds: float) -> Iterator[tuple[str, list[float]]]:
    """Time every query of the dashboard over the last minutes; gives panel and times [ms]."""
    dashboard = json.loads(_DASHBOARD.read_text())
    for panel in _panels(dashboard):
        for target in panel.get("targets", ()):
            text = _filled(target["expr"])
            times = []
            for _ in range(_REPEATS):
                began, now = time.perf_counter(), time.time()
                if target.get("instant"):
                    prometheus.instant(url, text, now)
                else:
                    prometheus.ranged(url, text, now - seconds, now, _SCRAPE)
                times.append((time.perf_counter() - began) * 1000)
            yield f"{panel['title']} {target['refId']}", times


def _panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give all panels, those in rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def _filled(expression: str) -> str:
    """Put values in the place of variables, as the dashboard does for all hosts."""
    for name, value in (("__rate_interval", "135s"), ("__interval", "30s"), ("__range", "300s")):
        expression = re.sub(rf"\$({name}\b|\{{{name}\}})", value, expression)
    return re.sub(r"\$\w+|\$\{\w+(:\w+)?\}", ".*", expression)


def _section(
    pages: Mapping[str, list[bytes]], found: Mapping[str, Any], hosts: int, minutes: int
) -> Section:
    """Write what was found."""
    kinds = spread(hosts)
    states = [
        [state, str(kinds.count(state)), number(series(group[-1])),
         number(statistics.median(map(len, group)) / 1000)]
        for state, group in pages.items()
    ]  # fmt: skip
    cost = [
        ["series in memory", number(found["series"]), number(found["series"] / hosts)],
        ["samples a second", number(found["rate"]), number(found["rate"] / hosts)],
        ["memory [MB]", number(found["memory"] / 1e6), number(found["memory"] / hosts / 1e6)],
        ["of one core", f"{found['cpu']:.1%}", f"{found['cpu'] / hosts:.3%}"],
        ["on disk [MB]", number(found["disk"] / 1e6), number(found["disk"] / hosts / 1e6)],
    ]
    slow = sorted(found["queries"].items(), key=lambda item: -statistics.median(item[1]))
    queries = [[name, str(Figure(tuple(times), "ms"))] for name, times in slow]
    return Section(
        f"A fleet of {hosts} hosts",
        f"Pages of the real daemon with all three profiles, recorded on this host in "
        f"{len(LOADS)} states, are served as {hosts} hosts, a new page every {SWEEP:.0f} s, to one "
        f"Prometheus with the alert and recording rules, which scrapes every {_SCRAPE} s for "
        f"{minutes} minutes. Queries are those of the fleet dashboard over the last minutes; each "
        f"is asked {_REPEATS} times.",
        [
            Table(("state", "hosts", "series of a page", "kB of a page"), states),
            Table(("Prometheus", "in all", "a host"), cost),
            Table(("query of the fleet dashboard", "time"), queries),
        ],
        remarks=[
            f"The slowest hundredth of scrapes took {found['scrape'] * 1000:.0f} ms at worst."
        ],
    )
