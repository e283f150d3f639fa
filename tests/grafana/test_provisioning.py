"""A mounted folder is enough: the files fit together, and every path in them exists."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from exporter.app import known
from exporter.config import load
from tests.grafana.promtool import ROOT, RULES, complaint

GRAFANA = ROOT / "grafana"
COMPOSE = GRAFANA / "compose.yaml"
SERVICES = yaml.safe_load(COMPOSE.read_text())["services"]
PROMETHEUS = yaml.safe_load((GRAFANA / "prometheus.yml").read_text())
DATASOURCES = {
    source["type"]: source
    for source in yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
}
(PROVIDER,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/sysdx.yml").read_text())[
    "providers"
]
# Where Grafana and the others look in their images.
MOUNTED = {
    "prometheus": "/etc/prometheus/prometheus.yml",
    "alertmanager": "/etc/alertmanager/alertmanager.yml",
    "grafana": "/etc/grafana/provisioning",
}


def mounts(service):
    """Source, target and options of each mount."""
    return [(*volume.split(":"), "")[:3] for volume in SERVICES[service].get("volumes", [])]


def listens(service):
    """Where a service listens, as its settings say."""
    if service == "grafana":
        settings = SERVICES[service]["environment"]
        return f"{settings['GF_SERVER_HTTP_ADDR']}:{settings['GF_SERVER_HTTP_PORT']}"
    if service == "sysdx":
        return load(None, known()).web.listen_address
    (option,) = (o for o in SERVICES[service]["command"] if o.startswith("--web.listen-address="))
    return option.split("=")[1]


def local(address):
    return address.replace("127.0.0.1", "localhost")


def test_prometheus_takes_its_configuration(tmp_path):
    (tmp_path / "alerts").mkdir()
    shutil.copy(RULES, tmp_path / "alerts")
    shutil.copy(GRAFANA / "prometheus.yml", tmp_path)
    command = ["promtool", "check", "config"]
    assert complaint(*command, str(tmp_path / "prometheus.yml")) == ""
    (tmp_path / "alerts/sysdx.rules.yml").unlink()
    assert "sysdx.rules.yml" in complaint(*command, str(tmp_path / "prometheus.yml"))


def test_the_job_is_one_that_the_alerts_look_for():
    (job,) = PROMETHEUS["scrape_configs"]
    (pattern,) = set(re.findall(r'job=~"([^"]+)"', RULES.read_text()))
    assert re.fullmatch(pattern, job["job_name"])


def test_the_datasource_has_the_interval_of_the_scrapes():
    interval = DATASOURCES["prometheus"]["jsonData"]["timeInterval"]
    assert interval == PROMETHEUS["global"]["scrape_interval"]


def test_the_addresses_fit_together():
    (job,), (managers,) = PROMETHEUS["scrape_configs"], PROMETHEUS["alerting"]["alertmanagers"]
    assert job["static_configs"][0]["targets"] == [local(listens("sysdx"))]
    assert managers["static_configs"][0]["targets"] == [local(listens("alertmanager"))]
    for kind, service in (("prometheus", "prometheus"), ("alertmanager", "alertmanager")):
        assert DATASOURCES[kind]["url"] == f"http://{local(listens(service))}"
    links = set(re.findall(r"dashboard_url: (http://[^/]+)/", RULES.read_text()))
    assert links == {f"http://{local(listens('grafana'))}"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_listens_on_loopback_only(service):
    assert SERVICES[service]["network_mode"] == "host"
    assert listens(service).startswith("127.0.0.1:")


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_mounts_is_there(service):
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    sources = [source for source, _, _ in mounts(service)]
    assert sources
    for source in sources:
        there = source == "/" or source in volumes or (GRAFANA / source).exists()
        assert there, source
        assert not source.startswith("..")
    ours = [options for source, _, options in mounts(service) if source.startswith((".", "/"))]
    assert all("ro" in options.split(",") for options in ours)


@pytest.mark.parametrize(("service", "target"), MOUNTED.items())
def test_a_service_finds_its_settings(service, target):
    assert target in [where for _, where, _ in mounts(service)]
    if service != "grafana":
        assert f"--config.file={target}" in SERVICES[service]["command"]


def test_prometheus_finds_the_rules():
    inside = {where: GRAFANA / source for source, where, _ in mounts("prometheus")}
    for pattern in PROMETHEUS["rule_files"]:
        folder, name = pattern.split("/")
        assert (inside[f"/etc/prometheus/{folder}"] / name).samefile(RULES)


def test_grafana_finds_the_dashboards():
    (source,) = (s for s, where, _ in mounts("grafana") if where == PROVIDER["options"]["path"])
    uids = {json.loads(f.read_text())["uid"] for f in (GRAFANA / source).glob("*.json")}
    linked = set(re.findall(r"/d/([\w-]+)", RULES.read_text()))
    assert linked <= uids


@pytest.mark.parametrize("service", set(SERVICES) - {"sysdx"})
def test_an_image_has_a_fixed_version(service):
    assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", SERVICES[service]["image"])


def test_what_the_image_of_sysdx_is_made_of_is_there():
    build = SERVICES["sysdx"]["build"]
    context = (GRAFANA / build["context"]).resolve()
    assert context == ROOT
    file = context / build["dockerfile"]
    copied = [
        name for line in file.read_text().splitlines() if line.startswith("COPY ")
        for name in line.split()[1:-1]
    ]  # fmt: skip
    sent = (file.parent / f"{file.name}.dockerignore").read_text().splitlines()
    assert copied
    for name in copied:
        assert (context / name).exists(), name
        assert f"!{name}" in sent, name


def test_the_image_serves_the_host_that_is_mounted():
    (host,) = (where for source, where, _ in mounts("sysdx") if source == "/")
    (line,) = re.findall("^ENTRYPOINT (.*)$", (GRAFANA / "Dockerfile").read_text(), re.MULTILINE)
    words = json.loads(line)
    settings = dict(zip(words[2::2], words[3::2], strict=True))
    paths = [settings[f"--path.{name}"] for name in ("procfs", "sysfs", "rootfs")]
    assert paths == [f"{host}/proc", f"{host}/sys", host]
    assert (ROOT / settings["--config"]).exists()


@pytest.mark.parametrize("file", [COMPOSE, GRAFANA / "Dockerfile", GRAFANA / "README.md"])
def test_it_is_said_that_the_containers_are_not_run(file: Path):
    assert "not run in our tests" in " ".join(file.read_text().lower().replace("#", "").split())
