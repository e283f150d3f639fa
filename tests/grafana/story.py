"""What the shipped rules make of a host that falls ill, dies and recovers."""

from __future__ import annotations

import functools
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.grafana.live import (
    BETWEEN,
    CRITICAL,
    FASTER,
    HEALTHY,
    Exporter,
    Receiver,
    alerting,
    firing,
    get,
    receiving,
    score,
    silenced,
    until,
    watching,
)
from tests.grafana.prometheus import api, instant
from tests.grafana.promtool import RULES

_PAGE, _DOWN = "SysdxHealthCritical", "SysdxDown"
_WATCHDOG = {"SysdxWatchdog"}


@dataclass
class Story:
    """
    What was seen while a host fell ill, died and recovered.

    Attributes:
        version: Of Prometheus.
        pages_of_metrics: What the exporter served in the healthy and in the critical state.
        page: The page as the pager got it.
        report: What stands behind its link.
        silenced_by: Alerts that silenced SysdxAnomaly.
        broken: How a rules file with a typing error failed.
        between: The score near the threshold.
        kept: Whether the page fired, each time it was looked at then.
        resolved: The page as it was taken back.
        died: Alerts that fired after the exporter was gone.
        receivers: Receiver to the names of all alerts it got.

    """

    version: str = ""
    pages_of_metrics: tuple[str, str] = ("", "")
    page: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    silenced_by: list[str] = field(default_factory=list)
    broken: str = ""
    between: float = 0.0
    kept: list[bool] = field(default_factory=list)
    died: set[str] = field(default_factory=set)
    resolved: dict[str, Any] = field(default_factory=dict)
    receivers: dict[str, set[str]] = field(default_factory=dict)


def live(
    folder: Path, prometheus: str = "prometheus", alertmanager: str = "prometheus-alertmanager"
) -> Story:
    """
    Let a host fall ill, die and recover, and see what the alerts make of it.

    Args:
        folder: For all files.
        prometheus: Which Prometheus to run.
        alertmanager: Which Alertmanager to run.

    Returns:
        What was seen.

    """
    story, exporter, rules = Story(), Exporter(folder), RULES.read_text()
    with ExitStack() as stack:
        stack.callback(exporter.stop)
        exporter.start(HEALTHY)
        receiver = stack.enter_context(receiving())
        manager = stack.enter_context(alerting(folder / "alertmanager", receiver, alertmanager))
        good, bad = (
            stack.enter_context(watching(folder / name, text, exporter.address, to, prometheus))
            for name, text, to in [("good", rules, manager), ("bad", broken(rules), None)]
        )
        _falls_ill(story, exporter, (good, bad), receiver, manager)
        _eases(story, exporter, good)
        _dies_and_recovers(story, exporter, good, receiver)
        story.receivers = {name: receiver.names(name) for name in receiver.messages}
    return story


def broken(rules: str) -> str:
    """
    Make a typing error, of the kind that no check of syntax sees.

    Args:
        rules: The rules as they are shipped.

    Returns:
        The same with the wrong name of the score.

    """
    return rules.replace("sysdx_health_score", "sysdx_health_scores")


def _falls_ill(
    story: Story, exporter: Exporter, prometheus: tuple[str, str], receiver: Receiver, manager: str
) -> None:
    good, bad = prometheus
    story.version = api(good, "status/buildinfo")["data"]["version"]
    for url in prometheus:
        until("a score", functools.partial(score, url))
    until("nothing but the watchdog", lambda: firing(good) == _WATCHDOG)
    healthy = get(f"{exporter.url}/metrics").decode()
    exporter.judge_by(CRITICAL)
    page = until("the page", lambda: receiver.got("pager", _PAGE, "firing"))
    story.page, story.report = page, json.loads(get(page["annotations"]["report"]))
    story.pages_of_metrics = healthy, get(f"{exporter.url}/metrics").decode()
    try:
        until("the page by broken rules", lambda: _PAGE in firing(bad), 2)
    except AssertionError as error:
        story.broken = str(error)
    story.silenced_by = until("silence", lambda: silenced(manager, "SysdxAnomaly"))


def _eases(story: Story, exporter: Exporter, prometheus: str) -> None:
    exporter.judge_by(BETWEEN)
    until("a score near the threshold", lambda: (score(prometheus) or 0) > 50)
    # Longer than the window in which the worse score is still remembered.
    ends = time.monotonic() + 1.5 * 300 / FASTER
    while time.monotonic() < ends:
        story.kept.append(_PAGE in firing(prometheus))
        time.sleep(0.1)
    story.between = score(prometheus) or 0.0


def _dies_and_recovers(
    story: Story, exporter: Exporter, prometheus: str, receiver: Receiver
) -> None:
    exporter.stop()
    until("SysdxDown", lambda: _DOWN in firing(prometheus))
    remembered = "instance:sysdx_health_score:last5m"
    until("the score's end", lambda: not instant(prometheus, remembered, time.time()))
    story.died = _lasting(prometheus)
    exporter.start(HEALTHY)
    story.resolved = until("its end", lambda: receiver.got("pager", _PAGE, "resolved"))
    until("all well", lambda: not firing(prometheus) & {_PAGE, _DOWN})


def _lasting(prometheus: str, seconds: float = 1.5) -> set[str]:
    """Tell which alerts fire all the time."""
    ends, lasting = time.monotonic() + seconds, firing(prometheus)
    while time.monotonic() < ends:
        time.sleep(0.1)
        lasting &= firing(prometheus)
    return lasting
