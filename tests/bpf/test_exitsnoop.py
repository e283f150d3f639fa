"""Ended processes: each once, with its code or signal, and not younger than it can be."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

_spec = importlib.util.spec_from_file_location("programs", Path(__file__).parent / "programs.py")
programs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(programs)

CODES = {0: 17, 3: 11, 42: 5}
SIGNALS = {"SIGTERM": 5, "SIGKILL": 3}  # with the codes, 41 ends


def ending(path):
    return f"""
import subprocess
for code, times in {CODES!r}.items():
    for _ in range(times):
        subprocess.run(["{path}", "-c", f"exit {{code}}"])
for name, times in {SIGNALS!r}.items():
    for _ in range(times):
        subprocess.run(["{path}", "-c", f"kill -{{name[3:]}} $$"])
"""


def test_forty_one_ends_are_told_with_their_codes_and_signals(observe, tmp_path):
    shutil.copy("/bin/sh", tmp_path / "quitter")
    with programs.Program(ending(tmp_path / "quitter")) as parent:
        seen = observe("exitsnoop", load=parent.work, top=4000)["exitsnoop"]
    mine = [r for r in seen.tops["process"] if r["comm"] == "quitter"]
    assert {r["code"]: r["count"] for r in mine if r["signal"] is None} == CODES
    assert {r["signal"]: r["count"] for r in mine if r["code"] is None} == SIGNALS
    assert seen.values["failed"] >= 16
    assert seen.values["killed"] >= 8
    assert {r["count"] for r in seen.tops["parent"] if r["pid"] == parent.pid} == {41}
    assert seen.lost == 0
    assert seen.histograms[0].count == seen.events == seen.records_of


def test_an_age_is_at_least_the_time_slept(observe, tmp_path):
    shutil.copy("/bin/sleep", tmp_path / "sleeper")
    code = f"""
import subprocess
began = time.monotonic()
for child in [subprocess.Popen(["{tmp_path}/sleeper", "0.3"]) for _ in range(7)]:
    child.wait()
print(time.monotonic() - began)
"""
    with programs.Program(code) as parent:
        result = observe("exitsnoop", load=parent.work)
    seen, longest = result["exitsnoop"], float(result.told[0])
    ages = [r["seconds"] for r in seen.records if r["comm"] == "sleeper"]
    assert len(ages) == 7
    assert 0.3 <= min(ages) <= max(ages) <= longest
    assert sum(b.count for b in seen.histograms[0].buckets if b.le > 0.3) >= 7
    assert {r["parent_pid"] for r in seen.records if r["comm"] == "sleeper"} == {parent.pid}


def test_a_process_of_many_threads_ends_once(observe, tmp_path):
    source = """
#include <pthread.h>
#include <unistd.h>
static void *wait_here(void *none) { pause(); return none; }
int main(void)
{
    pthread_t thread;
    for (int n = 0; n < 13; n++)
        pthread_create(&thread, 0, wait_here, 0);
    return 7;
}
"""
    binary = programs.compiled(tmp_path, source, "-pthread")
    binary.rename(tmp_path / "many-threads")
    code = f"""
import subprocess
for _ in range(11):
    subprocess.run(["{tmp_path}/many-threads"])
"""
    with programs.Program(code) as parent:
        seen = observe("exitsnoop", load=parent.work, top=4000)["exitsnoop"]
    (row,) = [r for r in seen.tops["process"] if r["comm"] == "many-threads"]
    assert row == {"comm": "many-threads", "code": 7, "signal": None, "count": 11}
