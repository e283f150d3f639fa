"""The command `sweep`: examine the host once and write down what it means."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

from analysis.state import AT_ONCE
from collectors.cgroup_tree import mounted
from exporter.app import Source, collectors, options, paths
from exporter.config import Config, Profile
from exporter.examine import Examiner, Result, version
from exporter.exit_code import BANDS, ExitCode
from exporter.metrics import Exposition
from exporter.metrics_totals import Published
from exporter.orchestrator import Orchestrator
from exporter.output import Output
from exporter.policy import Policy, policy
from exporter.progress import progress
from exporter.text_report import text

_SIGNALS = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


def sweep(args: argparse.Namespace, source: Source) -> int:
    """
    Examine the host once.

    Args:
        args: The command line.
        source: Where the configuration comes from.

    Returns:
        The exit code: the verdict's, or that of a failure or a signal.

    Raises:
        ConfigError: When the configuration has problems.

    """
    config, output = source.read(), Output(args.output)
    if args.pid is not None and not (paths(config).proc / str(args.pid)).is_dir():
        return _fail(ExitCode.USAGE, f"there is no process {args.pid}")
    if args.cgroup is not None and mounted(paths(config)).has(args.cgroup) is False:
        return _fail(ExitCode.USAGE, f"there is no control group {args.cgroup}")
    try:
        output.check()
    except OSError as error:
        return _fail(ExitCode.CANNOT_WRITE, f"cannot write {args.output}: {error.strerror}")
    cancelled = threading.Event()
    caught = _catch(cancelled)
    judging = once(policy(config))
    result = _examine(args, config, judging, cancelled)
    if args.cgroup and not _lists_processes(result):
        _say(f"there is no process below {args.cgroup}")
    return _write(args, output, result, judging) or (
        _SIGNALS[caught[0]] if caught else BANDS[result.assessment.band]
    )


def once(chosen: Policy) -> Policy:
    """
    Judge a single sweep: it has no history to agree with, so what it finds, it says.

    Args:
        chosen: The policy of the configuration.

    Returns:
        The same without damping.

    """
    return replace(chosen, judging=replace(chosen.judging, damping=AT_ONCE))


def _catch(cancelled: threading.Event) -> list[signal.Signals]:
    """Let a first signal cancel the sweep, and a second one end the program on the spot."""
    caught: list[signal.Signals] = []

    def stop(number: int, _: object) -> None:
        if caught:
            os._exit(128 + number)
        caught.append(signal.Signals(number))
        cancelled.set()

    for number in _SIGNALS:
        signal.signal(number, stop)
    return caught


def _examine(
    args: argparse.Namespace, config: Config, judging: Policy, cancelled: threading.Event
) -> Result:
    """Run the sweep and show how far it is."""
    profile = _profile(args, config)
    names = collectors(config)
    more = {"pid": args.pid, "cgroup": args.cgroup}
    with progress(args.profile, profile.duration, tuple(names), sys.stderr) as show:
        examiner = Examiner(
            Orchestrator(names, paths(config)),
            judging,
            lambda _: None,
            options=options(config, **more),
            progress=show,
        )
        return examiner.examine(args.profile, profile, "command", cancelled)


def _profile(args: argparse.Namespace, config: Config) -> Profile:
    """Give the profile as the command line changes it."""
    profile: Profile = dict(config.profiles.items())[args.profile]
    changes: dict[str, object] = {}
    if args.duration:
        late = profile.timeout - profile.duration
        interval = min(profile.sample_interval, args.duration)
        changes = {
            "duration": args.duration,
            "timeout": args.duration + late,
            "sample_interval": interval,
        }
    if args.focus:
        changes["focus"] = tuple(args.focus)
    return profile.model_copy(update=changes)


def _write(args: argparse.Namespace, output: Output, result: Result, judging: Policy) -> int:
    """Write the report in the wanted form to the wanted place."""
    writers: dict[str, Callable[[], bytes]] = {
        "json": lambda: result.body + b"\n",
        "text": lambda: _text(args, output, result),
        "prom": lambda: _page(args.profile, result, judging),
    }
    body = writers[args.format or ("text" if output.terminal else "json")]()
    try:
        output.write(body)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(ExitCode.CANNOT_WRITE, f"cannot write {args.output}: {error.strerror}")
    return 0


def _text(args: argparse.Namespace, output: Output, result: Result) -> bytes:
    """Write the report for reading."""
    chosen = args.pid is not None or args.cgroup is not None
    shown = text(result.report, output.width, args.focus or (), processes=chosen)
    return shown.encode("utf-8", "backslashreplace")


def _page(profile: str, result: Result, judging: Policy) -> bytes:
    """Write the result as a page of metrics."""
    exposition = Exposition(version(), {profile: None}, judging)
    exposition.publish(Published.of(result))
    return exposition.pages().text


def _lists_processes(result: Result) -> bool:
    """Tell whether any process is listed."""
    processes = result.sweep.outcomes.get("process")
    return bool(processes and getattr(processes.data, "top_cpu", ()))


def _fail(code: ExitCode, message: str) -> ExitCode:
    """Say why there is no verdict."""
    _say(message)
    return code


def _say(message: str) -> None:
    """Write a line for people."""
    sys.stderr.write(f"sysdx: {message}\n")
