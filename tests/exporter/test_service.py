"""The running program, as its users meet it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "exporter"]
CONFIG = """
profiles:
  quick: {duration: 1s, sample_interval: 250ms, timeout: 5s, schedule: {every: 2s}}
  standard: {enabled: false}
  deep: {enabled: false}
store: {directory: ""}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def get(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def wait_for(port, path, wanted=200, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            status, headers, body = get(port, path)
            if status == wanted:
                return headers, body
        time.sleep(0.05)
    raise AssertionError(f"{path} never answered {wanted}")


@contextlib.contextmanager
def service(tmp_path, config=CONFIG, *more):
    file, port = tmp_path / "config.yaml", free_port()
    file.write_text(config)
    address = ["--web.listen-address", f"127.0.0.1:{port}"]
    log = (tmp_path / "log").open("w+b")
    program = subprocess.Popen(
        [*PROGRAM, "serve", "--config", str(file), *address, *more], cwd=ROOT, stderr=log
    )
    try:
        wait_for(port, "/-/healthy")
        yield port, program, file
    finally:
        if program.poll() is None:
            program.terminate()
        program.wait(10)
        log.close()


def run(*arguments, **settings):
    return subprocess.run(
        [*PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, **settings
    )


def test_a_diagnosis_is_served_from_start_to_end(tmp_path):
    with service(tmp_path) as (port, program, _):
        status, headers, body = get(port, "/report")
        if status == 503:
            assert int(headers["Retry-After"]) >= 1
            assert "error" in json.loads(body)
        assert get(port, "/metrics")[0] == 200
        headers, body = wait_for(port, "/report")
        report = json.loads(body)
        schema = json.loads(get(port, "/report/schema")[2])
        jsonschema.validate(report, schema)
        assert report["metadata"]["complete"], report["metadata"]["partial_reasons"]
        assert report["summary"]["coverage"] == 1.0
        wait_for(port, "/-/ready")
        text = get(port, "/metrics")[2].decode()
        openmetrics = get(port, "/metrics", Accept="application/openmetrics-text")[2].decode()
        values = {s.name: s.value for f in parse_text(text) for s in f.samples if not s.labels}
        assert values["sysdx_health_coverage_ratio"] == 1.0
        lines = [x for x in text.splitlines() if not x.startswith("#")]
        assert values["sysdx_series"] == len(lines) <= 600
        assert len({x.rpartition(" ")[0] for x in lines}) == len(lines)
        assert list(parse_openmetrics(openmetrics))
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (checked.stdout, checked.stderr) == ("", "")
        program.send_signal(signal.SIGTERM)
        assert program.wait(5) == 0


def test_a_second_sweep_follows_and_every_rule_is_shown(tmp_path):
    with service(tmp_path) as (port, _, _):
        first = json.loads(wait_for(port, "/report")[1])["metadata"]["report_id"]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            second = json.loads(get(port, "/report")[2])
            if second["metadata"]["report_id"] != first:
                break
            time.sleep(0.2)
        assert second["metadata"]["report_id"] > first
        text = get(port, "/metrics")[2].decode()
        shown = {
            s.labels["rule"]
            for f in parse_text(text)
            for s in f.samples
            if s.name == "sysdx_anomaly_active"
        }
        assert shown == set(second["summary"]["rules"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay", [0.0, 0.4, 1.2])
def test_a_signal_in_the_middle_of_a_sweep_ends_it_within_five_seconds(tmp_path, number, delay):
    slow = CONFIG.replace("duration: 1s", "duration: 60s").replace("timeout: 5s", "timeout: 70s")
    with service(tmp_path, slow.replace("every: 2s", "every: 90s")) as (_, program, _):
        time.sleep(delay)
        program.send_signal(number)
        assert program.wait(5) == 0


def test_a_bad_reload_keeps_the_good_configuration_and_says_so(tmp_path):
    with service(tmp_path) as (port, _, file):
        file.write_text(CONFIG + "\nnonsense: 1\n")
        status, _, body = get(port, "/-/reload", "POST")
        assert status == 500
        assert b"nonsense" in body
        text = get(port, "/metrics")[2]
        assert b"sysdx_config_last_reload_successful 0.0" in text
        file.write_text(CONFIG)
        assert get(port, "/-/reload", "POST")[0] == 200
        assert b"sysdx_config_last_reload_successful 1.0" in get(port, "/metrics")[2]


def test_a_configuration_with_problems_starts_nothing(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "profiles:\n  quick: {duration: 10s, timeout: 5s}\ncollectors: {disabled: [cpuu]}\n"
    )
    done = run("serve", "--config", str(file))
    assert done.returncode == 78
    assert "config.yaml:2" in done.stderr
    assert "cpu" in done.stderr
    assert run("check-config", "--config", str(file)).returncode == 78


def test_a_taken_port_is_told_with_the_way_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        file = tmp_path / "config.yaml"
        file.write_text(CONFIG)
        done = run("serve", "--config", str(file), "--web.listen-address", address)
    assert done.returncode == 69
    assert "--web.listen-address" in done.stderr


@pytest.mark.parametrize("arguments", [["swep"], ["sweep", "--profile", "x"], ["--nonsense"]])
def test_wrong_usage_is_64_and_no_verdict(arguments):
    assert run(*arguments).returncode == 64


def test_one_sweep_prints_a_readable_verdict():
    done = run("sweep", "--duration", "1", "--format", "text")
    assert done.returncode in (0, 1, 2)
    assert "USE\n" in done.stdout
    assert "score" in done.stdout
    assert "collect" in done.stderr


def test_one_sweep_as_a_page_of_metrics_is_whole():
    done = run("sweep", "--duration", "1", "--format", "prom")
    names = {s.name for f in parse_text(done.stdout) for s in f.samples}
    assert {"sysdx_health_score", "sysdx_anomaly_active", "sysdx_build_info"} <= names


def test_an_interrupted_sweep_writes_what_it_has_and_marks_it(tmp_path):
    output = tmp_path / "report.json"
    program = subprocess.Popen(
        [*PROGRAM, "sweep", "--duration", "60", "--output", str(output)], cwd=ROOT
    )
    time.sleep(2.5)
    program.send_signal(signal.SIGINT)
    assert program.wait(5) == 130
    metadata = json.loads(output.read_bytes())["metadata"]
    assert metadata["complete"] is False
    assert metadata["partial_reasons"][0].startswith("cancelled after")


def test_an_unwritable_output_is_told(tmp_path):
    done = run("sweep", "--duration", "1", "--output", str(tmp_path / "no" / "file"))
    assert done.returncode == 73
    assert "no/file" in done.stderr


def test_the_tables_list_what_is_there():
    rules = json.loads(run("rules", "--format", "json").stdout)
    names = json.loads(run("collectors", "--format", "json").stdout)
    assert {"cpu_pressure", "run_queue"} <= {r["id"] for r in rules}
    assert {"cpu", "pressure"} <= {c["name"] for c in names}
    assert "cpu_pressure" in run("rules").stdout
    assert "pressure" in run("collectors").stdout


def test_the_doctor_says_what_an_ordinary_user_lacks():
    done = run("doctor", user=65534, group=65534, extra_groups=[])
    assert done.returncode == 0
    assert "Not running as root" in done.stdout


def test_an_ordinary_user_gets_a_diagnosis_with_its_gaps_named(tmp_path):
    done = run("sweep", "--duration", "1", user=65534, group=65534, extra_groups=[])
    report = json.loads(done.stdout)
    assert report["summary"]["coverage"] == 1.0
    entries = [e for part in report["categories"].values() for e in part]
    partial = [e for e in entries if e["status"] == "partial"]
    assert any("CAP_" in (e["reason"] or "") for e in partial)


def test_a_secret_on_a_command_line_is_in_no_output(tmp_path):
    secret = "hunter2-correct-horse"
    holder = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(30)", f"--password={secret}"],
        env=os.environ | {"TOKEN": secret},
    )
    try:
        done = run("sweep", "--duration", "1", "--profile", "deep")
    finally:
        holder.kill()
        holder.wait()
    assert secret not in done.stdout + done.stderr
