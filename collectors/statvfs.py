"""Room of mounts that may never answer, asked by a child so that nobody waits for them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collectors.base import Context
from collectors.text import natural

COMMAND = (sys.executable, "-I", "-S", str(Path(__file__).with_name("statvfs_child.py")))
# A server that needs longer than this for a question out of its memory is in trouble.
PATIENCE = 3.0
_LEAST_PATIENCE = 0.5
# What the child needs to start and to end, on a loaded host.
_MARGIN = 2.0
_POLL = 0.02
_ANSWER_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Room:
    """
    What a file system said of itself.

    Attributes:
        size_bytes: Its size [bytes].
        free_bytes: Free, with what is kept for root [bytes].
        available_bytes: Free to ordinary users [bytes].
        inodes: Inodes it can hold; 0 where it makes them as needed.
        inodes_available: Inodes ordinary users may still make.

    """

    size_bytes: int
    free_bytes: int
    available_bytes: int
    inodes: int
    inodes_available: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """
    A mount that did not answer.

    Attributes:
        since: When it was first found so, on the monotonic clock [s].
        pid: The process that cannot be ended, still asking; 0 when it ended.
        born: That process's start time, which tells it from a later one of its number.
        where: The kernel function it waits in; None when unknown.

    """

    since: float
    pid: int
    born: bytes
    where: str | None


@dataclass(frozen=True, slots=True)
class Answers:
    """
    What came of asking.

    Attributes:
        rooms: dict mount point -> its room.
        errors: dict mount point -> error number.
        stuck: dict mount point -> how it hangs.
        unasked: Mount points of which nothing is known, because the child was late itself.

    """

    rooms: Mapping[bytes, Room]
    errors: Mapping[bytes, int]
    stuck: Mapping[bytes, Stuck]
    unasked: tuple[bytes, ...]


def room(numbers: tuple[int, ...]) -> Room:
    """
    Turn the answer's numbers into bytes.

    Args:
        numbers: Fragment size; blocks, free and available ones; inodes and available ones.

    Returns:
        The room.

    Source:
        statvfs(3).

    """
    unit, blocks, free, available, inodes, left = numbers
    return Room(blocks * unit, free * unit, available * unit, inodes, left)


class Asking:
    """
    A question to several mounts, put by one child that asks all of them at once.

    A mount whose earlier asker cannot be ended is not asked again: it costs one
    process, however long it hangs.

    Args:
        ctx: Paths, window, and the memory of earlier hangs.
        points: Mount points to ask.
        now: The monotonic time [s].

    """

    def __init__(self, ctx: Context, points: list[bytes], now: float) -> None:
        self._ctx = ctx
        self._memory: dict[bytes, Stuck] = ctx.memory.setdefault("stuck", {})
        self._still = {
            p: s for p, s in self._memory.items() if p in points and s.pid and _alive(ctx, s)
        }
        self._points = [p for p in points if p not in self._still]
        self._asked = now
        self._patience = max(min(PATIENCE, ctx.duration), _LEAST_PATIENCE)
        self._deadline = time.monotonic() + self._patience + _MARGIN
        self._child = self._start() if self._points else None

    def answers(self) -> Answers:
        """
        Take what came, waiting no longer than the patience allows.

        Returns:
            The answers; the child is gone.

        """
        lines = self._output()
        rooms, errors, hung = parse_answers(lines, self._points)
        stuck = dict(self._still)
        for point, (pid, where) in hung.items():
            since = self._memory[point].since if point in self._memory else self._asked
            stuck[point] = Stuck(since, pid, _born(self._ctx, pid), where)
        known = {*rooms, *errors, *stuck}
        unasked = tuple(p for p in self._points if p not in known)
        # Of one that nobody could ask, the earlier word still holds.
        kept = {p: self._memory[p] for p in unasked if p in self._memory}
        self._memory.clear()
        self._memory.update(stuck | kept)
        return Answers(rooms, errors, stuck, unasked)

    def _start(self) -> subprocess.Popen[bytes] | None:
        """Start the child and tell it what to ask."""
        try:
            child = subprocess.Popen(  # noqa: S603  our own program
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return None
        root = os.fsencode(self._ctx.paths.root).rstrip(b"/")
        question = b"\0".join(
            [str(self._patience).encode("ascii"), *(root + p for p in self._points)]
        )
        assert child.stdin is not None
        # A child that died at once is told by its silence.
        with contextlib.suppress(OSError), child.stdin as pipe:
            pipe.write(question)
        return child

    def _output(self) -> bytes:
        """Wait for the child's end, but not beyond its time nor a cancelled sweep."""
        child = self._child
        if child is None or child.stdout is None:
            return b""
        while child.poll() is None and time.monotonic() < self._deadline:
            if self._ctx.cancelled.wait(_POLL):
                break
        if child.poll() is None:
            # With the processes it started, which form a group of their own.
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        with child.stdout as pipe:
            return _drain(pipe.fileno())


def parse_answers(
    raw: bytes, points: list[bytes]
) -> tuple[dict[bytes, Room], dict[bytes, int], dict[bytes, tuple[int, str | None]]]:
    """
    Parse what the child wrote.

    Args:
        raw: Its output.
        points: The mount points it was given, in that order.

    Returns:
        Rooms, error numbers, and of those that hang the process and where it waits.

    Raises:
        ValueError: When a line is not of the child's form.

    """
    rooms: dict[bytes, Room] = {}
    errors: dict[bytes, int] = {}
    hung: dict[bytes, tuple[int, str | None]] = {}
    for line in raw.splitlines():
        kind, index, *rest = [*line.split(), b"", b""]
        place = natural(index)
        if place >= len(points):
            raise ValueError(f"no such mount: {line[:80]!r}")
        words = rest[:-2]
        if kind == b"ok" and len(words) == _ANSWER_FIELDS:
            rooms[points[place]] = room(tuple(map(natural, words)))
        elif kind == b"error" and len(words) == 1:
            errors[points[place]] = natural(words[0])
        elif kind == b"hung" and len(words) == 2:  # noqa: PLR2004
            where = None if words[1] == b"-" else words[1].decode("ascii", "replace")
            hung[points[place]] = natural(words[0]), where
        else:
            raise ValueError(f"not an answer: {line[:80]!r}")
    return rooms, errors, hung


def _drain(handle: int) -> bytes:
    """Read what is in a pipe without waiting for those who still hold its other end."""
    os.set_blocking(handle, False)
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := os.read(handle, 1 << 16):
            parts.append(part)
    return b"".join(parts)


def _alive(ctx: Context, stuck: Stuck) -> bool:
    """Tell whether the process that could not be ended is still there."""
    return bool(stuck.born) and _born(ctx, stuck.pid) == stuck.born


def _born(ctx: Context, pid: int) -> bytes:
    """Read a process's start time; empty when it is gone, or only waits to be reaped."""
    raw = ctx.try_read(ctx.paths.proc / str(pid) / "stat", 4096) if pid else None
    fields = (raw or b"").rpartition(b")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in (b"Z", b"X") else b""  # noqa: PLR2004
