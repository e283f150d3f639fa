"""Signals: each one sent is told once, with who sent it to whom."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

_spec = importlib.util.spec_from_file_location("programs", Path(__file__).parent / "programs.py")
programs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(programs)

VICTIM = "signal.signal(signal.SIGUSR1, lambda *_: None)\n"


def pairs(seen, **wanted):
    return [r for r in seen.tops["pair"] if wanted.items() <= r.items()]


def test_thirty_seven_signals_are_told_with_sender_and_receiver(observe):
    with programs.Program(VICTIM) as victim:
        victim.work()
        code = f"for _ in range(37): os.kill({victim.pid}, signal.SIGUSR1)"
        with programs.Program(code) as sender:
            comm = Path(f"/proc/{sender.pid}/comm").read_text().strip()
            seen = observe("killsnoop", load=sender.work, pid=sender.pid)["killsnoop"]
    expected = {
        "signal": "SIGUSR1",
        "origin": "process",
        "comm": comm,
        "pid": sender.pid,
        "target_comm": comm,
        "target_pid": victim.pid,
        "count": 37,
    }
    assert seen.tops["pair"] == (expected,)
    assert (seen.events, seen.lost, seen.records_of) == (37, 0, 37)
    assert seen.tops["signal"] == ({"signal": "SIGUSR1", "origin": "process", "count": 37},)
    assert "delivered" in {r["result"] for r in seen.records}


def test_our_own_signals_are_not_told(observe):
    with programs.Program(VICTIM) as victim:
        victim.work()

        def load():
            for _ in range(7):
                os.kill(victim.pid, signal.SIGUSR1)
            sender.work()

        code = f"for _ in range(5): os.kill({victim.pid}, signal.SIGUSR1)"
        with programs.Program(code) as sender:
            seen = observe("killsnoop", load=load, top=4000)["killsnoop"]
    assert [r["count"] for r in pairs(seen, target_pid=victim.pid)] == [5]
    assert pairs(seen, pid=os.getpid()) == []


def test_the_end_of_a_child_is_counted_only(observe):
    code = """
import subprocess
for _ in range(11):
    subprocess.run(["/bin/true"])
os.kill(os.getpid(), signal.SIGURG)
"""
    with programs.Program("signal.signal(signal.SIGURG, lambda *_: None)\n" + code) as one:
        seen = observe("killsnoop", load=one.work, top=4000)["killsnoop"]
    assert seen.values["left_out"] >= 12
    assert not {"SIGCHLD", "SIGURG"} & {r["signal"] for r in seen.tops["signal"]}


def test_what_the_kernel_sends_names_no_sender(observe):
    code = """
import subprocess
child = subprocess.Popen([sys.executable, "-S", "-c", "import ctypes; ctypes.string_at(0)"])
print(child.pid, child.wait())
"""
    with programs.Program(code) as one:
        result = observe("killsnoop", load=one.work, top=4000)
    pid, ended = map(int, result.told[0].split())
    assert ended == -signal.SIGSEGV
    (row,) = pairs(result["killsnoop"], target_pid=pid, signal="SIGSEGV")
    assert (row["origin"], row["comm"], row["pid"]) == ("kernel", None, None)


def test_hostile_names_are_harmless(observe):
    code = r"""
ctypes.CDLL(None).prctl(15, b'a\nb"\xff')
os.kill(os.getpid(), 0)
signal.signal(signal.SIGUSR1, lambda *_: None)
os.kill(os.getpid(), signal.SIGUSR1)
"""
    with programs.Program(code) as one:
        seen = observe("killsnoop", load=one.work, pid=one.pid)["killsnoop"]
    (row,) = seen.tops["pair"]
    assert row["comm"] == row["target_comm"] == 'a\\x0ab"\ufffd'
