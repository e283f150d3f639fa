"""Processes that do harm for a while, and are gone afterwards with all their children."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Impossible

_PATIENCE = 10.0  # [s]
_PROLOGUE = """
import os, socket, sys, time
def ready(): os.write(1, b"ready\\n")
for _group in groups: open(_group, "w").write(str(os.getpid()))
open("/proc/self/comm", "w").write(name)
"""


@contextmanager
def program(
    name: str,
    code: str,
    groups: Iterable[Path] = (),
    constants: Mapping[str, object] | None = None,
    inside: tuple[str, ...] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a Python program until the context is left.

    Args:
        name: What the kernel shall call it, 15 characters at most.
        code: The program; it calls ready() when the fault is there, and then goes on.
        groups: Files of control groups to join.
        constants: Its variables.
        inside: Words of a command that runs it, such as `ip netns exec`.

    Yields:
        The process.

    """
    given = {"name": name, "groups": [str(g) for g in groups], **(constants or {})}
    lines = "".join(f"{key} = {value!r}\n" for key, value in given.items())
    text = f"{lines}{_PROLOGUE}{textwrap.dedent(code)}"
    with _running([*inside, sys.executable, "-c", text], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{name} did not get ready")
        yield process


@contextmanager
def stress(*words: str, groups: Iterable[Path] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run stress-ng until the context is left.

    Args:
        words: Its options.
        groups: Files of control groups to join.

    Yields:
        The process.

    """
    tool = shutil.which("stress-ng")
    if tool is None:
        raise Impossible("stress-ng is not installed")
    command = [tool, "--quiet", "--oomable", "--temp-path", "/tmp", *words]
    joins = "".join(f"echo $$ > {g}; " for g in groups)
    with _running(["/bin/sh", "-c", f'{joins}exec "$@"', "sh", *command]) as process:
        yield process


@contextmanager
def looped(command: str) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a command of the shell again and again until the context is left.

    Args:
        command: The command.

    Yields:
        The shell.

    """
    with _running(["/bin/sh", "-c", f"while :; do {command}; done"]) as process:
        yield process


@contextmanager
def _running(
    command: list[str], stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own, and end all of it."""
    process = subprocess.Popen(command, stdout=stdout, start_new_session=True)
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process kindly, then it and its session for good."""
    session = _session(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
    for pid in {*session, *_session(process.pid)}:
        _kill(pid, process.pid)
    process.wait(timeout=_PATIENCE)
    # What init has to collect holds on to mounts and groups until it is.
    until = time.monotonic() + _PATIENCE
    while _session(process.pid) and time.monotonic() < until:
        time.sleep(0.02)
    if process.stdout is not None:
        process.stdout.close()


def _session(leader: int) -> set[int]:
    """List the processes of a session."""
    found = set()
    for name in os.listdir("/proc"):  # noqa: PTH208  names are all that is wanted
        with contextlib.suppress(OSError):
            if name.isdigit() and os.getsid(int(name)) == leader:
                found.add(int(name))
    return found


def _kill(pid: int, session: int) -> None:
    """Kill a process unless its pid is somebody else's by now."""
    with contextlib.suppress(OSError):
        if os.getsid(pid) == session:
            os.kill(pid, signal.SIGKILL)
