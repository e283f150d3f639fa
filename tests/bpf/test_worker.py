"""The worker: whatever happens to it, the sweep goes on and the kernel is left as it was."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from collectors.bpf.model import Verdict
from collectors.model import Cause, Status
from exporter.orchestrator import Window
from exporter.probes import BpfProbes

ROOT = Path(__file__).parents[2]
NAMES = ("biolatency", "runqlat")

_spec = importlib.util.spec_from_file_location(
    "kernel_objects", Path(__file__).parent / "kernel_objects.py"
)
kernel_objects = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kernel_objects)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="eBPF needs root")


def window(duration=1.0, timeout=40.0, **options):
    return Window("test", duration, 1.0, time.monotonic() + timeout, threading.Event(), options)


def workers():
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "collectors.bpf.worker" in child.cmdline() and child.status() != "zombie":
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def wrapper(path, line):
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


def test_a_window_gives_a_sample_of_each_probe_and_leaves_nothing_behind():
    before = kernel_objects.held()
    sut = BpfProbes()
    sut.prepare(NAMES, window())
    assert all(kernel_objects.held()[n] - before[n] for n in (0, 1))
    outcomes = sut.finish()
    assert {n: o.status for n, o in outcomes.items()} == dict.fromkeys(NAMES, Status.OK)
    assert {o.data.probe for o in outcomes.values()} == set(NAMES)
    assert all(1.0 <= o.data.window_seconds < 2.0 for o in outcomes.values())
    assert sut.cost.map_bytes == pytest.approx(
        sum(o.data.map_bytes for o in outcomes.values()), rel=0.01
    )
    assert sut.cost.cpu_seconds > 0
    assert kernel_objects.left_over(before) == [set(), set()]


def test_no_probes_start_no_worker():
    sut = BpfProbes()
    sut.prepare((), window())
    assert (workers(), sut.finish()) == ([], {})


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2, 0.35])
def test_killed_while_it_compiles_it_costs_the_probes_only(delay):
    before = kernel_objects.held()
    sut = BpfProbes()

    def kill():
        while not (found := workers()):
            time.sleep(0.005)
        time.sleep(delay)
        found[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    sut.prepare(NAMES, window())
    killer.join()
    outcomes = sut.finish()
    assert {o.cause for o in outcomes.values()} == {Cause.CRASH}
    assert all("ended" in o.reason for o in outcomes.values())
    assert kernel_objects.left_over(before) == [set(), set()]


def test_killed_in_its_window_it_leaves_nothing_in_the_kernel():
    before = kernel_objects.held()
    sut = BpfProbes()
    sut.prepare(NAMES, window(duration=20.0))
    workers()[0].kill()
    outcomes = sut.finish()
    assert {sut.verdicts[n][0] for n in NAMES} == {Verdict.LOST_WORKER}
    assert {o.status for o in outcomes.values()} == {Status.TIMEOUT}
    assert kernel_objects.left_over(before) == [set(), set()]


def test_a_worker_that_hangs_is_killed_at_the_deadline():
    sut = BpfProbes()
    sut.prepare(NAMES, window(duration=1.0, timeout=4.0))
    (worker,) = workers()
    worker.suspend()
    started = time.monotonic()
    outcomes = sut.finish()
    assert time.monotonic() - started < 5.0
    assert {o.cause for o in outcomes.values()} == {Cause.TIMEOUT}
    assert psutil.wait_procs([worker], timeout=30)[1] == []


def test_a_cancelled_window_ends_now_with_what_was_seen():
    asked = window(duration=30.0, timeout=60.0)
    sut = BpfProbes()
    sut.prepare(NAMES, asked)
    time.sleep(0.3)
    asked.cancelled.set()
    started = time.monotonic()
    outcomes = sut.finish()
    assert time.monotonic() - started < 1.5
    assert {o.status for o in outcomes.values()} == {Status.OK}


def test_it_ends_when_its_parent_is_gone():
    script = (
        "import sys, threading, time\n"
        "from exporter.orchestrator import Window\n"
        "from exporter.probes import BpfProbes\n"
        "sut = BpfProbes()\n"
        "sut.prepare(('runqlat',), Window('test', 60.0, 1.0, time.monotonic() + 90,\n"
        "            threading.Event(), {}))\n"
        "print(sut._turn.child._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.is_running()
        parent.send_signal(signal.SIGKILL)
    assert psutil.wait_procs([worker], timeout=30)[1] == []


def test_a_python_without_bcc_is_passed_over(tmp_path):
    without = wrapper(tmp_path / "python", 'exec /usr/bin/python3 -S "$@"')
    sut = BpfProbes((without, sys.executable))
    sut.prepare(("runqlat",), window())
    assert sut.finish()["runqlat"].status is Status.OK


@pytest.mark.parametrize("kind", ["none", "another"])
def test_without_the_real_bcc_every_probe_says_what_to_install(tmp_path, kind):
    line = 'exec /usr/bin/python3 -S "$@"'
    if kind == "another":
        (tmp_path / "bcc").mkdir()
        (tmp_path / "bcc" / "__init__.py").touch()
        line = f'PYTHONPATH={tmp_path}:$PYTHONPATH exec /usr/bin/python3 "$@"'
    sut = BpfProbes((wrapper(tmp_path / "python", line),))
    sut.prepare(NAMES, window())
    outcomes = sut.finish()
    assert {sut.verdicts[n][0] for n in NAMES} == {Verdict.NO_BCC}
    assert {o.status for o in outcomes.values()} == {Status.UNAVAILABLE}
    assert all("python3-bpfcc" in o.reason for o in outcomes.values())


def test_without_rights_every_probe_says_which_are_missing(tmp_path):
    line = 'exec setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 "$@"'
    sut = BpfProbes((wrapper(tmp_path / "python", line),))
    sut.prepare(NAMES, window())
    outcomes = sut.finish()
    assert {sut.verdicts[n][0] for n in NAMES} == {Verdict.NO_PERMISSION}
    assert {o.cause for o in outcomes.values()} == {Cause.PERMISSION}
    assert all("CAP_BPF" in o.reason for o in outcomes.values())


def test_what_the_host_unmounts_in_the_window_is_not_kept_busy(tmp_path):
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    listed = ["losetup", "--noheadings", "--associated", image]
    sut = BpfProbes()
    sut.prepare(NAMES, window(duration=10.0))
    assert subprocess.check_output(listed)
    subprocess.run(["umount", place], check=True)
    time.sleep(0.3)
    assert subprocess.check_output(listed) == b""
    workers()[0].kill()
    sut.finish()


MOUNTS = """
import subprocess, sys
from pathlib import Path
def mounts(pid):
    return Path(f"/proc/{pid}/mountinfo").read_text()
before = mounts("self")
code = "from collectors.bpf.process import Place; Place(); print(flush=True); input()"
with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as worker:
    worker.stdout.readline()
    print("kallsyms" in mounts(worker.pid), mounts("self") == before)
    worker.stdin.close()
"""


def test_the_hosts_mounts_stay_as_they_are():
    # As systemd has them: what is mounted in one place appears in all others.
    command = ["unshare", "--mount", "--propagation", "shared", sys.executable, "-c", MOUNTS]
    told = subprocess.check_output(command, cwd=ROOT, text=True, timeout=30)
    assert told == "True True\n"


PLACE = """
from collectors.bpf.process import Place
symbols = lambda: len(open("/proc/kallsyms").readlines())
place = Place()
inside = symbols()
place.leave()
print(inside, symbols())
"""


def test_libbcc_reads_a_short_list_of_symbols_and_what_comes_later_the_whole_one():
    told = subprocess.check_output([sys.executable, "-c", PLACE], cwd=ROOT, text=True)
    inside, after = map(int, told.split())
    assert inside < 10
    assert after > 10_000


# As another mount namespace sees it, with tracefs mounted; and there without the right to mount.
MOUNTED = "exec unshare --mount sh -c 'mount -t tracefs none /sys/kernel/tracing; {} \"$@\"' sh"
RIGHTS = {"all": "exec", "no mounting": "exec setpriv --bounding-set -sys_admin"}


@pytest.mark.parametrize("rights", RIGHTS)
def test_it_works_where_tracefs_is_mounted(tmp_path, rights):
    line = f'{MOUNTED.format(RIGHTS[rights])} /usr/bin/python3 "$@"'
    sut = BpfProbes((wrapper(tmp_path / "python", line),))
    sut.prepare(NAMES, window())
    outcomes = sut.finish()
    assert {n: o.status for n, o in outcomes.items()} == dict.fromkeys(NAMES, Status.OK)


def test_a_control_group_that_is_not_there_is_said_and_nothing_is_told():
    sut = BpfProbes()
    sut.prepare(NAMES, window(cgroup="/no/such.slice"))
    outcomes = sut.finish()
    assert {sut.verdicts[n][0] for n in NAMES} == {Verdict.DISABLED}
    assert all("no/such.slice" in o.reason for o in outcomes.values())


BROKEN = """
import sys, types
from collectors.bpf.probe import Part, Probe, Recorder
from collectors.bpf.probes import runqlat
module = types.ModuleType("collectors.bpf.probes.broken")
module.PROBE = Probe(category="cpu", recorder=Recorder, shared=%r, parts=(Part(%r, %r),))
sys.modules[module.__name__] = module
from collectors.bpf import worker
worker.main()
"""


def answers_of(script, *names):
    """Have a worker of our own watch for a moment: what it was told of each, and all answers."""
    request = {"probes": names, "duration": 0.3, "own": [os.getpid()]}
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        run.stdin.write(json.dumps(request) + "\nopen\n")
        run.stdin.flush()
        ready, *answers = map(json.loads, run.stdout)
    return ready["verdicts"], [(a["kind"], a.get("probe")) for a in answers]


@pytest.mark.parametrize(
    ("shared", "on", "body", "verdict"),
    [
        ("int broken_value = nonsense;\n", "sched:sched_switch", "\n", Verdict.COMPILE_ERROR),
        ("", "sched:no_such_event", "\n", Verdict.MISSING_TRACEPOINT),
        ("", "sched:sched_switch", "\n    return *(int *)args->next_pid;\n", Verdict.ATTACH_ERROR),
    ],
)
def test_one_broken_probe_costs_no_other(shared, on, body, verdict):
    verdicts, answers = answers_of(BROKEN % (shared, on, body), "broken", "runqlat")
    assert verdicts["broken"][0] == verdict
    assert len(verdicts["broken"][1]) > 20
    assert verdicts["runqlat"][0] == Verdict.OK
    assert answers == [("sample", "runqlat"), ("done", None)]


CLOSING = """
import os
from collectors.bpf import worker
from collectors.bpf.kernel import Kernel

def frames(self, name, number, pid, seen=Kernel.user_frames):
    os.closerange(1, 256)
    return seen(self, name, number, pid)

Kernel.user_frames = frames
worker.main()
"""


def test_descriptors_that_libbcc_closes_cost_no_probe():
    names = ("offcputime", "softirqs", "syscount", "wakeuptime")
    verdicts, answers = answers_of(CLOSING, *names)
    assert {verdicts[name][0] for name in names} == {Verdict.OK}
    assert answers == [*(("sample", name) for name in names), ("done", None)]


def test_the_daemon_never_imports_bcc():
    script = (
        "import sys, exporter.app, exporter.probes\n"
        "print([m for m in sys.modules if m.split('.')[0] == 'bcc'])\n"
    )
    told = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True)
    assert told == "[]\n"
