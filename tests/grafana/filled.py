"""A Prometheus database filled with the history, recording rules included."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
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


def database(folder: Path) -> Path:
    """Write the history, import it, and let the rules record what they would have recorded."""
    text, data = folder / "history.om", folder / "data"
    recording = folder / "recording.yml"
    recording.write_text(yaml.safe_dump({"groups": list(_recording())}))
    history.write(text)
    _promtool(
        "create-blocks-from", "openmetrics", f"--max-block-duration={BLOCK}", "-q", text, data
    )
    with running(data) as url:
        _promtool(
            "create-blocks-from", "rules", f"--start={RECORDED_FROM:.0f}",
            f"--end={history.END:.0f}", f"--url={url}", f"--output-dir={folder / 'recorded'}",
            "--eval-interval=60s", recording,
        )  # fmt: skip
    # Prometheus looks for new blocks when it starts.
    for block in (folder / "recorded").iterdir():
        block.rename(data / block.name)
    return data


def _recording() -> Iterator[dict[str, Any]]:
    """Take the recording rules out of the shipped rules; alerts leave no history behind."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        rules = [rule for rule in group["rules"] if "record" in rule]
        if rules:
            yield {"name": group["name"], "rules": rules}


def _promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["promtool", "tsdb", *arguments], capture_output=True, check=False, timeout=IMPORT_SECONDS
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-2000:]
