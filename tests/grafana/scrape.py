"""The vocabulary of dashboards: what the real program exposes, and what is made of it by rules."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from collectors.bpf.probe import discover as discover_probes
from collectors.model import Outcome, Status
from exporter.one_shot import once
from tests.grafana import history, recorded

ROOT = Path(__file__).parents[2]
RULES = ROOT / "grafana/alerts/sysdx.rules.yml"
CONFIG = """
collectors: {disabled: [kernel_log, nic, qdisc, time_sync]}
store: {directory: ""}
profiles:
  quick: {duration: 1s, sample_interval: 1s, timeout: 20s}
"""


@dataclass
class Metric:
    """What is known of a metric: its type, and the values of its labels."""

    type: str
    labels: dict[str, set[str]] = field(default_factory=dict)


Vocabulary = dict[str, Metric]


def swept() -> str:
    """Run the program itself, once, over the recorded host."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(CONFIG)
        fixture = recorded.FIXTURE
        done = subprocess.run(
            [sys.executable, "-m", "exporter", "sweep", "--format", "prom", "--config", config,
             "--path.procfs", fixture / "proc", "--path.sysfs", fixture / "sys",
             "--path.rootfs", fixture / "root"],
            cwd=ROOT, capture_output=True, check=False, timeout=50,
        )  # fmt: skip
    assert done.returncode in (0, 1, 2), done.stderr
    return done.stdout.decode()


def troubled() -> str:
    """Publish sweeps of a host in trouble in which every probe has seen something."""
    with history._clock() as time:
        sut = history.Host(history.HOSTS[0])
        time.of = sut
        sut.policy = once(sut.policy)
        sut.exposition.configured(successful=True, at=history.START, policy=_all_probes(sut.policy))
        sut.exposition.judged(dict.fromkeys(discover_probes(), (True, "ok")))
        sut.exposition.judged({"oomkill": (False, "no_btf")})
        for number, incident in enumerate(history.INCIDENTS):
            sut.name = incident.host
            sut.sweep("deep", incident.start + number)
        worst = recorded.outcomes(sut.base, _worst(), sut.counts, "quick")
        samples = {s.probe: _outcome(s) for s in recorded.every_probe()}
        sut.examine("deep", history.END, {**worst, **samples})
        return sut.exposition.pages().text.decode()


def _all_probes(chosen):
    return replace(chosen, unused_probes=())


def _worst() -> recorded.Condition:
    now = recorded.Condition(late="process")
    for incident in history.INCIDENTS:
        now = incident.change(now)
    return replace(now, disk_queue=math.nan)  # what is no number is dropped, and counted


def _outcome(sample) -> Outcome:
    return Outcome(sample.probe, "cpu", "deep", False, Status.OK, None, None, 0.0, 60.0, sample)


def _read(text: str) -> Iterator[tuple[str, Metric]]:
    for family in parse(text):
        for sample in family.samples:
            yield sample.name, Metric(family.type, {k: {v} for k, v in sample.labels.items()})


def _add(known: Vocabulary, name: str, more: Metric) -> None:
    metric = known.setdefault(name, Metric(more.type))
    for label, values in more.labels.items():
        metric.labels.setdefault(label, set()).update(values)


@cache
def vocabulary() -> Vocabulary:
    """Gather every metric, label and value that the program and the recording rules give."""
    known: Vocabulary = {}
    for text in (swept(), troubled()):
        for name, metric in _read(text):
            _add(known, name, metric)
    for name, metric in (*_recorded(known), *_of_prometheus()):
        _add(known, name, metric)
    for metric in known.values():
        metric.labels.setdefault("job", set())
        metric.labels.setdefault("instance", set())
    return known


def _recorded(known: Vocabulary) -> list[tuple[str, Metric]]:
    """Read which series rules record; they have the labels of what they are made of."""
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    found = []
    for rule in (r for g in groups for r in g["rules"] if "record" in r):
        gone: set[str] = set()
        names: list[str] = []

        def look(node: Any, gone: set[str] = gone, names: list[str] = names) -> None:
            if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
                gone.update(node.modifier.labels)
            if isinstance(node, promql_parser.VectorSelector):
                names.append(node.name)

        promql_parser.walk(promql_parser.parse(rule["expr"]), look)
        labels = {k: v for n in names for k, v in known[n].labels.items() if k not in gone}
        found.append((rule["record"], Metric("gauge", labels)))
    return found


def _of_prometheus() -> list[tuple[str, Metric]]:
    """Tell what Prometheus itself adds for each target and each alert."""
    rules = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {r["alert"] for g in rules for r in g["rules"] if "alert" in r}
    own = ("up", "scrape_duration_seconds", "scrape_samples_scraped")
    labels = {"alertname": alerts, "alertstate": {"firing", "pending"}, "severity": {"warning"}}
    return [*((name, Metric("gauge")) for name in own), ("ALERTS", Metric("gauge", labels))]
