"""System calls: each once, by its name, with its time and its failures."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
from pathlib import Path

import pytest

from collectors.bpf.syscalls import names

_spec = importlib.util.spec_from_file_location("programs", Path(__file__).parent / "programs.py")
programs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(programs)

CALLS = 100_003


def row(seen, name, top="count"):
    (found,) = [r for r in seen.tops[top] if r["syscall"] == name]
    return found


def test_each_call_is_counted(observe):
    with programs.Program(f"for _ in range({CALLS}): os.getppid()") as one:
        seen = observe("syscount", load=one.work, pid=one.pid, top=500)["syscount"]
    assert row(seen, "getppid")["count"] == CALLS
    assert row(seen, "getppid")["errors"] == 0
    assert CALLS < seen.events < CALLS + 100
    assert seen.events == sum(r["count"] for r in seen.tops["count"])
    assert seen.tops["count"][0]["syscall"] == "getppid"


def test_our_own_calls_are_not_counted_and_failures_are(observe):
    # A call that hardly any program makes.
    def load():
        for _ in range(509):
            os.sched_get_priority_max(os.SCHED_FIFO)
        one.work()

    code = """
for number in range(1009):
    try:
        os.sched_get_priority_max(os.SCHED_FIFO if number >= 101 else 77)
    except OSError:
        pass
"""
    with programs.Program(code) as one:
        seen = observe("syscount", load=load, top=500)["syscount"]
    assert row(seen, "sched_get_priority_max")["count"] == 1009
    assert row(seen, "sched_get_priority_max", "errors")["errors"] == 101
    assert seen.values["failed"] >= 101


def test_time_includes_waiting(observe):
    with programs.Program("for _ in range(7): time.sleep(0.1)") as one:
        result = observe("syscount", load=one.work, pid=one.pid, top=500)
    slept = row(result["syscount"], "clock_nanosleep", "seconds")
    assert slept["count"] == 7
    assert 0.7 <= slept["seconds"] <= result["syscount"].window_seconds
    assert 0.1 <= slept["max_seconds"] <= slept["seconds"] - 0.6


def test_a_clone_is_one_call_though_it_returns_twice(observe):
    code = """
import threading
for _ in range(53):
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
"""
    with programs.Program(code) as one:
        seen = observe("syscount", load=one.work, pid=one.pid, top=500)["syscount"]
    clones = [r["count"] for r in seen.tops["count"] if r["syscall"] in ("clone", "clone3")]
    assert clones == [53]
    # And the call in which the program waited for the start.
    assert 53 <= seen.values["unmatched"] <= 54
    assert max(r["max_seconds"] for r in seen.tops["count"]) <= seen.window_seconds + 1


@pytest.mark.skipif(platform.machine() != "x86_64", reason="another way in")
def test_calls_by_the_numbers_of_32_bits_are_told_apart(observe, tmp_path):
    source = r"""
#include <stdio.h>
#include <unistd.h>
static char line[8];
int main(void)
{
    puts("here");
    fflush(stdout);
    fgets(line, sizeof line, stdin);
    int right = 0;
    for (int n = 0; n < 61; n++) {
        int result;
        /* 64 is getppid there, and semget for 64 bits. */
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(64) : "memory", "r8", "r9", "r10", "r11");
        right += result == getppid();
    }
    printf("%d\n", right);
    puts("done");
    fflush(stdout);
    return fgets(line, sizeof line, stdin) != 0;
}
"""
    with programs.started(programs.compiled(tmp_path, source)) as one:
        result = observe("syscount", load=one.work, pid=one.pid, top=500)
    seen = result["syscount"]
    if not result.told:
        pytest.skip("this kernel has no 32-bit calls")
    assert result.told == ["61"]
    assert seen.values["compat"] == 61
    assert row(seen, "getppid")["count"] == 61
    assert "semget" not in {r["syscall"] for r in seen.tops["count"]}


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "asm/unistd_64.h"), ("aarch64", "asm-generic/unistd.h")],
)
def test_numbers_are_those_of_the_c_library_headers(machine, header):
    lines = [f"#define __ARCH_WANT_{word}" for word in _WANTED]
    lines += ["#define __BITS_PER_LONG 64", f"#include <{header}>", ""]
    gcc = ["gcc", "-E", "-dM", "-"]
    run = subprocess.run(gcc, input="\n".join(lines), capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("the headers are not here")
    told = dict(re.findall(r"#define (__NR(?:3264)?_\w+) (\S+)", run.stdout))
    # One name may stand for another.
    numbers = {
        macro.removeprefix("__NR_"): told.get(value, value)
        for macro, value in told.items()
        if macro.startswith("__NR_")
    }
    numbers = {int(v): k for k, v in numbers.items() if v.isdigit() and k not in _NO_CALLS}
    assert len(numbers) > 300
    known = names(machine)
    assert {n: known.get(n) for n in numbers} == numbers


_WANTED = (
    "RENAMEAT",
    "NEW_STAT",
    "SET_GET_RLIMIT",
    "SYS_CLONE3",
    "MEMFD_SECRET",
    "TIME32_SYSCALLS",
)
_NO_CALLS = ("syscalls", "arch_specific_syscall")


def test_an_unknown_machine_has_the_common_names_only():
    assert names("pdp11")[424] == "pidfd_send_signal"
    assert min(names("pdp11")) == 424
