"""The command `doctor`: what can be read on this host, why the rest cannot, and the way out."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from collectors.base import Paths
from collectors.bpf.model import Verdict
from collectors.bpf.probe import discover
from collectors.model import Cause, Outcome, Status
from collectors.rights import missing
from exporter.config import Config
from exporter.layout import grid
from exporter.orchestrator import Orchestrator, Window
from exporter.probes import COMPILE_BUDGET, BpfProbes

_WINDOW = 0.5  # [s]
_LIMIT = 10.0  # [s]
_IMPORT_LIMIT = 20.0  # [s]
_PYTHONS = (sys.executable, "/usr/bin/python3")
_ASK = "import bcc; print(getattr(bcc, '__version__', '?') if hasattr(bcc, 'BPF') else 'no BPF')"
_FORGED = "no BPF"
_Row = tuple[str, str, str]


def doctor(orchestrator: Orchestrator, options: Mapping[str, Any], config: Config) -> str:
    """
    Try every collector for a moment, and look for what eBPF needs.

    Args:
        orchestrator: Runs the collectors.
        options: Their settings.
        config: Names the probes that are wanted.

    Returns:
        Two tables, and what an ordinary user lacks.

    """
    outcomes = orchestrator.collect(
        Window(
            profile="quick",
            duration=_WINDOW,
            interval=_WINDOW,
            deadline=time.monotonic() + _LIMIT,
            cancelled=threading.Event(),
            options=options,
        )
    )
    rows = [row for outcome in outcomes.values() for row in _rows(outcome)]
    parts = [
        grid([("COLLECTOR", "STATUS", "WHAT IS MISSING, AND THE WAY OUT"), *rows], width=0),
        grid([("EBPF", "STATUS", "FOUND"), *_ebpf(orchestrator.paths, config)], width=0),
    ]
    if os.geteuid() != 0:
        parts.append(
            "Not running as root: what needs more rights is marked above. Run as root, or grant\n"
            "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, and CAP_SYS_ADMIN for eBPF."
        )
    return "\n\n".join(parts)


def _rows(outcome: Outcome) -> Iterator[_Row]:
    """Describe one collector's attempt, one line per problem."""
    status = str(outcome.status)
    if outcome.status is Status.UNAVAILABLE and outcome.cause is Cause.ABSENT:
        status = "not here"
    first, *others = [p.text for p in outcome.problems] or [outcome.reason or ""]
    yield outcome.collector, status, first
    for text in others:
        yield "", "", text


def _ebpf(paths: Paths, config: Config) -> Iterable[_Row]:
    """Look for everything that eBPF probes need."""
    yield _bcc()
    btf = paths.sys / "kernel/btf/vmlinux"
    yield (
        ("BTF", "ok", str(btf))
        if os.access(btf, os.R_OK)
        else ("BTF", "missing", f"{btf}: not readable; needs a kernel with CONFIG_DEBUG_INFO_BTF")
    )
    yield _tracefs(paths)
    lacking = missing("CAP_SYS_ADMIN")
    yield (
        ("rights", "missing", "CAP_SYS_ADMIN: run as root, or grant it")
        if lacking
        else ("rights", "ok", "CAP_SYS_ADMIN")
    )
    yield from _lockdown(paths)
    yield from _probes(paths, config)


def _probes(paths: Paths, config: Config) -> Iterator[_Row]:
    """Try every probe for a moment."""
    if paths.proc != Paths().proc:
        yield "probes", "not tried", "they examine the kernel that runs here, not another host"
        return
    names = tuple(discover())
    probes, now = BpfProbes(), time.monotonic()
    limit = COMPILE_BUDGET + _LIMIT
    probes.prepare(names, Window("doctor", _WINDOW, _WINDOW, now + limit, threading.Event()))
    probes.finish()
    used: dict[str, str] = {}
    for profile, settings in config.profiles.items():
        used = dict.fromkeys(settings.probes, profile) | used
    for name in names:
        verdict, text = probes.verdicts[name]
        way = _WAYS.get(verdict, "")
        place = f"runs in {used[name]} sweeps" if name in used else "no profile names it"
        yield name, str(verdict), "; ".join(filter(None, (text, way))) or place


# What to do, where the verdict's own text does not say it already.
_WAYS = {
    Verdict.NO_BTF: "use a kernel with CONFIG_DEBUG_INFO_BTF",
    Verdict.MISSING_TRACEPOINT: "a kernel that has it is needed",
    Verdict.MISSING_FIELD: "a kernel that has it is needed",
    Verdict.COMPILE_ERROR: "please report this, with the kernel's version",
    Verdict.ATTACH_ERROR: "please report this, with the kernel's version",
    Verdict.TIMEOUT: "try again when the host is less busy",
    Verdict.LOST_WORKER: "look into the kernel log for what killed the worker",
}


def _bcc() -> _Row:
    """Look for a Python that can import the distribution's bcc; this program never does."""
    for python in dict.fromkeys(_PYTHONS):
        version = _import_bcc(python)
        if version and version != _FORGED:
            return "bcc", "ok", f"{version} in {python}"
    return "bcc", "missing", "install python3-bpfcc (not the bcc of PyPI, which is something else)"


def _import_bcc(python: str) -> str | None:
    """Let a Python import bcc and tell its version."""
    try:
        asked = subprocess.run(  # noqa: S603  a fixed program
            [python, "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_IMPORT_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def _tracefs(paths: Paths) -> _Row:
    """Look for a mounted and readable tracefs."""
    places = [paths.sys / "kernel/tracing", paths.sys / "kernel/debug/tracing"]
    for place in places:
        if os.access(place / "events", os.R_OK | os.X_OK):
            return "tracefs", "ok", str(place)
    if not os.access(places[0], os.R_OK | os.X_OK):
        return "tracefs", "refused", f"{places[0]}: only root may look into it"
    if not missing("CAP_SYS_ADMIN"):
        return "tracefs", "ok", "not mounted; the eBPF worker mounts it for itself alone"
    way = f"mount -t tracefs tracefs {places[0]}"
    return "tracefs", "missing", f"not mounted at {places[0]}; as root: {way}"


def _lockdown(paths: Paths) -> Iterator[_Row]:
    """Say when the kernel is locked down, which forbids reading kernel memory."""
    try:
        state = (paths.sys / "kernel/security/lockdown").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return
    if "[confidentiality]" in state:
        yield "lockdown", "refused", "confidentiality: the kernel lets no probe read its memory"
