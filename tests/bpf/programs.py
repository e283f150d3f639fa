"""Programs that wait until they are told to do something that can be counted."""

from __future__ import annotations

import subprocess
import sys

_FRAME = """
import ctypes, os, signal, socket, sys, time
print("here", flush=True)
sys.stdin.readline()
{work}
print("done", flush=True)
sys.stdin.readline()
"""


class Program:
    """A program that is ready, works when told so, and lives on until it is left."""

    def __init__(self, work, *command):
        self.process = subprocess.Popen(
            command or [sys.executable, "-S", "-c", _FRAME.format(work=work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "here\n"
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()

    def work(self):
        """Have it work, and return what it said until it had done."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        said = []
        while (line := self.process.stdout.readline().rstrip("\n")) != "done":
            assert self.process.poll() is None or line, "the program broke"
            said.append(line)
        return said


def started(*command):
    """Start another program that keeps to the same words."""
    return Program("", *command)


def compiled(folder, source, *flags):
    """Compile a C program."""
    (folder / "program.c").write_text(source)
    subprocess.run(["gcc", *flags, "-o", folder / "program", folder / "program.c"], check=True)
    return folder / "program"


def strings(value):
    """All text in a sample's rows."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in (*value.keys(), *value.values()):
            yield from strings(part)
    elif isinstance(value, tuple):
        for part in value:
            yield from strings(part)
