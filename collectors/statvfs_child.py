"""
A program that asks mounts for their room where the answer may never come.

It reads a patience [s] and mount points, separated by NUL, from its standard
input and asks each in a process of its own. It writes one line for each that
answers, "ok INDEX" and six numbers or "error INDEX ERRNO", and after its
patience one for each that does not: "hung INDEX PID WHERE", where PID is the
process that even SIGKILL did not end, or 0. It ends itself; nothing waits for it.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_POLL = 0.01
# A killed process needs a moment to end; one that does not is stuck in the kernel.
_GRACE = 0.2


def _ask(index: int, point: bytes) -> None:
    """Ask one mount; one short write reaches the pipe whole."""
    try:
        s = os.statvfs(point)
        numbers = (s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_favail)
        line = f"ok {index} {' '.join(map(str, numbers))}\n"
    except OSError as error:
        line = f"error {index} {error.errno or 0}\n"
    os.write(1, line.encode("ascii"))


def _start(index: int, point: bytes) -> int:
    """Start a process that asks."""
    pid = os.fork()
    if pid == 0:
        # Whatever happens, the copy must not go on as if it were the parent.
        try:
            _ask(index, point)
        finally:
            os._exit(0)
    return pid


def _reap(asking: dict[int, int], seconds: float) -> None:
    """Wait until all have ended, or so long."""
    deadline = time.monotonic() + seconds
    while asking and time.monotonic() < deadline:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if pid:
            asking.pop(pid, None)
        else:
            time.sleep(_POLL)


def _where(pid: int) -> str:
    """Name the kernel function a process sleeps in; "-" when the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/wchan", encoding="ascii") as file:  # noqa: PTH123  no imports
            word = file.read(64).strip()
    except (OSError, UnicodeDecodeError):
        return "-"
    return word if word and word != "0" else "-"


def main() -> None:
    """
    Ask all mounts at once.

    Source:
        statvfs(3); /proc/PID/wchan.

    """
    head, *points = sys.stdin.buffer.read().split(b"\0")
    asking = {_start(index, point): index for index, point in enumerate(points)}
    _reap(asking, float(head))
    late = {index: (pid, _where(pid)) for pid, index in asking.items()}
    for pid in list(asking):
        os.kill(pid, signal.SIGKILL)
    _reap(asking, _GRACE)
    for index, (pid, where) in late.items():
        left = pid if pid in asking else 0
        os.write(1, f"hung {index} {left} {where}\n".encode("ascii"))


if __name__ == "__main__":
    main()
