"""
The whole program over a small recorded host, held against a committed page.

After an intended change of the page:
SYSDX_UPDATE_GOLDEN=1 .venv/bin/pytest -q tests/exporter/test_golden.py, then read the diff.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import jsonschema
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.app import Source, collectors, options, paths
from exporter.examine import Examiner
from exporter.metrics import Exposition
from exporter.metrics_totals import Published
from exporter.one_shot import once
from exporter.orchestrator import Orchestrator
from exporter.policy import policy

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests/fixtures/small"
GOLDEN = ROOT / "tests/fixtures/small.prom"
BUDGET = 600  # series of the default configuration

# These ask the kernel itself, which no fixture can stand in for.
CONFIG = """
collectors: {disabled: [kernel_log, nic, qdisc, time_sync]}
store: {directory: ""}
profiles:
  quick: {duration: 2s, sample_interval: 1s, timeout: 20s, schedule: {every: 60s}}
  standard: {enabled: false}
  deep: {enabled: false}
"""
# What depends on the time, on the program's own cost, or on the file system that
# the fixture lies on; such a series must be there, whatever its value.
VARIES = re.compile(
    r"process_|sysdx_(collector_duration|report_size|series|worker_|sweep_duration"
    r"|resource_utilization_sample)|\w+_timestamp_seconds"
    r"|sysdx_resource_utilization\w*\{.*resource=\"filesystem\""
)
# Not every file system counts inodes.
DEPENDS = re.compile(r'resource="filesystem",signal="inodes"|process_')
# Names that no checkout could hold, so they are made where they are used.
HOSTILE_FOLDERS = [
    b'sys/fs/cgroup/ev"il\\\xff\n.service',
    b'sys/class/net/od"d\\\xff\x1b',
    b"root/mnt/a\nsysdx_health_score 0",
    b'root/mnt/quo"te\\',
    b"root/mnt/\xff\xfe\x1b[31m",
]
GROUP = "sys/fs/cgroup/system.slice/nginx.service"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A writable copy of the recorded host, with names that a checkout cannot hold."""
    copy = tmp_path_factory.mktemp("golden") / "host"
    shutil.copytree(FIXTURE, copy)
    for name in HOSTILE_FOLDERS:
        os.makedirs(os.fsencode(copy) + b"/" + name, exist_ok=True)  # noqa: PTH103  Path has no bytes
    group, evil = os.fsencode(copy / GROUP), os.fsencode(copy) + b"/" + HOSTILE_FOLDERS[0]
    shutil.copytree(group, evil, dirs_exist_ok=True)
    (copy / "config.yaml").write_text(CONFIG)
    return copy


def where(host):
    return [
        "--config", host / "config.yaml", "--path.procfs", host / "proc",
        "--path.sysfs", host / "sys", "--path.rootfs", host / "root",
    ]  # fmt: skip


def sweep(host, form):
    """Run the whole program; half-way through the window a quarter of the CPU time was busy."""
    program = subprocess.Popen(
        [sys.executable, "-m", "exporter", "sweep", "--format", form, *where(host)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    told = []

    def follow():
        for line in program.stderr:
            told.append(line)
            if line.endswith(b" collect\n"):
                time.sleep(0.7)
                tick(host)

    watcher = threading.Thread(target=follow)
    watcher.start()
    body = program.stdout.read()
    program.wait(30)
    watcher.join(5)
    program.stdout.close()
    program.stderr.close()
    return program.returncode, body, b"".join(told)


def tick(host):
    lines = (FIXTURE / "proc/stat").read_text().splitlines(keepends=True)
    for place, busy, idle in ((0, 100, 300), (1, 100, 100), (2, 0, 200)):
        name, user, nice, system, rest, *more = lines[place].split()
        changed = [name, str(int(user) + busy), nice, system, str(int(rest) + idle), *more]
        lines[place] = " ".join(changed) + "\n"
    new = host / "proc/stat.new"
    new.write_text("".join(lines))
    new.replace(host / "proc/stat")


@pytest.fixture(scope="module")
def page(host):
    shutil.copy(FIXTURE / "proc/stat", host / "proc/stat")
    code, body, told = sweep(host, "prom")
    assert code == 0, told
    return body.decode()


def steady(page):
    """Leave out what depends on time and machine."""
    kept = []
    for line in page.splitlines():
        if DEPENDS.search(line):
            continue
        name, value = (line, "") if line.startswith("#") else line.rsplit(" ", 1)
        name = re.sub(r'(report_id|python|version)="[^"]*"', r'\1="..."', name)
        kept.append(f"{name} {'...' if VARIES.match(line) and value else value}".rstrip())
    return "\n".join(kept) + "\n"


def test_the_page_is_the_golden_one(page):
    if os.environ.get("SYSDX_UPDATE_GOLDEN"):
        GOLDEN.write_text(steady(page))
    assert steady(page).splitlines() == GOLDEN.read_text().splitlines(), __doc__


def test_the_numbers_are_those_of_the_files(page):
    values = {
        (s.name, s.labels.get("resource"), s.labels.get("device")): s.value
        for f in parse_text(page)
        for s in f.samples
    }
    use = "sysdx_resource_utilization_ratio"
    assert values[use, "cpu", ""] == 0.25
    assert values[use, "cpu", "cpu0"] == 0.5
    assert values[use, "cpu", "cpu1"] == 0.0
    assert values[use, "disk", "sda"] == 0.0
    # 100 MiB less 25 MiB of page cache that can go at once, of 1 GiB
    assert values[use, "container", "postgresql.service:memory"] == 75 / 1024
    assert ("sysdx_resource_queue_length", "disk", "sda") in values


def test_hostile_names_of_every_kind_are_on_the_page_and_forge_no_line(page):
    devices = {
        (s.labels["resource"], s.labels["device"])
        for f in parse_text(page)
        for s in f.samples
        if s.labels.get("device")
    }
    assert ("disk", 'odd"disk\\name') in devices
    assert ("network", 'od"d\\\ufffd\\x1b') in devices
    assert ("filesystem", "/mnt/a\\x0asysdx_health_score 0") in devices
    assert ("filesystem", '/mnt/quo"te\\') in devices
    assert ("filesystem", "/mnt/\ufffd\ufffd\\x1b[31m") in devices
    assert any(kind == "container" and 'ev"il' in name for kind, name in devices)
    lines = [line for line in page.split("\n") if line and not line.startswith("#")]
    assert [line for line in lines if line.startswith("sysdx_health_score")] == [
        "sysdx_health_score 100.0"
    ]
    assert all(re.match(r"(sysdx|process)_\w+(\{| )", line) for line in lines)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", page)


def test_promtool_has_nothing_to_say(page):
    found = subprocess.run(
        ["promtool", "check", "metrics"], input=page.encode(), capture_output=True, check=False
    )
    assert (found.stdout, found.stderr, found.returncode) == (b"", b"", 0)


def test_series_are_unique_counted_and_within_the_budget(page):
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert len({line.rpartition(" ")[0] for line in lines}) == len(lines)
    assert f"sysdx_series {len(lines)}.0" in lines
    assert len(lines) <= BUDGET


@pytest.fixture(scope="module")
def result(host):
    """The same in this process, which gives the other form of the page as well."""
    config = Source(
        host / "config.yaml",
        {"paths": {"procfs": str(host / "proc"), "sysfs": str(host / "sys"),
                   "rootfs": str(host / "root")}},
    ).read()  # fmt: skip
    chosen = once(policy(config))
    examiner = Examiner(
        Orchestrator(collectors(config), paths(config)),
        chosen,
        lambda _: None,
        options=options(config),
    )
    profile = config.profiles.quick.model_copy(update={"duration": 0.2, "sample_interval": 0.1})
    found = examiner.examine("quick", profile, "command", threading.Event())
    exposition = Exposition("1", {"quick": 60.0}, chosen)
    exposition.publish(Published.of(found))
    return found, exposition.pages()


def test_both_parsers_read_the_same_from_both_forms(result):
    def values(families):
        return {(s.name, tuple(sorted(s.labels.items()))): s.value
                for f in families for s in f.samples}  # fmt: skip

    pages = result[1]
    text = values(parse_text(pages.text.decode()))
    openmetrics = values(parse_openmetrics(pages.openmetrics.decode()))
    assert text == openmetrics
    assert len(text) > 300


def test_the_report_of_the_recorded_host_is_what_the_committed_schema_says(result):
    schema = json.loads((ROOT / "docs/report.schema.json").read_text())
    report = json.loads(result[0].body)
    jsonschema.validate(report, schema)
    assert report["metadata"]["complete"] is True
    assert report["metadata"]["hostname"] == report["system"]["hostname"] == "example"
    assert report["summary"]["health_score"] == 100.0
    assert set(report) == {"schema_version", "metadata", "system", "categories", "summary"}


def test_the_report_names_the_hostile_process_without_its_control_characters(result):
    assert b"\\u001b" not in result[0].body
    report = json.loads(result[0].body)
    processes = next(e for e in report["categories"]["process"] if e["collector"] == "process")
    names = {p["comm"] for p in processes["data"]["top_memory"]}
    assert 'evil\\x0a"\\x1b[31m\ufffd\\' in names
