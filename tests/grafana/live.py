"""The real chain on loopback: sysdx, Prometheus, Alertmanager, and what receives its messages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import yaml

from analysis.registry import discover_rules
from tests.grafana.prometheus import api, free_port, instant, running, stop, wait_until_ready
from tests.grafana.promtool import ROOT

ALERTMANAGER = ROOT / "grafana/alertmanager/alertmanager.yml"
PATIENCE = 30.0
# Five minutes become three seconds. The rules are those that are shipped, with other durations.
FASTER = 100
_UNITS = {"s": 1, "m": 60, "h": 3600}
_SCRAPE, _EVALUATE = "500ms", "200ms"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# Two rules that have something to say on every host, and nothing else, so that only these
# thresholds decide the score. The first can cost 67.5 points, the second exactly 25.
_SWITCHES, _TASKS = "context_switches", "task_capacity"
HEALTHY = {_SWITCHES: (1e12, 2e12), _TASKS: (0.9, 0.99)}
CRITICAL = HEALTHY | {_SWITCHES: (1e-3, 2e-3)}
# Between a hundred and a million switches a second this leaves a score between 50 and 60.
BETWEEN = {_SWITCHES: (1e-3, 1e12), _TASKS: (1e-9, 2e-9)}

Thresholds = Mapping[str, tuple[float, float]]
T = TypeVar("T")


def until(what: str, ask: Callable[[], T], seconds: float = PATIENCE) -> T:
    """
    Wait for something.

    Args:
        what: In words, for when it does not come.
        ask: Gives something true when it has come.
        seconds: How long to wait [s].

    Returns:
        What was given.

    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := ask():
                return found
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"it never came: {what}")


def get(url: str, method: str = "GET") -> bytes:
    """
    Ask for a page.

    Args:
        url: Where.
        method: How.

    Returns:
        Its body.

    """
    with _DIRECT.open(urllib.request.Request(url, method=method), timeout=10) as answer:
        body: bytes = answer.read()
    return body


def faster(text: str) -> str:
    """
    Shorten all durations of rules or routes.

    Args:
        text: YAML.

    Returns:
        The same, with every duration and number of seconds divided by FASTER.

    """

    def shorter(duration: re.Match[str]) -> str:
        seconds = int(duration[1]) * _UNITS[duration[2]]
        return f"{max(1000 * seconds // FASTER, 1)}ms"

    text = re.sub(r"\b(\d+)([smh])\b", shorter, text)
    # The seconds that two rules add to an interval.
    return re.sub(r"(?<=\+ )60\b|\b600(?= \+)", lambda n: f"{int(n[0]) / FASTER:g}", text)


class Exporter:
    """
    The real exporter, which sweeps every second.

    Args:
        folder: For its configuration and its log.

    """

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        self._folder = folder
        self._program: subprocess.Popen[bytes] | None = None

    def start(self, thresholds: Thresholds) -> None:
        """Start it, and wait until it has examined the host."""
        self._write(thresholds)
        command = [sys.executable, "-m", "exporter", "serve", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self._program = subprocess.Popen(
                [*command, "--web.listen-address", self.address],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        assert wait_until_ready(self._program, self.url), self._log.read_text()

    def judge_by(self, thresholds: Thresholds) -> None:
        """Put other thresholds in force."""
        self._write(thresholds)
        get(f"{self.url}/-/reload", "POST")

    def stop(self) -> None:
        """End it."""
        if self._program is not None:
            stop(self._program)
            self._program = None

    @property
    def _config(self) -> Path:
        return self._folder / "exporter.yaml"

    @property
    def _log(self) -> Path:
        return self._folder / "exporter.log"

    def _write(self, thresholds: Thresholds) -> None:
        rules: dict[str, dict[str, object]] = {n: {"enabled": False} for n in discover_rules()}
        for name, (warning, critical) in thresholds.items():
            rules[name] = {"warning": warning, "critical": critical}
        quick = {
            "duration": "1s", "sample_interval": "250ms", "timeout": "10s",
            "schedule": {"every": "1s"},
        }  # fmt: skip
        config = {
            "profiles": {
                "quick": quick,
                "standard": {"enabled": False},
                "deep": {"enabled": False},
            },
            "schedule": {"splay": False},
            "rules": rules,
            "analysis": {"raise_sweeps": 1, "of_sweeps": 1, "hold": "0s", "linger": "0s"},
            "metrics": {"stale_after_intervals": 10},
            "store": {"directory": ""},
        }
        self._config.write_text(yaml.safe_dump(config))


@dataclass
class Receiver:
    """
    What Alertmanager's messages are sent to.

    Attributes:
        messages: Receiver to the alerts it got, in their order.
        address: Where it listens.

    """

    messages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    address: str = ""

    def got(self, receiver: str, alert: str, status: str) -> dict[str, Any] | None:
        """Return an alert as it was received."""
        for message in self.messages.get(receiver, []):
            if (message["labels"]["alertname"], message["status"]) == (alert, status):
                return message
        return None

    def names(self, receiver: str) -> set[str]:
        """Return which alerts were received."""
        return {message["labels"]["alertname"] for message in self.messages.get(receiver, [])}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """
    Listen for messages.

    Yields:
        What has come in so far.

    """
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.messages.setdefault(self.path.strip("/"), []).extend(body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def alerting(folder: Path, receiver: Receiver, binary: str) -> Iterator[str]:
    """
    Run Alertmanager with the configuration that is shipped.

    Args:
        folder: For its files.
        receiver: What its messages are sent to.
        binary: Which Alertmanager to run.

    Yields:
        Its address.

    """
    text = faster(ALERTMANAGER.read_text())
    folder.mkdir()
    config = folder / "alertmanager.yml"
    config.write_text(text.replace("127.0.0.1:8080", receiver.address))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        program = subprocess.Popen(
            [
                binary, f"--config.file={config}", f"--storage.path={folder / 'data'}",
                f"--web.listen-address={address}", "--cluster.listen-address=",
            ],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        assert wait_until_ready(program, f"http://{address}"), (folder / "log").read_text()
        yield address
    finally:
        stop(program)


@contextmanager
def watching(
    folder: Path, rules: str, target: str, alertmanager: str | None, binary: str
) -> Iterator[str]:
    """
    Run Prometheus with rules.

    Args:
        folder: For its files.
        rules: The rules, as YAML.
        target: What it scrapes.
        alertmanager: Where it sends alerts.
        binary: Which Prometheus to run.

    Yields:
        Its URL.

    """
    folder.mkdir()
    (folder / "rules.yml").write_text(faster(rules))
    config = {
        "global": {
            "scrape_interval": _SCRAPE,
            "scrape_timeout": _SCRAPE,
            "evaluation_interval": _EVALUATE,
        },
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [{"job_name": "sysdx", "static_configs": [{"targets": [target]}]}],
    }
    if alertmanager:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    arguments = ["--rules.alert.resend-delay=200ms"]
    with running(folder / "tsdb", yaml.safe_dump(config), binary, arguments) as url:
        yield url


def firing(prometheus: str) -> set[str]:
    """
    Tell which alerts fire.

    Args:
        prometheus: Its URL.

    Returns:
        Their names.

    """
    alerts = api(prometheus, "alerts")["data"]["alerts"]
    return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}


def score(prometheus: str) -> float | None:
    """
    Tell which score Prometheus has.

    Args:
        prometheus: Its URL.

    Returns:
        The score, None when there is none.

    """
    found = instant(prometheus, "sysdx_health_score", time.time())
    return float(found[0]["value"][1]) if found else None


def silenced(alertmanager: str, alert: str) -> list[str]:
    """
    Tell which alerts keep another one silent.

    Args:
        alertmanager: Its address.
        alert: The name of the silent one.

    Returns:
        Names of alerts that inhibit it; none when it is not inhibited or not there.

    """
    alerts = json.loads(get(f"http://{alertmanager}/api/v2/alerts"))
    names = {a["fingerprint"]: a["labels"]["alertname"] for a in alerts}
    mine = [a for a in alerts if a["labels"]["alertname"] == alert]
    return [names[by] for a in mine for by in a["status"]["inhibitedBy"]]
