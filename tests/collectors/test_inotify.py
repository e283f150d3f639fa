"""Who watches files."""

from __future__ import annotations

import ctypes
import os

import pytest

from collectors import inotify
from collectors.base import Context
from collectors.inotify import count_watches, watchers


def test_watches_are_lines_of_their_own():
    assert count_watches(b"pos:\t0\ninotify wd:2 ino:5\ninotify wd:1 ino:4\n") == 2
    assert count_watches(b"inotify wd:2\nx inotify wd:1\n") == 1
    assert count_watches(b"") == 0


def test_the_kernels_own_descriptors_are_found_with_their_watches(tmp_path):
    libc = ctypes.CDLL(None)
    before = {w.user: w for w in watchers(Context()) or ()}.get(os.geteuid())
    handle = libc.inotify_init1(os.O_CLOEXEC)
    try:
        for number in range(300):
            folder = tmp_path / str(number)
            folder.mkdir()
            assert libc.inotify_add_watch(handle, str(folder).encode(), 0x100) > 0
        after = {w.user: w for w in watchers(Context())}[os.geteuid()]
    finally:
        os.close(handle)
    instances, watches = (before.instances, before.watches) if before else (0, 0)
    assert after.instances >= instances + 1
    assert after.watches - watches >= 300
    if watches < 300:
        assert after.process.endswith(f"({os.getpid()})")


def test_a_part_of_the_descriptors_is_no_answer(monkeypatch):
    monkeypatch.setattr(inotify, "_MOST_DESCRIPTORS", 3)
    assert watchers(Context()) is None


@pytest.mark.parametrize("name", ["x", "12"])
def test_what_cannot_be_read_is_left_out(tmp_path, name):
    (tmp_path / name).mkdir()
    ctx = Context()
    ctx.paths = type(ctx.paths)(proc=tmp_path)
    assert watchers(ctx) == ()
