"""Two network namespaces joined by a cable, and programs in them with known traffic."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

from exporter import probes

WIRE = "wire-"  # interfaces are wire-a and wire-b
V4 = {"a": "10.203.77.1", "b": "10.203.77.2"}
V6 = {"a": "fd77:203::1", "b": "fd77:203::2"}
NETWORK = "10.203.77.0/24"
NOBODY = "10.203.77.99"  # on the cable, but nobody answers
NOWHERE = "02:00:00:00:00:99"  # a hardware address that nobody has

_PROLOGUE = """
import json, os, socket, struct, subprocess, sys, threading, time
told = {}
def ready(): print("here", flush=True); sys.stdin.readline()
def dial(to, port, family=socket.AF_INET):
    s = socket.socket(family); s.connect((to, port)); return s
def listen(port, family=socket.AF_INET, backlog=512):
    s = socket.socket(family); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port)); s.listen(backlog); return s
def drain(s):
    size = 0
    while data := s.recv(65536): size += len(data)
    return size
"""


class Program:
    """A Python program in a namespace: prepares, says that it is ready, works, tells."""

    def __init__(self, space, code, constants):
        lines = "".join(f"{k} = {v!r}\n" for k, v in constants.items())
        text = f"{_PROLOGUE}{lines}{textwrap.dedent(code)}\nprint(json.dumps(told), flush=True)"
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", space, sys.executable, "-c", text],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self.process.pid  # ip replaces itself
        assert self.process.stdout.readline() == "here\n"

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def told(self):
        line = self.process.stdout.readline()
        self.process.wait(30)
        return json.loads(line)

    def run(self):
        self.go()
        return self.told()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Net:
    """The two namespaces, "a" and "b"."""

    def __init__(self):
        self.spaces = {end: f"sysdx-{os.getpid()}-{end}" for end in "ab"}
        self._programs = []

    def start(self, end, code, **constants):
        program = Program(self.spaces[end], code, constants)
        self._programs.append(program)
        return program

    def ip(self, end, *words):
        _run("ip", "-n", self.spaces[end], *words)

    def inside(self, end, *words):
        return _run("ip", "netns", "exec", self.spaces[end], *words)

    def nstat(self, end):
        """All counters of a namespace's own network stack."""
        lines = self.inside(end, "nstat", "-asz").splitlines()
        return {w[0]: int(w[1]) for w in map(str.split, lines) if w and not w[0].startswith("#")}

    @contextlib.contextmanager
    def counted(self, end):
        """Count what happens in between: a dict that is filled at the end."""
        counts, before = {}, self.nstat(end)
        yield counts
        counts |= {name: value - before.get(name, 0) for name, value in self.nstat(end).items()}

    def shape(self, end, rate, latency="400ms", burst="3200"):
        """Send slowly, with a queue that drops what would wait too long."""
        words = f"root tbf rate {rate} burst {burst} latency {latency}".split()
        self.inside(end, "tc", "qdisc", "replace", "dev", WIRE + end, *words)

    def misdirect(self, end, address, hardware=NOWHERE):
        """Send frames for an address to a hardware address that nobody has."""
        words = ["lladdr", hardware, "dev", WIRE + end, "nud", "permanent"]
        self.ip(end, "neigh", "replace", address, *words)

    def direct(self, end, address):
        """Let frames for an address go where they belong again."""
        self.ip(end, "neigh", "del", address, "dev", WIRE + end)

    def build(self):
        for space in self.spaces.values():
            _run("ip", "netns", "add", space)
        a, b = self.spaces.values()
        _run("ip", "-n", a, "link", "add", WIRE + "a", "type", "veth",
             "peer", "name", WIRE + "b", "netns", b)  # fmt: skip
        for end in self.spaces:
            self.ip(end, "addr", "add", f"{V4[end]}/24", "dev", WIRE + end)
            self.ip(end, "addr", "add", f"{V6[end]}/64", "dev", WIRE + end, "nodad")
            self.ip(end, "link", "set", "lo", "up")
            self.ip(end, "link", "set", WIRE + end, "up")
        self._acquaint()

    def _acquaint(self):
        """Wait until the neighbours know each other and what they said for that has arrived."""
        code = "ready(); socket.socket(ipv, socket.SOCK_DGRAM).sendto(b'', (to, 9))"
        for to, ipv in ((V4["b"], 2), (V6["b"], 10)):
            self.start("a", code, to=to, ipv=ipv).run()
        deadline = time.monotonic() + 10
        while not all(self.nstat("b")[name] for name in ("UdpNoPorts", "Udp6NoPorts")):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def remove(self):
        for program in self._programs:
            program.end()
        for space in self.spaces.values():
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def _run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@pytest.fixture
def net():
    """Make two joined namespaces, and leave nothing of them behind."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = Net()
    try:
        made.build()
        yield made
    finally:
        made.remove()


@pytest.fixture
def every_record(monkeypatch):
    """Have the worker keep all events: what else happens on this host must not thin them out."""
    plain = probes._request

    def request(names, window):
        return plain(names, window) | {"records": 100_000, "tops": 100_000}

    monkeypatch.setattr(probes, "_request", request)


def told_of(records, **wanted):
    """The records that have these values."""
    return [r for r in records if all(r[name] == value for name, value in wanted.items())]
