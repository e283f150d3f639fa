"""The store: what was put is found again, whatever happens to the disk."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from exporter import report_file
from exporter.store import Store, StoredReport

ROOT = Path(__file__).parents[2]
LARGE = 1 << 30


def make(number: int, profile: str = "quick", *, complete: bool = True) -> StoredReport:
    minutes, seconds = divmod(number, 60)
    report_id = f"20261124T08{minutes:02}{seconds:02}Z-{profile}-{number:08x}"
    body = json.dumps({"metadata": {"report_id": report_id}, "filler": "x" * 500}).encode()
    started = f"2026-11-24T08:{minutes:02}:{seconds:02}Z"
    return StoredReport(report_id, profile, started, complete, 87.25, len(body), body)


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def ids(store: Store) -> list[str]:
    return [header.report_id for header in store.list()]


def test_newest_is_the_last_put_and_survives_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "reports", keep=10, max_size=LARGE)
    for number in range(3):
        store.put(make(number))
    assert store.problem is None
    assert store.newest() == make(2)

    again = Store(tmp_path / "reports", keep=10, max_size=LARGE)
    assert again.newest() == make(2)
    assert again.get(make(0).report_id) == make(0)
    assert again.list() == store.list() == [make(number).header for number in (2, 1, 0)]


def test_a_file_is_plain_gzip_of_the_json_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    Store(tmp_path / "reports", keep=10, max_size=LARGE).put(make(1))
    (path,) = (tmp_path / "reports").iterdir()
    assert gzip.decompress(path.read_bytes()) == make(1).body
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_complete_report_goes_before_a_newer_partial_one(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=10, max_size=LARGE)
    store.put(make(1, complete=False))
    assert store.newest() == make(1, complete=False)
    store.put(make(2))
    store.put(make(3, complete=False))
    for reader in (store, Store(tmp_path, keep=10, max_size=LARGE)):
        assert reader.newest() == make(2)
        assert ids(reader)[0] == make(3).report_id


def test_an_old_complete_report_does_not_hide_that_all_newer_ones_are_partial(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path, keep=10, max_size=LARGE)
    store.put(make(1))
    for number in (2, 3, 4):
        store.put(make(number, complete=False))
    for reader in (store, Store(tmp_path, keep=10, max_size=LARGE)):
        assert reader.newest() == make(4, complete=False)
        assert reader.get(make(1).report_id) == make(1)


def test_newest_can_be_asked_for_a_profile(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=10, max_size=LARGE)
    store.put(make(1, "deep"))
    store.put(make(2))
    assert store.newest("deep") == make(1, "deep")
    assert store.newest("standard") is None


def test_without_a_directory_the_newest_of_each_profile_is_kept() -> None:
    store = Store(None, keep=10, max_size=LARGE)
    store.put(make(1, "deep"))
    for number in range(2, 6):
        store.put(make(number))
    store.put(make(6, complete=False))
    assert store.problem is None
    assert ids(store) == [make(6).report_id, make(5).report_id, make(1, "deep").report_id]
    assert [store.get(report_id) is None for report_id in ids(store)] == [False] * 3
    assert store.get(make(3).report_id) is None


def test_memory_holds_only_what_newest_can_ask_for(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=50, max_size=LARGE)
    for number in range(20):
        store.put(make(number, ("quick", "standard", "deep")[number % 3]))
    assert len(store._memory) == 3
    assert len(ids(store)) == 20
    assert store.get(make(3).report_id) == make(3)
    assert len(store._memory) == 3


def test_the_ring_is_bounded_by_number(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=3, max_size=LARGE)
    for number in range(9):
        store.put(make(number))
        assert len(files(tmp_path)) <= 3
    assert ids(store) == [make(number).report_id for number in (8, 7, 6)]
    assert len(ids(Store(tmp_path, keep=2, max_size=LARGE))) == 2


def test_the_ring_is_bounded_by_size_and_the_newest_stays_whatever_its_size(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path, keep=100, max_size=400)
    for number in range(9):
        store.put(make(number))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 400
    tiny = Store(tmp_path, keep=100, max_size=1)
    assert ids(tiny) == [make(8).report_id]
    tiny.put(make(9))
    assert ids(Store(tmp_path, keep=100, max_size=1)) == [make(9).report_id]


def test_a_rare_profile_is_not_pushed_out_by_a_frequent_one(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=4, max_size=LARGE)
    store.put(make(0, "deep"))
    for number in range(1, 12):
        store.put(make(number))
    assert len(files(tmp_path)) == 4
    assert Store(tmp_path, keep=4, max_size=LARGE).newest("deep") == make(0, "deep")


def test_after_a_clock_step_backwards_the_last_put_is_still_the_newest(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=2, max_size=LARGE)
    for number in (50, 51, 3):
        store.put(make(number))
    assert store.newest() == make(3)
    assert ids(store) == [make(3).report_id, make(51).report_id]


def test_putting_an_id_again_replaces_it(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=5, max_size=LARGE)
    store.put(make(1))
    store.put(make(1))
    assert len(ids(store)) == len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    "bad",
    [
        replace(make(1), report_id="../../etc/passwd"),
        replace(make(1), report_id=make(1).report_id + "\n"),
        replace(make(1), profile="deep"),
        replace(make(1), size_bytes=3),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, bad: StoredReport) -> None:
    store = Store(tmp_path, keep=5, max_size=LARGE)
    with pytest.raises(ValueError, match=r"report id|size_bytes"):
        store.put(bad)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "report_id",
    [
        "",
        "..",
        "../secret",
        "/etc/passwd",
        "20261124T080001Z-quick-0000000\u0661",
        "20261124T080001Z-quick-00000001\n",
        "20261124T080001Z-quick-00000001/../x",
        "20261124T080001Z-QUICK-00000001",
    ],
)
def test_get_answers_none_to_what_is_no_id(tmp_path: Path, report_id: str) -> None:
    (tmp_path / "secret").write_bytes(b"{}")
    store = Store(tmp_path / "reports", keep=5, max_size=LARGE)
    store.put(make(1))
    assert store.get(report_id) is None


@pytest.mark.parametrize("health_score", [None, float("nan"), 0.0, 100.0, 100])
def test_every_score_can_be_kept(tmp_path: Path, health_score: float | None) -> None:
    store = Store(tmp_path, keep=5, max_size=LARGE)
    store.put(replace(make(1), health_score=health_score))
    (header,) = Store(tmp_path, keep=5, max_size=LARGE).list()
    assert header.health_score == (health_score if health_score == health_score else None)  # noqa: PLR0124 - not a number


def test_foreign_and_damaged_files_are_ignored_and_counted(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=50, max_size=LARGE)
    for number in range(5):
        store.put(make(number))
    names = files(tmp_path)
    (tmp_path / names[4]).write_bytes((tmp_path / names[4]).read_bytes()[:-40])  # cut short
    (tmp_path / names[3]).write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"hello")
    (tmp_path / "lost+found").mkdir()
    os.mkfifo(tmp_path / names[0].replace("T080000Z", "T090000Z"))
    (tmp_path / names[0].replace("T080000Z", "T100000Z")).symlink_to("/dev/zero")
    (tmp_path / names[0].replace(".v1.", ".v2.")).write_bytes(b"later")

    again = Store(tmp_path, keep=50, max_size=LARGE)
    assert ids(again) == [make(number).report_id for number in (2, 1, 0)]
    assert again.newest() == make(2)
    assert again.ignored == 7
    assert (tmp_path / "notes.txt").exists()


def test_a_report_whose_middle_rotted_is_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path, keep=50, max_size=LARGE)
    for number in range(3):
        store.put(make(number))
    newest = tmp_path / files(tmp_path)[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)

    again = Store(tmp_path, keep=50, max_size=LARGE)
    assert again.get(make(2).report_id) is None
    assert again.newest() == make(1)
    assert again.ignored == 1
    assert make(2).report_id not in ids(again)


def test_a_passing_read_error_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path, keep=5, max_size=LARGE).put(make(1))
    store = Store(tmp_path, keep=5, max_size=LARGE)

    def exhausted(path: Path) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(report_file, "_open_regular", exhausted)
        assert store.newest() is None
    assert store.newest() == make(1)
    assert store.ignored == 0


def test_a_file_removed_by_somebody_is_no_error(tmp_path: Path) -> None:
    for number in range(3):
        Store(tmp_path, keep=5, max_size=LARGE).put(make(number))
    store = Store(tmp_path, keep=3, max_size=LARGE)
    for path in tmp_path.iterdir():
        path.unlink()
    assert store.get(make(0).report_id) is None
    assert store.newest() is None
    store.put(make(7))
    assert store.newest() == make(7)
    assert store.write_errors == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failing_disk_costs_history_but_not_the_newest_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = Store(tmp_path, keep=5, max_size=LARGE)
    store.put(make(1))

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        store.put(make(2))
        store.put(make(3))
    assert store.write_errors == 2
    assert store.problem is not None
    assert os.strerror(number) in store.problem
    assert store.newest() == make(3)
    assert ids(store) == [make(3).report_id, make(1).report_id]
    assert len(files(tmp_path)) == 1, "a failed write leaves no temporary file"

    store.put(make(4))
    assert store.problem is None
    assert Store(tmp_path, keep=5, max_size=LARGE).newest() == make(4)


def test_a_really_full_disk_is_survived(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from exporter.store import Store, StoredReport\n"
        "s = Store(Path(sys.argv[1]), 99, 1 << 30)\n"
        "for n in range(9):\n"
        "    b = os.urandom(20000); i = f'20261124T08000{n}Z-quick-0000000{n}'\n"
        "    s.put(StoredReport(i, 'quick', '2026-11-24T08:00:00Z', True, 1.0, len(b), b))\n"
        "    assert s.newest().body == b\n"
        "t = Store(Path(sys.argv[1]), 99, 1 << 30)\n"
        "assert all(t.get(h.report_id) for h in t.list())\n"
        "print(s.write_errors, len(t.list()), t.ignored)\n"
    )
    script = f'{" ".join(mount)} || exit 99; exec "$0" "$@"'
    command = ["unshare", "-m", "sh", "-c", script, sys.executable, "-c", code]
    result = subprocess.run(
        [*command, str(tmp_path), str(ROOT)], capture_output=True, text=True, check=False
    )
    if result.returncode == 99 or "unshare" in result.stderr:
        pytest.skip(f"no mount namespace here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    errors, kept, ignored = map(int, result.stdout.split())
    assert errors >= 5
    assert kept == 9 - errors
    assert ignored == 0


@pytest.mark.parametrize("kind", ["file", "below a file", "read-only"])
def test_an_unusable_directory_means_memory_only_and_says_why(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    directory = {
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "reports",
        "read-only": Path("/proc/self"),
    }[kind]
    store = Store(directory, keep=5, max_size=LARGE)
    assert store.problem is not None
    assert str(directory) in store.problem
    store.put(make(1))
    assert store.newest() == make(1)
    assert "memory" in store.problem


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from exporter.store import Store, StoredReport
stage, hits = sys.argv[3], 0

def deadly(call):
    def wrapped(*args, **kwargs):
        global hits
        hits += 1
        if stage.startswith("before") and hits == int(stage.split()[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return call(*args, **kwargs)
        finally:
            if stage.startswith("after") and hits == int(stage.split()[1]):
                os.kill(os.getpid(), signal.SIGKILL)
    return wrapped

store = Store(Path(sys.argv[2]), 4, 1 << 30)
for name in ("open", "fsync", "replace", "rename", "unlink"):
    setattr(os, name, deadly(getattr(os, name)))
number = int(sys.argv[4])
for number in range(number + 1, number + 2000):
    body = b'{"n": %d, "filler": "%s"}' % (number, os.urandom(40_000).hex().encode())
    moment = f"20261124T{number // 3600:02}{number // 60 % 60:02}{number % 60:02}Z"
    store.put(StoredReport(
        f"{moment}-quick-{number:08x}", "quick", moment, True, 1.0, len(body), body))
    print(number, flush=True)
"""


def check_all_readable(directory: Path) -> list[int]:
    store = Store(directory, keep=4, max_size=LARGE)
    numbers = []
    for header in store.list():
        report = store.get(header.report_id)
        assert report is not None, header
        numbers.append(json.loads(report.body)["n"])
    assert store.ignored == 0
    assert not [name for name in files(directory) if name.startswith(report_file.TEMPORARY)]
    return numbers


def run_child(directory: Path, stage: str, first: int, seconds: float | None) -> int:
    """Let a child put reports until it dies; return the last number it said it had put."""
    command = [sys.executable, "-c", CHILD, str(ROOT), str(directory), stage, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = first
        if seconds is not None:
            last = int(child.stdout.readline())
            time.sleep(seconds)
            child.kill()
        said = child.stdout.read().split()
    assert child.returncode == -signal.SIGKILL
    return int(said[-1]) if said else last


def test_a_kill_at_any_moment_loses_no_report_that_was_put(tmp_path: Path) -> None:
    number = 0
    for _ in range(15):
        number = run_child(tmp_path, "random", number, random.uniform(0, 0.02))
        numbers = check_all_readable(tmp_path)
        assert number in numbers or number + 1 in numbers
        assert all(newer == older + 1 for newer, older in pairwise(numbers))
        number = max(numbers)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", range(1, 8))
def test_a_kill_around_each_system_call_loses_no_report_that_was_put(
    tmp_path: Path, when: str, call: int
) -> None:
    number = run_child(tmp_path, f"{when} {30 + call}", 0, None)
    assert number >= 4
    assert number in check_all_readable(tmp_path)
