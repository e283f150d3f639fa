"""Hosts of known size: namespaces with so many processes, sockets and interfaces."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.programs import ROOT, allow_files

_OWN = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
# sysfs shows the interfaces of the namespace it was mounted in, so it is mounted anew;
# the control groups below it stay what they were.
_ENTER = """
ip link set lo up
held=$(mktemp -d)
mount --rbind /sys/fs/cgroup "$held"
mount -t sysfs sysfs /sys
mount --move "$held" /sys/fs/cgroup
rmdir "$held"
exec "$@"
"""


def inside(task: str, arguments: Mapping[str, Any]) -> Any:
    """
    Run a benchmark's `measure` in namespaces of its own, for processes, network and mounts.

    Whatever it started or made there is gone when it ends, however it ends.

    Args:
        task: The benchmark's module.
        arguments: Arguments of its `measure`.

    Returns:
        What `measure` returned.

    """
    program = (sys.executable, "-m", "benchmarks.inside", task, json.dumps(arguments))
    command = [*_OWN, "sh", "-ec", _ENTER, "sh", *program]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def running() -> int:
    """
    Count the processes.

    Returns:
        Those that procfs lists, threads of the kernel among them.

    """
    return sum(entry.name.isdigit() for entry in Path("/proc").iterdir())


def processes(total: int) -> None:
    """
    Start sleeping processes until there are so many, one to come among them.

    Args:
        total: How many, with the program under test.

    """
    for _ in range(total - running() - 1):
        os.posix_spawn("/bin/sleep", ["sleep", "infinity"], {})


def sockets(count: int) -> list[socket.socket]:
    """
    Open established TCP connections over loopback.

    Args:
        count: How many sockets, half of them on either side.

    Returns:
        What must be kept for them to stay open.

    """
    allow_files(count + 1000)
    server = socket.create_server(("127.0.0.1", 0))
    held = [server]
    for _ in range(count // 2):
        held += [socket.create_connection(server.getsockname()), server.accept()[0]]
    return held


def interfaces(count: int) -> None:
    """
    Make virtual interfaces, all of them up.

    Args:
        count: How many, in pairs.

    """
    lines = [f"link add v{n}a type veth peer name v{n}b" for n in range(count // 2)]
    lines += [f"link set v{n}{side} up" for n in range(count // 2) for side in "ab"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True)
