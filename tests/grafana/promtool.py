"""Tests of alert rules, written short, and promtool, which runs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "grafana/alerts/sysdx.rules.yml"
# The rack stands for labels that users give their targets: no alert may lose them.
HOST = {"instance": "h1:10987", "job": "sysdx", "rack": "r1"}

_GRAFANA = "http://localhost:3000/d"
_OF_FLEET = {"SysdxWatchdog", "SysdxAbsent"}
_OF_HOST = {"SysdxHealthCritical", "SysdxHealthDegraded", "SysdxAnomaly", "SysdxHardError"}
_WITHOUT_REPORT = {"SysdxWatchdog", "SysdxAbsent", "SysdxDown", "SysdxUnreliable"}


@dataclass(frozen=True)
class Firing:
    """
    One alert that must fire, and nothing else of its name beside it.

    Attributes:
        times: Such as "10m 15m".
        labels: All of them, without the alert's name.
        summary: As it must be.
        description: As it must be.

    """

    times: str
    labels: Mapping[str, str]
    summary: str
    description: str


@dataclass(frozen=True)
class Case:
    """
    What happens to a host, and which alerts that must lead to.

    Attributes:
        rule: The alert, or the name of what is recorded.
        name: What happens.
        series: Selector to values, in promtool's notation.
        quiet: When the alert must not fire, such as "4m 9m".
        firing: When it must.
        recorded: Time to selector to value, for what is recorded.
        interval: Between two values.

    """

    rule: str
    name: str
    series: Mapping[str, str]
    quiet: str = ""
    firing: Sequence[Firing] = ()
    recorded: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    interval: str = "1m"


def series(name: str, **labels: str) -> str:
    """
    Name a series of the host.

    Args:
        name: The metric.
        labels: More labels, or others than the host's.

    Returns:
        Its selector.

    """
    pairs = ",".join(f'{k}="{v}"' for k, v in (HOST | labels).items())
    return f"{name}{{{pairs}}}"


def counter(steps: Iterable[int]) -> str:
    """
    Write a counter.

    Args:
        steps: By how much it grows from one scrape to the next.

    Returns:
        Its values.

    """
    return " ".join(map(str, accumulate(steps)))


def document(cases: Iterable[Case], rules: Path) -> str:
    """
    Write a file for `promtool test rules`.

    Args:
        cases: What to test.
        rules: The rules under test.

    Returns:
        JSON, which is YAML as well.

    """
    tests = [_test(case) for case in cases]
    return json.dumps(
        {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}, indent=1
    )


def _test(case: Case) -> dict[str, Any]:
    """Write one test."""
    alerts = [(time, []) for time in case.quiet.split()]
    alerts += [(time, [_expected(case.rule, f)]) for f in case.firing for time in f.times.split()]
    return {
        "name": f"{case.rule}: {case.name}",
        "interval": case.interval,
        "input_series": [{"series": s, "values": v} for s, v in case.series.items()],
        "alert_rule_test": [
            {"eval_time": time, "alertname": case.rule, "exp_alerts": expected}
            for time, expected in alerts
        ],
        "promql_expr_test": [
            {
                "expr": case.rule,
                "eval_time": time,
                "exp_samples": [{"labels": s, "value": v} for s, v in samples.items()],
            }
            for time, samples in case.recorded.items()
        ],
    }


def _expected(alert: str, firing: Firing) -> dict[str, Any]:
    """Add the links, which follow from the alert and its target."""
    annotations = {
        "summary": firing.summary,
        "description": firing.description,
        "runbook_url": f"docs/runbooks/{alert}.md",
        "dashboard_url": _dashboard(alert, firing.labels),
    }
    if alert not in _WITHOUT_REPORT:
        annotations["report"] = f"http://{firing.labels['instance']}/report"
    return {"exp_labels": dict(firing.labels), "exp_annotations": annotations}


def _dashboard(alert: str, labels: Mapping[str, str]) -> str:
    if alert in _OF_FLEET:
        return f"{_GRAFANA}/sysdx-fleet"
    which = "sysdx-host" if alert in _OF_HOST else "sysdx-exporter"
    job, instance = (quote(labels[name], safe="") for name in ("job", "instance"))
    return f"{_GRAFANA}/{which}?var-job={job}&var-instance={instance}"


def run_cases(
    folder: Path, cases: Sequence[Case], rules: Path = RULES, binary: str = "promtool"
) -> str:
    """
    Run cases.

    Args:
        folder: Where files may be written.
        cases: What to test.
        rules: The rules under test; those that have no case are left out, which is faster.
        binary: Which promtool to run.

    Returns:
        What it complains about; nothing when all is well.

    """
    names = {case.rule for case in cases}
    groups = yaml.safe_load(rules.read_text())["groups"]
    for group in groups:
        group["rules"] = [r for r in group["rules"] if (r.get("alert") or r["record"]) in names]
    needed = folder / "needed.yml"
    needed.write_text(json.dumps({"groups": [g for g in groups if g["rules"]]}))
    file = folder / "cases.yml"
    file.write_text(document(cases, needed))
    return complaint(binary, "test", "rules", str(file))


def complaint(*command: str, text: str | None = None) -> str:
    """
    Run a checking tool.

    Args:
        command: The tool and its arguments.
        text: What it reads from its standard input.

    Returns:
        What it says when it fails; nothing when it is content.

    """
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=60
    )
    said = f"{done.stdout}{done.stderr}".strip()
    return (said or f"exit code {done.returncode}") if done.returncode else ""
