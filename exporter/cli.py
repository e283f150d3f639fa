"""The command line."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from collectors.base import discover
from exporter import diff, diff_text, flamegraph, logs, malloc, tables
from exporter.app import Service, Source, collectors, options, paths
from exporter.config import ConfigError
from exporter.config_model import FOCUS
from exporter.doctor import doctor
from exporter.examine import version
from exporter.exit_code import ExitCode
from exporter.one_shot import sweep
from exporter.orchestrator import Orchestrator
from exporter.output import Output
from exporter.policy import policy

_DEFAULT_FILE = Path("/etc/sysdx/config.yaml")
_LONGEST = 3600.0  # [s]
_EXIT_CODES = """
exit codes: 0 healthy, 1 degraded, 2 critical, 3 unknown; 64 usage, 65 no report, 66 input not
readable, 69 address not available, 70 a bug, 73 output not writable, 78 configuration; 130 or 143
interrupted by SIGINT or SIGTERM, 141 the reader of a pipe has gone"""


class _Parser(argparse.ArgumentParser):
    """A parser whose usage errors do not look like a verdict, and that guesses no option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line."""
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def run(arguments: Sequence[str]) -> int:
    """
    Run a command.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code, as in ExitCode.

    """
    for stream in (sys.stdout, sys.stderr):
        # A name that no encoding holds must not cost the report.
        if callable(reconfigure := getattr(stream, "reconfigure", None)):
            reconfigure(errors="backslashreplace")
    options_ = _parser().parse_args(_with_default(list(arguments)))
    logs.begin(options_.log_level or ("info" if options_.command == "serve" else "warning"))
    try:
        code: int = options_.run(options_)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_CONFIG
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
    parser = _Parser(
        prog="sysdx",
        description="Examine this host and say what is wrong with it. Without a command: serve.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sysdx {version()}")
    _common(parser, None)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for name, (function, summary, extend) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=function, command=name)
        # Not given after the command, an option keeps what was given before it.
        _common(command, argparse.SUPPRESS)
        extend(command)
    return parser


def _common(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add what every command takes, before its name or after it."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=default, help="settings; see config.yaml"
    )
    for name in ("procfs", "sysfs", "rootfs"):
        parser.add_argument(
            f"--path.{name}",
            dest=name,
            metavar="DIR",
            default=default,
            help=f"where the {name} of the examined host is",
        )
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=("debug", "info", "warning", "error"),
        default=default,
        help="how much to log; as configured, else info for serve and warning otherwise",
    )


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `serve` takes."""
    parser.add_argument(
        "--web.listen-address", dest="listen", metavar="HOST:PORT", help="where to listen"
    )


def _sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `sweep` takes."""
    parser.add_argument(
        "--profile",
        choices=("quick", "standard", "deep"),
        default="quick",
        help="whose settings to use; default quick",
    )
    parser.add_argument(
        "--duration", type=_seconds, metavar="SECONDS", help="observe so long, not as configured"
    )
    parser.add_argument(
        "--output", default="-", metavar="FILE", help="write there; default -, standard output"
    )
    parser.add_argument(
        "--format", choices=("json", "text", "prom"), help="default: text on a terminal, else json"
    )
    parser.add_argument(
        "--focus",
        action="extend",
        type=_focus,
        metavar="NAME[,NAME]",
        help=f"what to look into more closely: {', '.join(FOCUS)}",
    )
    parser.add_argument(
        "--pid",
        type=_natural,
        help="look at this process only: its row, and what probes can tell of it",
    )
    parser.add_argument(
        "--cgroup", metavar="PATH", help="the same for the processes below this cgroup"
    )


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `diff` takes."""
    parser.add_argument(
        "before", metavar="A", help="a report in JSON, as sweep and the store write it"
    )
    parser.add_argument("after", metavar="B", help="a later one")
    _table_arguments(parser)


def _flamegraph_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `flamegraph` takes."""
    parser.add_argument("report", metavar="REPORT", help="a report of a deep sweep, in JSON")
    parser.add_argument("--probe", choices=flamegraph.PROBES, default=flamegraph.PROBES[0])
    parser.add_argument(
        "-o", "--output", default="-", metavar="FILE", help="write there; default standard output"
    )
    parser.add_argument(
        "--format",
        choices=flamegraph.FORMS,
        help="default svg, or speedscope for a FILE that ends in .json",
    )


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
    if not 0 < value <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{raw!r} is no number of seconds up to {_LONGEST:.0f}")
    return value


def _focus(raw: str) -> list[str]:
    """Read names with commas between them."""
    names = raw.split(",")
    if wrong := [name for name in names if name not in FOCUS]:
        known = ", ".join(FOCUS)
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of {known}")
    return names


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
    malloc.share_one_arena()
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
        return ExitCode.UNAVAILABLE
    return ExitCode.HEALTHY


def _sweep(args: argparse.Namespace) -> int:
    """Examine the host once."""
    return sweep(args, _source(args))


def _diff(args: argparse.Namespace) -> int:
    """Compare two reports."""
    try:
        found = diff.compare(diff.load(args.before), diff.load(args.after))
    except diff.NoReportError as error:
        print(f"sysdx: {error}", file=sys.stderr)
        return ExitCode.NO_REPORT
    except OSError as error:
        print(f"sysdx: cannot read {error.filename}: {error.strerror}", file=sys.stderr)
        return ExitCode.NO_INPUT
    if args.format == "json":
        print(json.dumps(asdict(found)))
    else:
        print(diff_text.text(found, Output("-").width), end="")
    return ExitCode.HEALTHY


def _flamegraph(args: argparse.Namespace) -> int:
    """Draw the stacks of a report."""
    try:
        stacks = flamegraph.read(diff.load(args.report), args.probe)
    except (diff.NoReportError, ValueError) as error:
        print(f"sysdx: {error}", file=sys.stderr)
        return ExitCode.NO_REPORT
    except OSError as error:
        print(f"sysdx: cannot read {error.filename}: {error.strerror}", file=sys.stderr)
        return ExitCode.NO_INPUT
    kind = args.format or ("speedscope" if args.output.endswith(".json") else "svg")
    try:
        Output(args.output).write(flamegraph.write(stacks, kind).encode())
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"sysdx: cannot write {args.output}: {error.strerror}", file=sys.stderr)
        return ExitCode.CANNOT_WRITE
    return ExitCode.HEALTHY


def _doctor(args: argparse.Namespace) -> int:
    """Say what can be read on this host, and why the rest cannot."""
    config = _source(args).read()
    orchestrator = Orchestrator(collectors(config), paths(config))
    print(doctor(orchestrator, options(config), config))
    return ExitCode.HEALTHY


def _check_config(args: argparse.Namespace) -> int:
    """Read the configuration and say whether it is good."""
    source = _source(args)
    source.read()
    print(f"{source.file or 'built-in defaults'}: no problems")
    return ExitCode.HEALTHY


def _rules(args: argparse.Namespace) -> int:
    """List the rules in force."""
    found = policy(_source(args).read()).rules.values()
    if args.format == "json":
        print(json.dumps(tables.rules_data(found)))
    else:
        print(tables.rules(found, _table_width()))
    return ExitCode.HEALTHY


def _collectors(args: argparse.Namespace) -> int:
    """List the collectors."""
    found = discover().values()
    if args.format == "json":
        print(json.dumps(tables.collectors_data(found)))
    else:
        print(tables.collectors(found, _table_width()))
    return ExitCode.HEALTHY


def _table_width() -> int:
    """Give the width of a person's terminal; one line per row for other programs."""
    if not sys.stdout.isatty():
        return 0
    return shutil.get_terminal_size().columns


_Command = tuple[
    Callable[[argparse.Namespace], int], str, Callable[[argparse.ArgumentParser], None]
]
_COMMANDS: dict[str, _Command] = {
    "serve": (_serve, "sweep on schedule and serve /metrics and /report", _serve_arguments),
    "sweep": (_sweep, "examine the host once", _sweep_arguments),
    "diff": (_diff, "tell what changed between two reports", _diff_arguments),
    "flamegraph": (_flamegraph, "draw the stacks of a report", _flamegraph_arguments),
    "doctor": (_doctor, "say what can be read here, and why the rest cannot", _nothing),
    "check-config": (_check_config, "check the configuration and start nothing", _nothing),
    "rules": (_rules, "list the rules with their thresholds", _table_arguments),
    "collectors": (_collectors, "list the collectors", _table_arguments),
}
