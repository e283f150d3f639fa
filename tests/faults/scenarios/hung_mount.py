"""A FUSE mount whose process never answers."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Impossible, Scenario

_DETACH = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def _induce(folder: Path) -> Iterator[Fault]:
    point = folder / "silent"
    point.mkdir()
    try:
        door = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        raise Impossible(f"/dev/fuse: {error.strerror}") from error
    try:
        _mount(point, f"fd={door},rootmode=40000,user_id=0,group_id=0")
        yield Fault(culprit=str(point))
    finally:
        # Closing it ends all waiting at once.
        os.close(door)
        with contextlib.suppress(OSError):
            _LIBC.umount2(os.fsencode(point), _DETACH)


def _mount(point: Path, options: str) -> None:
    """Mount it by the bare system call: a helper would look at the mount, and wait for ever."""
    if _LIBC.mount(b"sysdx-faults", os.fsencode(point), b"fuse", 0, options.encode()):
        number = ctypes.get_errno()
        raise Impossible(f"mount -t fuse: {os.strerror(number)}")


SCENARIO = Scenario(
    name="hung_mount",
    title="a FUSE mount whose process never answers",
    induce=_induce,
    expect=frozenset({"filesystem_hung"}),
    allowed=frozenset({"filesystem_broken"}),
    cause="filesystem_hung",
    culprit=("mount", "/"),
    step="Look at the server or the FUSE process",
    score_below=97,
)
