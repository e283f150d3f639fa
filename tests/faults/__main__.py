"""
Induce faults on this host and see whether the diagnosis is right: `./dev faults`.

Each scenario (tests/faults/scenarios/NAME.py) is one fault. Before it the host has to be
silent; within two sweeps the fault has to be found, its culprit and cause named; after its end
all has to clear. Every change is undone, whatever happens. Run it on a machine that nobody
needs meanwhile.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from tests.faults import quiet, silence
from tests.faults.scenario import Scenario, discover
from tests.faults.table import details, markdown, row, text, totals
from tests.faults.trial import Outcome, run

_IDLE = 20


def main() -> int:
    """
    Run the scenarios that were asked for.

    Returns:
        0 when all targets are met.

    """
    arguments = _arguments()
    if os.geteuid() != 0:
        sys.stderr.write("faults: root is needed to induce faults\n")
        return 1
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    # As an exception, so that whatever was changed is put back on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _silence(arguments) if arguments.silence is not None else _faults(arguments)
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="./dev faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="scenarios; all when none is named"
    )
    parser.add_argument("--list", action="store_true", help="only list the scenarios")
    parser.add_argument("--busy", action="store_true", help="do not wait until the host is idle")
    parser.add_argument("--output", type=Path, help="write the table there as Markdown")
    parser.add_argument(
        "--silence", nargs="?", type=int, const=_IDLE, metavar="N",
        help="instead, N sweeps of the idle host and some during ordinary work must be silent",
    )  # fmt: skip
    return parser.parse_args()


def _faults(arguments: argparse.Namespace) -> int:
    """Run scenarios and tell."""
    known = discover()
    unknown = [n for n in arguments.names if n not in known]
    if unknown or arguments.list:
        lines = [f"{s.name:24} {s.title}" for s in known.values()]
        return _say(*[f"there is no scenario {n}" for n in unknown], *lines) or bool(unknown)
    chosen = [known[n] for n in arguments.names or known]
    outcomes = [_tried(scenario, 0.0 if arguments.busy else quiet.PATIENCE) for scenario in chosen]
    _say("", text(outcomes))
    if arguments.output is not None:
        document = silence.carried(markdown(outcomes), _earlier(arguments.output))
        arguments.output.write_text(document, encoding="utf-8")
    return 0 if all(total.met for total in totals(outcomes)) else 1


def _tried(scenario: Scenario, patience: float) -> Outcome:
    """Run one scenario and tell at once."""
    outcome = run(scenario, patience=patience)
    _say("  ".join(filter(None, row(outcome))), *details(outcome))
    return outcome


def _silence(arguments: argparse.Namespace) -> int:
    """See whether an ordinary host is left alone."""
    spells = silence.run(arguments.silence, lambda spell: _say("  ".join(silence.row(spell))))
    _say("", silence.text(spells))
    if arguments.output is not None:
        document = silence.appended(_earlier(arguments.output), spells)
        arguments.output.write_text(document, encoding="utf-8")
    return 0 if all(spell.good for spell in spells) else 1


def _earlier(file: Path) -> str:
    """Read a document that is about to be written anew."""
    return file.read_text("utf-8") if file.exists() else ""


def _say(*lines: str) -> int:
    """Write lines at once."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
