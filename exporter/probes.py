"""The worker that runs a profile's eBPF probes, as the daemon sees it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter, ValidationError

import collectors
from collectors.base import Paths
from collectors.bpf.model import ProbeSample, Verdict
from collectors.bpf.probe import discover
from collectors.cgroup_tree import mounted
from collectors.model import Cause, Outcome, Status
from exporter import clock
from exporter.orchestrator import CANCEL_GRACE, Window
from exporter.report import WorkerOverhead

log = logging.getLogger(__name__)

# bcc is the distribution's package, so only the distribution's Python may see it.
PYTHONS = tuple(dict.fromkeys((sys.executable, "/usr/bin/python3")))
COMPILE_BUDGET = 60.0  # [s]: 1 s is usual, 14 s were seen on an emulated machine
_READ_BUDGET = 15.0  # [s] to read the maps and name the functions, after the window
_LINGER = 10.0  # [s]: the kernel takes up to 5 s to detach 75 programs
_POLL = 0.1
_TAIL = 500  # [bytes]
_PACKAGE_ROOT = Path(collectors.__file__).parents[1]
_SAMPLE: TypeAdapter[ProbeSample] = TypeAdapter(ProbeSample)
_CAUSES = {
    Verdict.NO_BCC: Cause.MISSING,
    Verdict.NO_TRACEFS: Cause.MISSING,
    Verdict.NO_BTF: Cause.ABSENT,
    Verdict.MISSING_TRACEPOINT: Cause.ABSENT,
    Verdict.MISSING_FIELD: Cause.ABSENT,
    Verdict.DISABLED: Cause.ABSENT,
    Verdict.NO_PERMISSION: Cause.PERMISSION,
    Verdict.LOCKDOWN: Cause.PERMISSION,
    Verdict.COMPILE_ERROR: Cause.GARBLED,
    Verdict.ATTACH_ERROR: Cause.UNREADABLE,
    Verdict.TIMEOUT: Cause.TIMEOUT,
    Verdict.LOST_WORKER: Cause.CRASH,
}


class _Child:
    """
    One worker process.

    Args:
        python: The interpreter.
        request: What is wanted of it.

    """

    def __init__(self, python: str, request: Mapping[str, Any]) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as this
        self._process = subprocess.Popen(  # noqa: S603  our own module
            [python, "-m", "collectors.bpf.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd="/",
            env={"PATH": os.defpath, "PYTHONPATH": str(_PACKAGE_ROOT), "LC_ALL": "C.UTF-8"},
            start_new_session=True,
            bufsize=0,
        )
        self._rest = b""
        self.tell(json.dumps(request))
        # Reaps it, whenever that may be: the kernel detaches for seconds after its last word.
        self.reaper = threading.Thread(target=self._process.wait, name="reap-worker", daemon=True)
        self.reaper.start()

    def tell(self, word: str) -> None:
        """Write a line; a worker that is gone does not read it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word.encode() + b"\n")
        except BrokenPipeError:
            return

    def lines(self, window: Window, deadline: float) -> Iterator[dict[str, Any]]:
        """Yield what it says, until its end, the deadline or shortly after a cancellation."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        cancelled = False
        while (left := deadline - time.monotonic()) > 0:
            if window.cancelled.is_set() and not cancelled:
                cancelled = True
                deadline = min(deadline, time.monotonic() + CANCEL_GRACE)
                self.tell("close")
            if not select.select([pipe], [], [], min(left, _POLL))[0]:
                continue
            part = os.read(pipe, 1 << 16)
            if not part:
                return
            *whole, self._rest = (self._rest + part).split(b"\n")
            yield from map(json.loads, whole)

    def end(self) -> None:
        """Kill it with all its children, and do not wait for it."""
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()
        if self._process.poll() is None:
            # Its reaper may be faster.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """Return the end of what it wrote to standard error."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _TAIL))
        return self._errors.read().decode("utf-8", "replace").strip()


@dataclass(slots=True)
class _Turn:
    """One window's worker and what has been heard of it."""

    child: _Child
    window: Window
    started_at: float
    started: float
    samples: dict[str, ProbeSample] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


class BpfProbes:
    """
    Run a profile's probes in a worker of their own, one window at a time.

    Attributes:
        verdicts: Probe to whether it works here, and in words why not; of those asked for so far.
        cost: What the worker of this window cost; None when it has not told.

    """

    def __init__(self, pythons: tuple[str, ...] = PYTHONS) -> None:
        """
        Start nothing yet.

        Args:
            pythons: Interpreters to try, until one has bcc.

        """
        self.verdicts: dict[str, tuple[Verdict, str]] = {}
        self.cost: WorkerOverhead | None = None
        self._pythons = pythons
        self._turn: _Turn | None = None
        self._wanted: tuple[str, ...] = ()
        self._reaper: threading.Thread | None = None

    @property
    def available(self) -> dict[str, tuple[bool, str]]:
        """Probe to whether it works here, and the reason from the closed list; as far as known."""
        return {n: (v is Verdict.OK, str(v)) for n, (v, _) in self.verdicts.items()}

    def prepare(self, probes: tuple[str, ...], window: Window) -> None:
        """
        Compile and attach, then open the window.

        Args:
            probes: Their names.
            window: Duration, deadline and filters.

        """
        self._wanted, self._turn, self.cost = probes, None, None
        if not probes:
            return
        if self._reaper is not None:
            self._reaper.join(max(0.0, min(_LINGER, window.deadline - time.monotonic() - 1)))
            if self._reaper.is_alive():
                self._judge_all(Verdict.TIMEOUT, "the worker of an earlier sweep does not end")
                return
        try:
            request = _request(probes, window)
        except OSError as error:
            self._judge_all(Verdict.DISABLED, f"nothing to filter by: {error}")
            return
        for python in self._pythons:
            if self._start(python, request, window) is not Verdict.NO_BCC:
                return

    def finish(self) -> dict[str, Outcome]:
        """
        Wait for the window's end and gather what was seen.

        Returns:
            dict probe -> outcome, with one for every probe asked for.

        """
        turn, self._turn = self._turn, None
        if turn is not None:
            self._listen(turn)
            turn.child.end()
        return {name: self._outcome(name, turn) for name in self._wanted}

    def _start(self, python: str, request: Mapping[str, Any], window: Window) -> Verdict | None:
        """Start a worker and wait until everything is attached; say what came in the way."""
        started_at, started = clock.wall(), time.monotonic()
        child = _Child(python, request)
        self._reaper = child.reaper
        deadline = min(started + COMPILE_BUDGET, window.deadline - window.duration - 1)
        for line in child.lines(window, deadline):
            if line["kind"] != "ready":
                self._judge_all(Verdict.LOST_WORKER, f"the worker broke: {line.get('text', '')}")
                break
            self.verdicts |= {n: (Verdict(v), text) for n, (v, text) in line["verdicts"].items()}
            if any(self.verdicts[name][0] is Verdict.OK for name in self._wanted):
                child.tell("open")
                self._turn = _Turn(child, window, started_at, started)
                return None
            break
        else:
            self._judge_silence(child, window, deadline)
        child.end()
        return self.verdicts[self._wanted[0]][0]

    def _judge_silence(self, child: _Child, window: Window, deadline: float) -> None:
        """Say why a worker never was ready."""
        if window.cancelled.is_set():
            self._judge_all(Verdict.TIMEOUT, "the sweep was cancelled while they were compiled")
        elif time.monotonic() >= deadline:
            self._judge_all(Verdict.TIMEOUT, "the probes were not compiled in time")
        else:
            words = child.last_words() or "without a word"
            self._judge_all(Verdict.LOST_WORKER, f"the worker ended while it compiled: {words}")

    def _judge_all(self, verdict: Verdict, text: str) -> None:
        """Give all probes asked for one verdict."""
        self.verdicts |= dict.fromkeys(self._wanted, (verdict, text))

    def _listen(self, turn: _Turn) -> None:
        """Take the worker's answers until it has said all."""
        deadline = min(time.monotonic() + turn.window.duration + _READ_BUDGET, turn.window.deadline)
        for line in turn.child.lines(turn.window, deadline):
            if line["kind"] == "sample":
                self._take(turn, line["probe"], line["sample"])
            elif line["kind"] == "failed":
                turn.faults[line["probe"]] = line["text"]
            elif line["kind"] == "done":
                cost = (line["cpu_seconds"], line["peak_memory_bytes"], line["map_bytes"])
                self.cost = WorkerOverhead(*cost)
                return
            else:
                self._lose(turn, Verdict.LOST_WORKER, f"the worker broke: {line.get('text', '')}")
        late = time.monotonic() >= deadline or turn.window.cancelled.is_set()
        if late:
            self._lose(turn, Verdict.TIMEOUT, "the readings did not come in time")
        else:
            self._lose(turn, Verdict.LOST_WORKER, "the worker ended before it told what it saw")

    def _take(self, turn: _Turn, name: str, sample: Any) -> None:
        """Take one probe's sample."""
        try:
            turn.samples[name] = _SAMPLE.validate_python(sample)
        except ValidationError as error:
            turn.faults[name] = f"the sample was not understood: {error.errors()[0]['msg']}"

    def _lose(self, turn: _Turn, verdict: Verdict, text: str) -> None:
        """Give up on the probes that have not answered."""
        for name in self._wanted:
            if self.verdicts[name][0] is Verdict.OK and name not in turn.samples:
                self.verdicts[name] = (verdict, text)

    def _outcome(self, name: str, turn: _Turn | None) -> Outcome:
        """Turn what is known of a probe into its outcome."""
        verdict, text = self.verdicts[name]
        blank = Outcome(
            collector=name,
            category=discover()[name].category,
            tier="standard",
            essential=False,
            status=Status.OK,
            reason=None,
            cause=None,
            started_at=turn.started_at if turn else clock.wall(),
            seconds=time.monotonic() - turn.started if turn else 0.0,
        )
        if verdict is not Verdict.OK:
            late = verdict in (Verdict.TIMEOUT, Verdict.LOST_WORKER)
            status = Status.TIMEOUT if late else Status.UNAVAILABLE
            return replace(blank, status=status, cause=_CAUSES[verdict], reason=text)
        sample = turn.samples.get(name) if turn else None
        if sample is None:
            reason = (turn.faults.get(name) if turn else None) or "no readings came"
            return replace(blank, status=Status.ERROR, cause=Cause.GARBLED, reason=reason)
        return replace(blank, data=sample)


def _request(probes: tuple[str, ...], window: Window) -> dict[str, Any]:
    """Say what is wanted of a worker; raises OSError when the control group is not there."""
    options = window.options
    request = {
        "probes": list(probes),
        "duration": window.duration,
        "own": [os.getpid()],
        "pid": options.get("pid"),
        "tops": options.get("top", 10),
        "records": options.get("records", 200),
    }
    cgroup = options.get("cgroup")
    return request | (_cgroup(str(cgroup)) if cgroup else {})


def _cgroup(path: str) -> dict[str, int]:
    """Find the id and the depth of a control group (v2), as the kernel's programs see them."""
    host = mounted(Paths())
    inside = host.inside(path)
    number = Path(f"{host.tree.unified or '/sys/fs/cgroup'}{inside}").stat().st_ino
    return {"cgroup": number, "cgroup_level": len(Path(inside).parts) - 1}
