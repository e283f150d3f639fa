"""The command line as its users meet it: what it prints, where, and with which exit code."""

from __future__ import annotations

import gzip
import json
import logging
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exporter.app import discover
from exporter.cli import run
from exporter.policy import discover_rules

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "tests/fixtures/small"
PROGRAM = [sys.executable, "-m", "exporter"]
WHERE = ["--path.procfs", f"{SMALL}/proc", "--path.sysfs", f"{SMALL}/sys",
         "--path.rootfs", f"{SMALL}/root"]  # fmt: skip
CONFIG = "collectors: {disabled: [gpu, kernel_log, nic, qdisc, time_sync]}\n"
SHORT = ["sweep", "--duration", "0.3"]


@pytest.fixture(autouse=True)
def as_it_was():
    """Take back what a command changes for the whole process."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before, root = [signal.getsignal(n) for n in numbers], logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def small(tmp_path):
    """Options that examine the recorded host."""
    file = tmp_path / "small.yaml"
    file.write_text(CONFIG)
    return ["--config", str(file), *WHERE]


def start(*arguments, **settings):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | settings.pop("env", {})
    return subprocess.Popen([*PROGRAM, *arguments], cwd=ROOT, env=env, **settings)


def wait_for_window(program):
    """Return once the sweep observes."""
    while line := program.stderr.readline():
        if line.endswith(b" collect\n"):
            break
    time.sleep(0.3)


def failing(arguments):
    with pytest.raises(SystemExit) as caught:
        run(arguments)
    return caught.value.code


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["bogus"], "bogus"),
        (["--bogus"], "--bogus"),
        (["sweep", "--duration", "0"], "'0'"),
        (["sweep", "--duration", "nan"], "'nan'"),
        (["sweep", "--duration", "3601"], "'3601'"),
        (["sweep", "--pid", "-1"], "--pid"),
        (["sweep", "--pid", "x"], "'x'"),
        (["sweep", "--format", "yaml"], "yaml"),
        (["sweep", "--profile", "slow"], "slow"),
        (["sweep", "--focus", "cpu,moon"], "moon"),
        (["sweep", "--dur", "1"], "--dur"),
        (["diff", "one"], "B"),
    ],
)
def test_a_wrong_command_line_is_no_verdict(arguments, word, capsys):
    assert failing(arguments) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert word in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "sweep", "diff", "doctor", "check-config", "rules"])
def test_every_command_explains_itself(command, capsys):
    assert failing([command, "--help"]) == 0
    assert command in capsys.readouterr().out


def test_help_tells_every_exit_code(capsys):
    assert failing(["--help"]) == 0
    told = capsys.readouterr().out
    for code in (0, 1, 2, 3, 64, 65, 66, 69, 70, 73, 78, 130, 141, 143):
        assert re.search(rf"\b{code}\b", told), code


@pytest.mark.parametrize(
    "command", [["serve"], ["sweep"], ["check-config"], ["doctor"], ["rules"], []]
)
def test_a_bad_configuration_starts_nothing(command, tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text("web:\n  lisen: 3\nlog: {level: loud}\n")
    assert run(["--config", str(file), *command]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{file}:2: web.lisen" in err
    assert f"{file}:3: log.level" in err


def test_a_good_configuration_is_said_to_be_good(capsys):
    assert run(["check-config", "--config", str(ROOT / "config.yaml")]) == 0
    assert capsys.readouterr().out == f"{ROOT / 'config.yaml'}: no problems\n"


def test_options_stand_before_a_command_or_after_it(tmp_path, capsys):
    file = tmp_path / "my.yaml"
    file.write_text(CONFIG)
    for line in (["--config", str(file), "check-config"], ["check-config", "--config", str(file)]):
        assert run(line) == 0
        assert str(file) in capsys.readouterr().out


def test_tables_come_from_the_code(capsys):
    assert run(["rules", "--format", "json"]) == 0
    assert {r["id"] for r in json.loads(capsys.readouterr().out)} == set(discover_rules())
    assert run(["collectors", "--format", "json"]) == 0
    assert {c["name"] for c in json.loads(capsys.readouterr().out)} == set(discover())
    assert run(["rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(discover_rules())


def test_rules_show_the_thresholds_in_force(tmp_path, capsys):
    file = tmp_path / "my.yaml"
    file.write_text("rules:\n  cpu_steal: {enabled: false}\n  cpu_pressure: {warning: 0.123}\n")
    assert run(["rules", "--format", "json", "--config", str(file)]) == 0
    shown = {r["id"]: r["warning"] for r in json.loads(capsys.readouterr().out)}
    assert "cpu_steal" not in shown
    assert shown["cpu_pressure"] == 0.123


def test_a_sweep_writes_json_where_no_person_looks_on(small, capsys):
    assert run([*SHORT, *small]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert out.endswith("}\n")
    assert report["metadata"]["trigger"] == "command"
    phases = ["initialize", "collect", "assemble", "analyze", "publish"]
    assert [line.split()[-1] for line in err.splitlines()] == phases
    assert 0.29 < report["metadata"]["window_seconds"] < 10


def test_the_same_as_text_and_as_a_page_of_metrics(small, capsys):
    assert run([*SHORT, *small, "--format", "text"]) == 0
    assert capsys.readouterr().out.startswith("Healthy (100)")
    assert run([*SHORT, *small, "--format", "prom"]) == 0
    assert "\nsysdx_health_score 100.0\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ("{}", 0),
        ("{file_descriptors: {warning: 0.0001, critical: 0.99}}", 0),
        ("{file_descriptors: {warning: 0.0001, critical: 0.0002}}", 1),
    ],
)
def test_the_exit_code_is_the_verdict(rules, code, small, tmp_path, capsys):
    (tmp_path / "small.yaml").write_text(f"{CONFIG}rules: {rules}\n")
    got = run([*SHORT, *small])
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert (got, summary["band"]) == (code, ["healthy", "degraded"][code])
    # One sweep has no history, so what it finds it says at once.
    assert len(summary["anomalies"]) == rules.count("0.0001")


def test_too_little_known_is_an_exit_code_of_its_own(small, tmp_path, capsys):
    (tmp_path / "proc").mkdir()
    assert run([*SHORT, *small, "--path.procfs", str(tmp_path / "proc")]) == 3
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert (summary["band"], summary["health_score"]) == ("unknown", None)


def test_every_band_has_its_exit_code():
    from exporter.exit_code import BANDS

    assert BANDS == {"healthy": 0, "degraded": 1, "critical": 2, "unknown": 3}


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(small, tmp_path, capsys):
    file, link = tmp_path / "report.json", tmp_path / "newest.json"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    with file.open() as reader:
        assert run([*SHORT, *small, "--output", str(link)]) == 0
        assert reader.read() == "old"
    assert json.loads(file.read_text())["schema_version"]
    assert file.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert {p.name for p in tmp_path.iterdir()} == {"report.json", "newest.json", "small.yaml"}
    assert capsys.readouterr().out == ""


def test_a_pipe_or_device_is_written_to_and_not_replaced(small):
    assert run([*SHORT, *small, "--output", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("place", ["missing/report.json", "."])
def test_what_cannot_be_written_is_said_before_the_sweep(place, small, tmp_path, capsys):
    assert run(["sweep", "--duration", "30", *small, "--output", str(tmp_path / place)]) == 73
    err = capsys.readouterr().err
    assert str(tmp_path / place) in err
    assert "collect" not in err


@pytest.mark.parametrize("command", [[*SHORT, "--format", "text"], ["rules"], ["collectors"]])
def test_a_full_disk_is_said_in_one_line(command, small):
    with Path("/dev/full").open("wb") as full:
        program = start(*command, *small, stdout=full, stderr=subprocess.PIPE)
        err = program.communicate(timeout=30)[1].decode()
    assert program.returncode == 73
    assert "No space left on device" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [[*SHORT, "--format", "text"], ["rules"]])
def test_a_reader_that_has_gone_is_no_error_to_tell(command, small):
    reading, writing = os.pipe()
    program = start(*command, *small, stdout=writing, stderr=subprocess.PIPE)
    os.close(reading)
    os.close(writing)
    err = program.communicate(timeout=30)[1].decode()
    assert program.returncode == 141
    assert "ipe" not in err


def test_a_process_that_is_not_there_is_said_before_the_sweep(small, capsys):
    assert run(["sweep", "--duration", "30", "--pid", "99", *small]) == 64
    assert "there is no process 99" in capsys.readouterr().err


def test_one_process_is_listed(small, capsys):
    assert run([*SHORT, "--pid", "200", "--format", "text", *small]) == 0
    table = capsys.readouterr().out.partition("PROCESSES\n")[2].splitlines()
    assert [line.split()[0] for line in table[:2]] == ["PID", "200"]
    assert table[1].endswith("postgres: (x) S")
    assert len(table) == 2 or not table[2].strip()


def test_processes_of_a_control_group_are_listed(small, capsys):
    group = "/sys/fs/cgroup/system.slice"
    assert run([*SHORT, "--cgroup", group, *small]) == 0
    out, _ = capsys.readouterr()
    entry = next(e for e in json.loads(out)["categories"]["process"] if e["collector"] == "process")
    assert {p["pid"] for p in entry["data"]["top_memory"]} == {100, 200}
    assert run([*SHORT, "--cgroup", "/nowhere", *small]) == 64
    assert "there is no control group /nowhere" in capsys.readouterr().err


def test_focus_shows_every_device(small, capsys):
    assert run([*SHORT, "--format", "text", *small]) == 0
    assert "aio_requests" in capsys.readouterr().out
    assert run([*SHORT, "--format", "text", "--focus", "disk,kernel", *small]) == 0
    kernel = capsys.readouterr().out.partition("\n  kernel ")[2]
    assert "more" not in kernel.partition("\n\n")[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_writes_what_it_has_within_a_second(number, code, small):
    program = start(
        "sweep", "--duration", "30", *small, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for_window(program)
    sent = time.monotonic()
    program.send_signal(number)
    out = program.communicate(timeout=10)[0]
    took = time.monotonic() - sent
    assert program.returncode == code
    metadata = json.loads(out)["metadata"]
    assert metadata["complete"] is False
    assert any("cancelled" in reason for reason in metadata["partial_reasons"])
    assert took < 5, took
    assert metadata["duration_seconds"] < 5


def test_an_interrupted_sweep_says_so_in_text(small):
    program = start("sweep", "--duration", "30", "--format", "text", *small,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    wait_for_window(program)
    program.send_signal(signal.SIGINT)
    assert "PARTIAL: cancelled" in program.communicate(timeout=10)[0].decode()


def test_a_second_signal_ends_the_program_on_the_spot(tmp_path, small):
    # A FIFO that nobody writes to holds a collector up.
    proc = tmp_path / "proc"
    os.mkfifo(tmp_path / "fifo")
    proc.mkdir()
    for file in (SMALL / "proc").iterdir():
        (proc / file.name).symlink_to(file)
    (proc / "stat").unlink()
    (proc / "stat").symlink_to(tmp_path / "fifo")
    program = start("sweep", *small, "--path.procfs", str(proc),
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    wait_for_window(program)
    program.send_signal(signal.SIGINT)
    time.sleep(0.2)
    program.send_signal(signal.SIGINT)
    out = program.communicate(timeout=10)[0]
    assert (program.returncode, out) == (130, b"")


def test_an_occupied_address_is_said_in_one_line(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text('store: {directory: ""}\n')
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "{}:{}".format(*server.getsockname())
        program = start("serve", "--config", str(file), "--web.listen-address", address,
                        stderr=subprocess.PIPE)  # fmt: skip
        err = program.communicate(timeout=30)[1].decode()
    assert program.returncode == 69
    assert f"cannot listen on {address}: Address already in use" in err
    assert "--web.listen-address" in err
    assert err.count("\n") == 1


def on_terminal(arguments, columns=120, **environment):
    """Run the program on a terminal of its own and return what that was sent."""
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    program = start(*arguments, stdin=slave, stdout=slave, stderr=slave,
                    env={"TERM": "xterm", "NO_COLOR": "", **environment})  # fmt: skip
    os.close(slave)
    sent = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        sent += part
    os.close(master)
    return program.wait(10), sent.decode()


def test_a_terminal_shows_a_bar_that_goes_away_and_then_the_text(small):
    code, sent = on_terminal(["sweep", "--duration", "1", *small])
    assert code == 0
    bar, _, rest = sent.rpartition("\x1b[?25h")
    assert "\x1b[?25l" in bar, "the cursor is hidden while the bar moves, and shown again"
    assert "quick sweep: observing" in bar
    assert "\x1b[2K" in rest, "the bar is erased"
    assert "Healthy (100)" in rest
    assert "\x1b" not in rest.partition("Healthy")[2]


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_bar_gets_plain_lines(environment, small):
    code, sent = on_terminal([*SHORT, *small], **environment)
    assert code == 0
    assert "\x1b" not in sent
    assert "s] collect" in sent


def test_text_is_as_wide_as_the_terminal(small):
    sent = on_terminal([*SHORT, *small], columns=60, NO_COLOR="1")[1]
    assert max(map(len, sent.splitlines())) <= 60


@pytest.fixture
def reports(small, tmp_path, capsys):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    assert run([*SHORT, *small, "--output", str(first)]) == 0
    report = json.loads(first.read_text())
    report["summary"]["resources"]["disk"]["devices"]["sda"]["utilization"]["mean"] = 0.5
    second.write_bytes(gzip.compress(json.dumps(report).encode()))
    capsys.readouterr()
    return first, second


def test_two_reports_are_compared(reports, capsys):
    assert run(["diff", *map(str, reports)]) == 0
    assert re.search(r"disk sda utilization +0 % +→ +50 %", capsys.readouterr().out)
    assert run(["diff", *map(str, reports), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["use"] == [
        {"of": ["disk", "sda", "utilization"], "unit": "ratio", "before": 0.0, "after": 0.5,
         "kind": "changed"}
    ]  # fmt: skip


def test_what_is_no_report_or_not_there_has_its_own_exit_code(reports, tmp_path, capsys):
    assert run(["diff", str(reports[0]), str(tmp_path / "none")]) == 66
    assert str(tmp_path / "none") in capsys.readouterr().err
    for number, content in enumerate((b"", b"[]", b"{}", b"\x1f\x8bxx", b'{"a":', b"\xff")):
        (tmp_path / "bad").write_bytes(content)
        assert run(["diff", str(tmp_path / "bad"), str(reports[0])]) == 65, number
        err = capsys.readouterr().err
        assert "bad: no report" in err
        assert err.count("\n") == 1


def test_doctor_tells_of_every_collector_and_of_what_probes_need(small, capsys):
    assert run(["doctor", *small]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    shown = set(discover()) - {"gpu", "kernel_log", "nic", "qdisc", "time_sync"}
    assert shown <= set(names)
    for row in ("bcc", "BTF", "tracefs", "rights"):
        assert row in names
