"""The example for Alertmanager: sound, and every alert goes where it should."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml

from tests.grafana.live import ALERTMANAGER
from tests.grafana.promtool import RULES, complaint

ALERTS = {
    rule["alert"]: rule["labels"]["severity"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
CONFIG = yaml.safe_load(ALERTMANAGER.read_text())
RECEIVERS = {"none": "deadman", "info": "nobody", "warning": "team", "critical": "pager"}
pytestmark = pytest.mark.skipif(not shutil.which("amtool"), reason="Alertmanager is not installed")


def route(name, severity, receiver, file=ALERTMANAGER):
    return complaint(
        "amtool", "config", "routes", "test", f"--config.file={file}",
        f"--verify.receivers={receiver}", f"alertname={name}", f"severity={severity}",
        "job=sysdx", "instance=h1:10987",
    )  # fmt: skip


def test_it_is_sound():
    assert complaint("amtool", "check-config", str(ALERTMANAGER)) == ""


def test_one_that_is_not_sound_is_told(tmp_path):
    bad = tmp_path / "bad.yml"
    bad.write_text(ALERTMANAGER.read_text().replace("receiver: nobody", "receiver: somebody"))
    assert "somebody" in complaint("amtool", "check-config", str(bad))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_goes_to_its_receiver_and_to_no_other(name):
    receiver = RECEIVERS[ALERTS[name]]
    assert route(name, ALERTS[name], receiver) == ""
    for other in set(RECEIVERS.values()) - {receiver}:
        assert route(name, ALERTS[name], other) != "", other


def test_a_route_that_is_broken_is_told(tmp_path):
    bad = tmp_path / "bad.yml"
    bad.write_text(ALERTMANAGER.read_text().replace('severity = "critical"', 'severity = "page"'))
    assert route("SysdxHealthCritical", "critical", "pager", bad) != ""


def test_every_alert_that_is_named_exists():
    def named(matchers):
        for matcher in matchers:
            label, operator, value = re.fullmatch(r'(\w+) (=~?) "(.*)"', matcher).groups()
            assert label in ("alertname", "severity")
            known = ALERTS if label == "alertname" else ALERTS.values()
            found = {
                n for n in known if re.fullmatch(value if operator == "=~" else re.escape(value), n)
            }
            assert found, matcher
            # Each alternative of a pattern is there for something.
            for part in re.sub(r"^\w+\(|\)$", "", value).split("|") if "(" in value else []:
                assert any(re.fullmatch(f"Sysdx{part}", n) for n in found), part
            yield from found

    for route_ in CONFIG["route"]["routes"]:
        assert list(named(route_["matchers"]))
    for rule in CONFIG["inhibit_rules"]:
        silent = set(named(rule["target_matchers"]))
        assert not silent & set(named(rule["source_matchers"]))
        assert not silent & {"SysdxHealthCritical", "SysdxWatchdog", "SysdxHardError"}
        assert rule["equal"] == ["job", "instance"]
