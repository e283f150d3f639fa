"""Opened files: each open once, failures by their error, and never our own."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from collectors.text import label

_spec = importlib.util.spec_from_file_location("programs", Path(__file__).parent / "programs.py")
programs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(programs)


def opener(folder):
    """Open 43 times, 11 of them without success."""
    return f"""
folder = {str(folder)!r}
for number in range(32):
    os.close(os.open(f"{{folder}}/there-{{number % 8}}", os.O_RDONLY))
for _ in range(11):
    try:
        os.open(f"{{folder}}/missing", os.O_RDONLY)
    except FileNotFoundError:
        pass
"""


def fill(folder):
    for number in range(8):
        (folder / f"there-{number}").touch()


def test_forty_three_opens_of_one_process_are_told_exactly(observe, tmp_path):
    fill(tmp_path)
    with programs.Program(opener(tmp_path)) as one:
        seen = observe("opensnoop", load=one.work, pid=one.pid, top=50)["opensnoop"]
    assert seen.values == {"opened": 32, "failed": 11}
    assert (seen.events, seen.lost, seen.records_of) == (43, 0, 43)
    assert seen.tops["error"] == ({"error": "ENOENT", "count": 11},)
    missing = f"{tmp_path}/missing"
    assert seen.tops["failed"] == ({"file": missing, "error": "ENOENT", "count": 11},)
    files = {r["file"]: r["count"] for r in seen.tops["file"]}
    assert files == {missing: 11} | {f"{tmp_path}/there-{n}": 4 for n in range(8)}
    assert seen.tops["directory"] == ({"directory": str(tmp_path), "count": 43},)
    assert [(r["pid"], r["count"]) for r in seen.tops["process"]] == [(one.pid, 43)]


def test_our_own_opens_are_not_told(observe, tmp_path):
    fill(tmp_path)

    def load():
        for _ in range(7):
            os.close(os.open(tmp_path / "there-0", os.O_RDONLY))
        one.work()

    with programs.Program(opener(tmp_path)) as one:
        seen = observe("opensnoop", load=load, top=4000)["opensnoop"]
    counts = {r["directory"]: r["count"] for r in seen.tops["directory"]}
    assert counts[str(tmp_path)] == 43
    assert [r for r in seen.tops["process"] if r["pid"] == os.getpid()] == []


def test_hostile_names_are_harmless(observe, tmp_path):
    names = [os.fsencode(tmp_path) + b"/" + n for n in (b"a\nb", b'q"\\\\', b"\xff\xfe")]
    code = f"for name in {names!r}: os.close(os.open(name, os.O_CREAT | os.O_RDONLY))"
    with programs.Program(code) as one:
        seen = observe("opensnoop", load=one.work, pid=one.pid)["opensnoop"]
    assert [r["file"] for r in seen.records] == [label(name, 160) for name in names]
    assert all(text.isprintable() for text in programs.strings(seen.tops))


def test_errors_are_told_apart_and_every_kind_of_open_counts(observe, tmp_path):
    source = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static char line[8];
int main(int count, char **word)
{
    unsigned long how[3] = {0};
    puts("here");
    fflush(stdout);
    fgets(line, sizeof line, stdin);
    for (int n = 0; n < 13; n++) {
        syscall(SYS_openat2, AT_FDCWD, word[1], how, sizeof how);
        syscall(SYS_openat, AT_FDCWD, word[1], O_DIRECTORY, 0);
#ifdef SYS_open
        syscall(SYS_open, word[1], O_CREAT | O_EXCL, 0);
#endif
    }
    puts("done");
    fflush(stdout);
    return fgets(line, sizeof line, stdin) != 0;
}
"""
    binary = programs.compiled(tmp_path, source)
    (tmp_path / "file").touch()
    with programs.started(binary, tmp_path / "file") as one:
        seen = observe("opensnoop", load=one.work, pid=one.pid)["opensnoop"]
    errors = {r["error"]: r["count"] for r in seen.tops["error"]}
    old = {"EEXIST": 13} if os.uname().machine == "x86_64" else {}
    assert errors == {"ENOTDIR": 13} | old
    assert seen.values["opened"] == 13
