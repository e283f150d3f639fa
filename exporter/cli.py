"""The command line."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from analysis.state import AT_ONCE
from collectors.base import discover
from exporter import logs, tables
from exporter.app import Service, Source, collectors, options, paths
from exporter.config import ConfigError, Profile
from exporter.examine import Examiner, Result, version
from exporter.metrics import Exposition
from exporter.metrics_totals import Published
from exporter.orchestrator import Orchestrator
from exporter.policy import Policy, policy
from exporter.progress import progress
from exporter.text_report import text

OK, DEGRADED, CRITICAL, UNKNOWN = 0, 1, 2, 3
USAGE, UNAVAILABLE, CANNOT_WRITE, BAD_CONFIG = 64, 69, 73, 78
_BANDS = {"healthy": OK, "degraded": DEGRADED, "critical": CRITICAL, "unknown": UNKNOWN}
_DEFAULT_FILE = Path("/etc/sysdx/config.yaml")


class _Parser(argparse.ArgumentParser):
    """A parser whose usage errors do not look like a verdict."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def run(arguments: Sequence[str]) -> int:
    """
    Run a command.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code: 0 healthy, 1 degraded, 2 critical, 3 unknown; 64 and
        above for usage and failure.

    """
    options_ = _parser().parse_args(_with_default(list(arguments)))
    logs.begin(options_.log_level or ("info" if options_.command == "serve" else "warning"))
    try:
        code: int = options_.run(options_)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIG
    return code


def _with_default(arguments: list[str]) -> list[str]:
    """Make "serve" the command when none is named."""
    words = [a for a in arguments if a in _COMMANDS]
    if words or {"-h", "--help", "--version"} & set(arguments):
        return arguments
    if arguments and not arguments[0].startswith("-"):
        return arguments
    return ["serve", *arguments]


def _parser() -> _Parser:
    """Describe the command line."""
    parser = _Parser(prog="sysdx", description="Examine this host and say what is wrong with it.")
    parser.add_argument("--version", action="version", version=f"sysdx {version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for name, (function, summary, extend) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=function, command=name)
        _common(command)
        extend(command)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings; see config.yaml")
    for name in ("procfs", "sysfs", "rootfs"):
        parser.add_argument(f"--path.{name}", dest=name, metavar="DIR", help=f"where {name} is")
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=("debug", "info", "warning", "error"),
        help="how much to log; as configured, else info for serve and warning otherwise",
    )


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `serve` takes."""
    parser.add_argument(
        "--web.listen-address", dest="listen", metavar="HOST:PORT", help="where to listen"
    )


def _sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `sweep` takes."""
    parser.add_argument("--profile", choices=("quick", "standard", "deep"), default="quick")
    parser.add_argument("--duration", type=_seconds, metavar="SECONDS", help="observe so long")
    parser.add_argument("--output", default="-", metavar="FILE", help="write there; - is stdout")
    parser.add_argument("--format", choices=("json", "text", "prom"), help="default: text on a "
                        "terminal, else json")  # fmt: skip
    parser.add_argument("--pid", type=_natural, help="list this process only")
    parser.add_argument("--cgroup", metavar="PATH", help="list processes below this cgroup only")


def _table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the tables take."""
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _nothing(_: argparse.ArgumentParser) -> None:
    """Add nothing."""


def _seconds(raw: str) -> float:
    """Read a duration in seconds, with or without the unit."""
    try:
        value = float(raw.removesuffix("s"))
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{raw!r} is no number of seconds from 1 to 3600")
    return value


def _natural(raw: str) -> int:
    """Read a process id."""
    if not raw.isascii() or not raw.isdigit():
        raise argparse.ArgumentTypeError(f"{raw!r} is no process id")
    return int(raw)


def _source(args: argparse.Namespace) -> Source:
    """Tell where the configuration comes from."""
    file = args.config or (_DEFAULT_FILE if _DEFAULT_FILE.exists() else None)
    where = {n: getattr(args, n) for n in ("procfs", "sysfs", "rootfs") if getattr(args, n)}
    changes: dict[str, dict[str, Any]] = {"paths": where} if where else {}
    if getattr(args, "listen", None):
        changes["web"] = {"listen_address": args.listen}
    return Source(file, changes)


def _serve(args: argparse.Namespace) -> int:
    """Run the exporter until a signal comes."""
    service = Service(_source(args))
    logs.begin(args.log_level or service.config.log.level, service.config.log.format)
    try:
        service.run()
    except OSError as error:
        address = service.config.web.listen_address
        print(
            f"cannot listen on {address}: {error.strerror or error}; "
            "choose another with --web.listen-address HOST:PORT",
            file=sys.stderr,
        )
        return UNAVAILABLE
    return OK


def _sweep(args: argparse.Namespace) -> int:
    """Examine the host once."""
    config = _source(args).read()
    profile: Profile = dict(config.profiles.items())[args.profile]
    if args.duration:
        late = profile.timeout - profile.duration
        changes = {"duration": args.duration, "timeout": args.duration + late}
        profile = profile.model_copy(update=changes)
    cancelled = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cancelled.set())
    chosen = policy(config)
    judging = chosen.judging
    # One sweep has no history to agree with: what it finds, it says.
    once = Policy(
        type(judging)(judging.rules, judging.uses, AT_ONCE, judging.min_coverage),
        chosen.max_series,
        chosen.stale_after,
    )
    names = collectors(config)
    more = {"pid": args.pid, "cgroup": args.cgroup}
    with progress(args.profile, profile.duration, len(names), sys.stderr) as show:
        examiner = Examiner(
            Orchestrator(names, paths(config)),
            once,
            lambda _: None,
            options=options(config, **more),
            progress=show,
        )
        result = examiner.examine(args.profile, profile, "command", cancelled)
    return _write(args, result, once) or _BANDS[result.assessment.band]


def _write(args: argparse.Namespace, result: Result, chosen: Policy) -> int:
    """Write the report where it is wanted."""
    terminal = args.output == "-" and sys.stdout.isatty()
    form = args.format or ("text" if terminal else "json")
    if form == "json":
        body = result.body + b"\n"
    elif form == "text":
        body = text(result.report).encode()
    else:
        body = _prometheus(args.profile, result, chosen)
    try:
        if args.output == "-":
            sys.stdout.buffer.write(body)
            sys.stdout.flush()
        else:
            Path(args.output).write_bytes(body)
    except OSError as error:
        print(f"{args.output}: {error.strerror or error}", file=sys.stderr)
        return CANNOT_WRITE
    return OK


def _prometheus(profile: str, result: Result, chosen: Policy) -> bytes:
    """Write a result as a page of metrics."""
    exposition = Exposition(version(), {profile: None}, {}, chosen)
    exposition.publish(Published.of(result))
    return exposition.pages().text


def _doctor(args: argparse.Namespace) -> int:
    """Say what can be read on this host, and why the rest cannot."""
    config = _source(args).read()
    names = collectors(config)
    print(tables.doctor(Orchestrator(names, paths(config)), options(config)))
    return OK


def _check_config(args: argparse.Namespace) -> int:
    """Read the configuration and say whether it is good."""
    source = _source(args)
    source.read()
    print(f"{source.file or 'built-in defaults'}: no problems")
    return OK


def _rules(args: argparse.Namespace) -> int:
    """List the rules in force."""
    rules = policy(_source(args).read()).rules.values()
    print(json.dumps(tables.rules_data(rules)) if args.format == "json" else tables.rules(rules))
    return OK


def _collectors(args: argparse.Namespace) -> int:
    """List the collectors."""
    found = discover().values()
    shown = tables.collectors_data(found)
    print(json.dumps(shown) if args.format == "json" else tables.collectors(found))
    return OK


_Command = tuple[
    Callable[[argparse.Namespace], int], str, Callable[[argparse.ArgumentParser], None]
]
_COMMANDS: dict[str, _Command] = {
    "serve": (_serve, "sweep on schedule and serve /metrics and /report", _serve_arguments),
    "sweep": (_sweep, "examine the host once", _sweep_arguments),
    "doctor": (_doctor, "say what can be read here, and why the rest cannot", _nothing),
    "check-config": (_check_config, "check the configuration and start nothing", _nothing),
    "rules": (_rules, "list the rules with their thresholds", _table_arguments),
    "collectors": (_collectors, "list the collectors", _table_arguments),
}
