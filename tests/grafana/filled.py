"""A Prometheus database filled with the history, and what the shipped rules make of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.grafana import history
from tests.grafana.prometheus import running
from tests.grafana.scrape import RULES

IMPORT_SECONDS = 120
BLOCK = "162h"  # one block for all: the import reads the whole text once per block
# Rules are recorded for what dashboards show of them: six hours before each moment looked at.
RECORDED_FROM = history.TODAY - 7.5 * history.HOUR
_OF_HOSTS = {"SysdxHealthCritical", "SysdxHealthDegraded", "SysdxAnomaly"}


def database(folder: Path) -> Path:
    """Write the history, import it, and let the rules record what they would have recorded."""
    text, data = folder / "history.om", folder / "data"
    made, recorded = folder / "rules.yml", folder / "recorded"
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [*_recording(groups), *_alerts(groups)]
    made.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    history.write(text)
    _promtool(
        "create-blocks-from", "openmetrics", f"--max-block-duration={BLOCK}", "-q", text, data
    )
    with running(data) as url:
        _promtool(
            "create-blocks-from", "rules", f"--start={RECORDED_FROM:.0f}",
            f"--end={history.END:.0f}", f"--url={url}", f"--output-dir={recorded}",
            "--eval-interval=60s", made,
        )  # fmt: skip
    # Prometheus looks for new blocks when it starts.
    for block in recorded.iterdir():
        block.rename(data / block.name)
    return data


def _recording(groups: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Take the recording rules out of the shipped rules."""
    return (rule for group in groups for rule in group["rules"] if "record" in rule)


def _alerts(groups: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """
    Write alerts as rules that record what Prometheus does while they fire.

    Nobody records them afterwards otherwise. How long one goes on firing is left out.
    """
    for rule in (rule for group in groups for rule in group["rules"]):
        if rule.get("alert") in _OF_HOSTS:
            labels = {"alertname": rule["alert"], "alertstate": "firing", **rule["labels"]}
            waits = int(rule["for"].removesuffix("m"))
            lasting = f"count_over_time(({rule['expr']})[{waits}m:1m]) >= {waits}"
            yield {"record": "ALERTS", "expr": lasting, "labels": labels}


def _promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["promtool", "tsdb", *arguments], capture_output=True, check=False, timeout=IMPORT_SECONDS
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-2000:]
