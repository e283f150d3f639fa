"""Run the benchmarks and write benchmarks/RESULTS.md: `./dev bench [--quick] [NAME...]`."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.page import Section, kept, machine, page, renewed
from benchmarks.programs import PEER

NAMES = ("cost", "schedule", "memory", "scrapes", "hang", "start", "probes")
_MORE = ("fleet",)  # only when asked for
_RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    """
    Run what was asked for.

    Returns:
        The exit code: 1 when a budget is not met.

    """
    args = _arguments()
    if os.geteuid() != 0:
        print("benchmarks need root: they make namespaces", file=sys.stderr)
        return 77
    began, load = datetime.now(UTC), os.getloadavg()[0]
    sections = [_run(name, small=args.quick) for name in args.names or NAMES]
    about = _about(began, load, sys.argv[1:])
    if args.keep:
        note = "Measured apart: " + about[-1]
        sections = [replace(s, remarks=(*s.remarks, note)) for s in sections]
        text = renewed(_RESULTS.read_text(), sections)
    else:
        text = kept(page(sections, [*machine(), *about]), _RESULTS.read_text())
    print(text)
    if args.output:
        args.output.write_text(text)
    return int(any(b.value > b.limit for s in sections for b in s.budgets))


def _arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=(*NAMES, *_MORE, []),
                        help=f"{', '.join((*NAMES, *_MORE))}; default all but fleet")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="less often and for shorter times")
    parser.add_argument("--keep", action="store_true",
                        help=f"change only what is measured in {_RESULTS.name}")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help=f"default {_RESULTS.name} if all is measured, else none")  # fmt: skip
    args = parser.parse_args()
    if (args.keep or not args.names) and not args.quick and args.output is None:
        args.output = _RESULTS
    return args


def _run(name: str, *, small: bool) -> Section:
    """Run one benchmark and tell how long it took."""
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    began = time.monotonic()
    section: Section = importlib.import_module(f"benchmarks.{name}").run(small)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return section


def _about(began: datetime, load: float, arguments: Iterable[str]) -> list[str]:
    """Say when and how this was run, and beside what."""
    shown = subprocess.run([PEER, "--version"], capture_output=True, text=True, check=True)
    version = (shown.stdout or shown.stderr).partition("(")[0].replace("_", r"\_").strip()
    commit = subprocess.run(
        ["git", "-C", str(_RESULTS.parent), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    return [
        f"peer: {version}",
        (
            f"run: `{' '.join(['./dev bench', *arguments])}` at {began:%Y-%m-%d %H:%M} UTC, "
            f"{minutes:.1f} minutes, load before it {load:.2f}, commit {commit or '?'}"
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
