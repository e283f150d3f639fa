"""Tables made from the code, and what doctor finds."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from analysis.registry import discover_rules
from collectors.base import Collector, Paths, discover
from collectors.bpf.probe import discover as probes
from collectors.cpu import CpuSample
from collectors.model import Cause, Unavailable
from exporter import doctor as module
from exporter import tables
from exporter.config import Config
from exporter.doctor import doctor
from exporter.orchestrator import Orchestrator

ROOT = Path(__file__).parents[2]


def fake(name, collect):
    return Collector(name, "cpu", essential=False, summary="Test.", collect=collect)


def refused(ctx):
    ctx.note("a", Cause.PERMISSION, "a: permission denied (run as root)")
    ctx.note("b", Cause.GARBLED, "b: not understood")
    return CpuSample.__new__(CpuSample)


def absent(ctx):
    raise Unavailable("this host has no GPU", Cause.ABSENT)


def missing(ctx):
    raise Unavailable("/proc/x: not there", Cause.MISSING)


@pytest.fixture
def found(tmp_path, monkeypatch):
    """What doctor says, line by line, of three collectors and an empty /sys."""

    def ask(euid=0, sys_path=None, bcc="0.26.0", lacking=(), config=None):
        monkeypatch.setattr(module.os, "geteuid", lambda: euid)
        monkeypatch.setattr(module, "_import_bcc", lambda _: bcc)
        monkeypatch.setattr(module, "missing", lambda *_: lacking)
        some = {"half": fake("half", refused), "gpu": fake("gpu", absent),
                "none": fake("none", missing)}  # fmt: skip
        where = Paths(tmp_path, sys_path or tmp_path, tmp_path)
        shown = doctor(Orchestrator(some, where), {}, config or Config())
        return [line.split(None, 2) for line in shown.splitlines()], shown

    return ask


def test_doctor_tells_each_problem_with_its_way_out(found):
    lines, _ = found()
    assert ["gpu", "not", "here     this host has no GPU"] in lines
    assert ["half", "partial", "a: permission denied (run as root)"] in lines
    assert ["b:", "not", "understood"] in lines
    assert ["none", "unavailable", "/proc/x: not there"] in lines


def test_an_ordinary_user_is_told_the_rights_that_help_and_root_is_not(found):
    assert "CAP_DAC_READ_SEARCH" in found(euid=1000)[1]
    assert "Not running as root" not in found(euid=0)[1]


def test_doctor_tells_what_probes_lack(found):
    lines = {line[0]: line[1:] for line in found(bcc=None, lacking=("CAP_SYS_ADMIN",))[0] if line}
    for what in ("bcc", "BTF", "rights"):
        assert lines[what][0] == "missing", what
    assert lines["tracefs"][0] in ("missing", "refused")
    assert "python3-bpfcc" in lines["bcc"][1]
    assert "CAP_SYS_ADMIN" in lines["rights"][1]


def test_doctor_tells_what_probes_have(found, tmp_path):
    (tmp_path / "kernel/btf").mkdir(parents=True)
    (tmp_path / "kernel/btf/vmlinux").touch()
    (tmp_path / "kernel/debug/tracing/events").mkdir(parents=True)
    lines = {line[0]: line[1:] for line in found()[0] if line}
    assert [lines[what][0] for what in ("bcc", "BTF", "tracefs", "rights")] == ["ok"] * 4
    assert lines["tracefs"][1].endswith("kernel/debug/tracing")
    assert "lockdown" not in lines


def test_doctor_tells_of_a_locked_kernel(found, tmp_path):
    (tmp_path / "kernel/security").mkdir(parents=True)
    (tmp_path / "kernel/security/lockdown").write_text("none integrity [confidentiality]\n")
    assert any(line[:2] == ["lockdown", "refused"] for line in found()[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="eBPF needs root")
def test_doctor_tries_every_probe_and_names_the_sweeps_that_run_it():
    shown = doctor(Orchestrator({}, Paths()), {}, Config())
    lines = {line.split()[0]: line.split(None, 2)[1:] for line in shown.splitlines() if line}
    assert {name: lines[name][0] for name in probes()} == dict.fromkeys(probes(), "ok")
    assert lines["runqlat"][1] == "runs in standard sweeps"
    assert lines["profile"][1] == "runs in deep sweeps"
    assert lines["syscount"][1] == "no profile names it"


def test_doctor_tries_no_probe_for_another_host(found):
    assert ["probes", "not", "tried  they examine the kernel that runs here, not another host"] in (
        found()[0]
    )


def test_bcc_that_is_something_else_is_not_taken_for_it(tmp_path):
    (tmp_path / "bcc.py").write_text("__version__ = '9'\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    asked = subprocess.run(
        [sys.executable, "-c", module._ASK], capture_output=True, text=True, env=env, check=False
    )
    assert asked.stdout.strip() == module._FORGED


def test_a_python_that_is_not_there_has_no_bcc():
    assert module._import_bcc("/nonexistent/python") is None


def test_this_program_never_imports_bcc_to_look_for_it():
    code = (
        "import sys; from exporter.doctor import _bcc; _bcc(); "
        "assert not [m for m in sys.modules if m.partition('.')[0] == 'bcc']"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_doctor_tells_an_ordinary_user_what_is_missing():
    code = (
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
        "from exporter.cli import run; raise SystemExit(run(['doctor']))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr
    assert "run as root" in asked.stdout
    assert "Not running as root" in asked.stdout
    lines = {line.split()[0]: line.split()[1] for line in asked.stdout.splitlines() if line.strip()}
    assert lines["cpu"] == "ok"
    assert lines["process"] == "partial"
    assert lines["rights"] == "missing"


def test_tables_have_a_row_for_each_rule_and_collector():
    lines = tables.rules(discover_rules().values()).splitlines()
    assert [line.split()[0] for line in lines] == ["RULE", *discover_rules()]
    lines = tables.collectors(discover().values()).splitlines()
    assert [line.split()[0] for line in lines] == ["COLLECTOR", *discover()]
    assert all(line == line.rstrip() for line in lines)


def test_tables_keep_to_a_terminal():
    lines = tables.rules(discover_rules().values(), 100).splitlines()
    assert max(map(len, lines)) <= 100
    # A name that is cut could not be copied into a configuration.
    assert [x.split()[0] for x in lines[1:] if not x.startswith(" ")] == list(discover_rules())
    assert any(line.startswith("    ") for line in lines)


def test_plain_data_holds_everything_that_explains_a_rule():
    for rule in tables.rules_data(discover_rules().values()):
        assert rule["source"]
        assert rule["explanation"]
        assert rule["unit"]
        assert rule["critical"] is None or rule["critical"] > rule["warning"]


def test_doctor_is_quick():
    window = []

    class Spy(Orchestrator):
        def collect(self, asked, done=lambda _: None):
            window.append(asked)
            return {}

    doctor(Spy({}, Paths()), {}, Config())
    assert window[0].duration <= 1
    assert isinstance(window[0].cancelled, threading.Event)
