"""Debian's libbpf-tools, run beside our probes: what they say of the same load."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

PLACE = Path("/usr/sbin")
# They need tracefs, which hosts may not have mounted; the host's own mounts stay as they are.
_INSIDE = 'mount -t tracefs none /sys/kernel/tracing 2>/dev/null; exec "$@"'
_ATTACHED = ("bpf_link", "[perf_event]", "bpf-raw-tracepoint", "bpf-tracing")
_SETTLE = 0.3  # [s] until the last of several programs is attached

needs_peers = pytest.mark.skipif(not (PLACE / "biolatency").exists(), reason="needs libbpf-tools")


class Peer:
    """A tool that is attached, and watches until it is asked what it saw."""

    def __init__(self, name, *options):
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed with its process
        command = ["unshare", "--mount", "sh", "-c", _INSIDE, "sh"]
        command += ["stdbuf", "-oL", PLACE / name, *map(str, options)]
        self._process = subprocess.Popen(command, stdout=self._output, stderr=self._output)
        self._wait_until_attached()

    def _wait_until_attached(self):
        deadline = time.monotonic() + 30
        while not self._holds_a_program():
            if self._process.poll() is not None:
                raise AssertionError(self._read())
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(_SETTLE)

    def _holds_a_program(self):
        found = []
        for link in Path(f"/proc/{self._process.pid}/fd").iterdir():
            try:
                found.append(str(link.readlink()))
            except FileNotFoundError:
                continue
        return any(word in target for target in found for word in _ATTACHED)

    def _read(self):
        self._output.seek(0)
        return self._output.read()

    def told(self):
        """End it, and return what it wrote."""
        self._process.send_signal(2)
        self._process.wait(30)
        return self._read()

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._output.close()


@pytest.fixture
def beside():
    """
    Run a load beside some tools: beside(load, "cpudist -p 7", ...).

    Gives what the load returned, and then what each tool wrote.
    """
    started = []

    def run(load, *commands):
        mine = [Peer(*command.split()) for command in commands]
        started.extend(mine)
        return load(), *(one.told() for one in mine)

    yield run
    for one in started:
        one.end()


def histograms(text):
    """Parse all histograms: the name above each, or "", to dict upper edge -> count."""
    found, name = defaultdict(Counter), ""
    for line in text.splitlines():
        if title := re.fullmatch(r"[\w ]+ = (.+?)\s*", line):
            name = title[1]
        elif row := re.match(r"\s*\d+ -> (\d+)\s*: (\d+)", line):
            found[name][int(row[1]) + 1] += int(row[2])
    return found


def slots(histogram):
    """Give a histogram of ours as they have theirs, in its own unit."""
    return {bucket.le: bucket.count for bucket in histogram.buckets}


def table(text, fields):
    """Parse the lines that have so many words at least, the last one with all that is left."""
    rows = [line.split(maxsplit=fields - 1) for line in text.splitlines()[1:]]
    return [row for row in rows if len(row) == fields]
