"""Asking file systems that may never answer: a child process asks, and at most one hangs."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE = 2.0
_LIMIT = 1 << 20
# The child asks one after another and says each answer at once, so that what
# was answered before a hung one is not lost.
_ASK = """
import json, os, sys
for path in json.load(sys.stdin):
    raw = path.encode("latin-1")
    print(json.dumps([path, None]), flush=True)
    try:
        s = os.statvfs(raw)
        found = [s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree]
    except OSError:
        found = []
    print(json.dumps([path, found]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Space:
    """
    What statvfs says.

    Attributes:
        size: [bytes].
        free: The part reserved for root included [bytes].
        available: For ordinary users [bytes].
        inodes: Files it can hold; None where it has no such limit.
        inodes_free: Of them unused.

    """

    size: int | None = None
    free: int | None = None
    available: int | None = None
    inodes: int | None = None
    inodes_free: int | None = None

    @classmethod
    def of(cls, found: os.statvfs_result) -> Space:
        """
        Read a result of statvfs.

        Args:
            found: The result.

        Returns:
            The space.

        Source:
            statvfs(3); file systems without a limit of inodes (btrfs) say 0.

        """
        return cls.counted(
            (found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail, found.f_files,
             found.f_ffree)
        )  # fmt: skip

    @classmethod
    def counted(cls, numbers: Sequence[int]) -> Space:
        """
        Read the numbers of a result.

        Args:
            numbers: Block size, blocks, free, available, inodes, free inodes.

        Returns:
            The space.

        """
        unit, blocks, free, available, inodes, inodes_free = numbers
        return cls(
            unit * blocks,
            unit * free,
            unit * available,
            inodes or None,
            inodes_free if inodes else None,
        )


class Guard:
    """
    Ask through a child, and remember the child that hangs instead of starting more.

    Args:
        patience: How long the child may take for all file systems [s].
        command: How to start the child; replaced in tests.

    """

    def __init__(self, patience: float = PATIENCE, command: Sequence[str] | None = None) -> None:
        self._patience = patience
        self._command = list(command or (sys.executable, "-I", "-S", "-c", _ASK))
        self._child: subprocess.Popen[bytes] | None = None
        self._hung: dict[bytes, float] = {}

    @property
    def busy(self) -> bool:
        """Whether a child hangs, in an uninterruptible wait that no signal ends."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
            self._hung.clear()
        return self._child is not None

    def ask(self, points: Sequence[bytes]) -> dict[bytes, Space]:
        """
        Ask file systems for their space.

        Args:
            points: Where they are mounted.

        Returns:
            dict mount point -> space, of those that answered in time. While a
            child hangs nobody is asked, because the next one might hang as well.

        """
        if self.busy or not points:
            return {}
        began = time.monotonic()
        child = subprocess.Popen(  # noqa: S603  our own interpreter and text
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        answers, asked = self._listen(child, points, began + self._patience)
        if child.poll() is None:
            self._hung = {p: began for p in asked if p not in answers}
            os.killpg(child.pid, signal.SIGKILL)
            self._child = child
            self._reap(child)
        return {p: s for p, s in answers.items() if s is not None}

    def waiting(self, point: bytes) -> float | None:
        """
        Tell for how long a file system has not answered.

        Args:
            point: Where it is mounted.

        Returns:
            The time [s]; None when it is not known to hang.

        """
        since = self._hung.get(point)
        return None if since is None else time.monotonic() - since

    def _reap(self, child: subprocess.Popen[bytes]) -> None:
        """Collect a killed child if it can die; one in an uninterruptible wait cannot."""
        try:
            child.wait(0.2)
        except subprocess.TimeoutExpired:
            return
        # It died, so the wait was one that can be ended; the next sweep asks again.
        self._child = None

    def _listen(
        self, child: subprocess.Popen[bytes], points: Sequence[bytes], deadline: float
    ) -> tuple[dict[bytes, Space | None], list[bytes]]:
        """Take the child's answers until it ends or is late."""
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps([p.decode("latin-1") for p in points]).encode())
        child.stdin.close()
        raw = _read_until(child.stdout.fileno(), deadline)
        answers: dict[bytes, Space | None] = {}
        asked: list[bytes] = []
        for line in raw.split(b"\n")[:-1]:
            path, numbers = json.loads(line)
            point = path.encode("latin-1")
            if numbers is None:
                asked.append(point)
            else:
                answers[point] = Space.counted(numbers) if numbers else None
        child.stdout.close()
        if len(answers) == len(set(points)):
            child.wait()
        return answers, asked


def _read_until(handle: int, deadline: float) -> bytes:
    """Read from a pipe until its end or a deadline."""
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(handle, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and selector.select(left):
            part = os.read(handle, 1 << 16)
            if not part or sum(map(len, parts)) > _LIMIT:
                break
            parts.append(part)
    return b"".join(parts)
