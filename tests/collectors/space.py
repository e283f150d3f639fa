"""Programs in a network namespace of their own, where nobody else has sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# `start` runs a program that works until it says "ready", and then holds what it has until
# this one ends.
_PROLOGUE = """
import contextlib, dataclasses, json, os, socket, subprocess, sys, threading, time
from pathlib import Path
from collectors.base import Context, Paths

_BEFORE = '''
import os, socket, sys, time
open("/proc/self/comm", "w").write({name!r})
def ready():
    print("ready", flush=True)
    sys.stdin.read()
'''

def start(name, code, *, elsewhere=False, user=None):
    command = [sys.executable, "-c", _BEFORE.format(name=name) + code]
    if elsewhere:
        command = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *command]
    one = subprocess.Popen(command, stdin=-1, stdout=-1, text=True, user=user, group=user)
    assert one.stdout.readline() == "ready\\n"
    started.append(one)
    return one.pid

def tell(*what):
    print(json.dumps(what, default=dataclasses.asdict), flush=True)

started = []
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
"""

# Holds so many connections that the other side closed.
LEAK = """
server = socket.create_server(("127.0.0.1", 0), backlog=64)
held = []
for _ in range({count}):
    peer = socket.create_connection(server.getsockname())
    held.append(server.accept()[0])
    peer.close()
ready()
"""


def inside(code, **constants):
    """
    Run a program in a namespace of its own.

    Args:
        code: The program; it calls tell() once.
        constants: Its variables.

    Returns:
        What it told, as a list.

    """
    given = "".join(f"{name} = {value!r}\n" for name, value in constants.items())
    text = f"{_PROLOGUE}{given}{textwrap.dedent(code)}\n" + textwrap.dedent("""
        for one in started:
            one.communicate()
    """)
    return alone(text)


def alone(text, *arguments):
    """
    Run a whole program in a namespace of its own.

    Args:
        text: The program, which prints JSON.
        arguments: Of its command line.

    Returns:
        What it printed.

    """
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", text, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if "unshare failed" in done.stderr:
        pytest.skip("needs the right to make a network namespace")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
