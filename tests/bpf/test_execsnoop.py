"""Started programs: each once, under its own name, whatever that is, with who started it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from collectors.text import label

_spec = importlib.util.spec_from_file_location("programs", Path(__file__).parent / "programs.py")
programs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(programs)

HOSTILE = (
    b"new\nline",
    b'quote"\\\\s',
    b"\xff\xfe not utf-8",
    "\u202eturned".encode(),
    b"nl\n# HELP x",
)


def names_of(folder):
    plain = [os.fsencode(folder) + b"/child-%02d" % n for n in range(53 - len(HOSTILE))]
    return plain + [os.fsencode(folder) + b"/" + name for name in HOSTILE]


def spawner(paths):
    return programs.Program(
        f"for path in {paths!r}:\n    os.waitpid(os.posix_spawn(path, [path, 'secret'], {{}}), 0)"
    )


def test_fifty_three_children_are_told_by_their_names(observe, tmp_path):
    paths = names_of(tmp_path)
    for path in paths:
        shutil.copy("/bin/true", path)
    with spawner(paths) as parent:
        seen = observe("execsnoop", load=parent.work, top=4000)["execsnoop"]
    assert seen.lost == 0
    started = {r["file"]: r for r in seen.tops["program"]}
    rows = [started[label(path, 160)] for path in paths]
    assert [r["count"] for r in rows] == [1] * 53
    assert [r["comm"] for r in rows] == [label(p.rpartition(b"/")[2][:15]) for p in paths]
    assert {r["count"] for r in seen.tops["parent"] if r["pid"] == parent.pid} == {53}
    assert seen.values["started"] >= 53
    assert seen.events == seen.values["started"] + seen.values["failed"] == seen.records_of
    texts = [*programs.strings(seen.tops), *programs.strings(seen.records)]
    assert [t for t in texts if not t.isprintable()] == []
    assert [t for t in texts if "secret" in t] == []


def test_a_parent_is_told_by_name_and_id(observe, tmp_path):
    shutil.copy("/bin/true", tmp_path / "child")
    with spawner([str(tmp_path / "child")] * 7) as parent:
        comm = Path(f"/proc/{parent.pid}/comm").read_text().strip()
        seen = observe("execsnoop", load=parent.work, top=4000)["execsnoop"]
    (row,) = [r for r in seen.tops["parent"] if r["pid"] == parent.pid]
    assert row == {"comm": comm, "pid": parent.pid, "count": 7}


def test_failed_starts_are_told_apart_with_the_error(observe, tmp_path):
    (tmp_path / "denied").touch()
    code = f"""
for name, times in (("missing", 11), ("denied", 5)):
    for _ in range(times):
        try:
            os.posix_spawn(f"{tmp_path}/{{name}}", [name], {{}})
        except OSError:
            pass
"""
    with programs.Program(code) as parent:
        seen = observe("execsnoop", load=parent.work, top=4000)["execsnoop"]
    failed = {(r["file"], r["error"]): r["count"] for r in seen.tops["failed"]}
    assert failed[f"{tmp_path}/missing", "ENOENT"] == 11
    assert failed[f"{tmp_path}/denied", "EACCES"] == 5
    assert seen.values["failed"] >= 16
    assert [r for r in seen.tops["program"] if str(tmp_path) in r["file"]] == []
    assert [r for r in seen.tops["parent"] if r["pid"] == parent.pid] == []


def test_a_long_name_is_cut_visibly(observe, tmp_path):
    long = tmp_path / ("d" * 90) / ("f" * 90)
    long.parent.mkdir()
    shutil.copy("/bin/true", long)
    seen = observe("execsnoop", load=lambda: subprocess.run([long], check=True), top=4000)
    (row,) = [r for r in seen["execsnoop"].tops["program"] if r["comm"] == "f" * 15]
    assert row["file"] == str(long)[:127] + "…"


def test_a_pid_filter_tells_of_that_process_only(observe, tmp_path):
    shutil.copy("/bin/sleep", tmp_path / "become")
    code = f"""
for _ in range(3):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {{}}), 0)
print("done", flush=True)
os.execv("{tmp_path}/become", ["become", "5"])
"""
    with programs.Program(code) as one:
        seen = observe("execsnoop", load=one.work, pid=one.pid)["execsnoop"]
    assert [(r["pid"], r["comm"]) for r in seen.records] == [(one.pid, "become")]
