"""
Boot Debian's kernels under QEMU and run the probes' tests on them: `./dev test-kernels`.

Each guest is emulated, so it needs no virtualization. It sees this host's files below a layer in
memory, so it runs this checkout with this .venv, and changes nothing here. Of each kernel
the verdict on every probe is told as a table and held against tests/kernels/expected.py; then
come the tests of in_guest.py, and of each probe those whose load is small. An emulated machine
is ten times slower than a real one: what runs here asserts numbers and orders, but no speed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.kernels.debian import Kernel, Missing, kernel
from tests.kernels.expected import VERDICTS, chosen, told
from tests.kernels.machine import boot

_SLOW = 10
_SECONDS = 900.0  # [s] until a guest is given up
_TEST_SECONDS = 300  # [s] for one test
_FAULTS = "tests/kernels/faults_in_guest.py"
_ROOT = Path(__file__).parents[2]
_REASON = 90  # [characters] of a verdict in the table


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of one kernel.

    Attributes:
        kernel: Which.
        verdicts: Probe to verdict and reason.
        tests: What became of how many tests: "passed", "failed", "errors", "skipped".
        seconds: From start to end [s].
        ended: Whether the guest came to its end.

    """

    kernel: Kernel
    verdicts: dict[str, tuple[str, str]]
    tests: Counter[str]
    seconds: float
    ended: bool

    @property
    def good(self) -> bool:
        bad = self.tests["failed"] + self.tests["errors"]
        return self.ended and self.tests["passed"] > 0 and not bad


def main() -> int:
    """Test all kernels, and tell."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # an ordinary user lacks them, and needs them here
    try:
        kernels = [kernel(series) for series in options.kernels]
        outcomes = [_test(one, options.arguments) for one in kernels]
    except Missing as missing:
        print(f"test-kernels: {missing}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    for outcome in outcomes:
        _say(*_table(outcome))
    _say("", *map(_summary, outcomes))
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev test-kernels", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--kernel", dest="kernels", action="append", choices=tuple(VERDICTS), help="only this one"
    )
    parser.add_argument(
        "--faults", action="store_true",
        help="instead, faults that not every host can have: control groups of version 2, netem",
    )  # fmt: skip
    parser.add_argument("arguments", nargs="*", help="tests and options of pytest, after --")
    options = parser.parse_args()
    options.kernels = options.kernels or list(VERDICTS)
    if options.faults:
        options.arguments = [_FAULTS, *options.arguments]
    return options


def _test(kernel: Kernel, arguments: list[str]) -> Outcome:
    _say("", f"booting {kernel.release}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sysdx-kernel-") as folder:
        results = Path(folder) / "results"
        results.mkdir()
        boot(kernel, _job(kernel.series, arguments), results, _SECONDS)
        return Outcome(
            kernel,
            _verdicts(results / "verdicts.json"),
            _tests(results / "junit.xml"),
            time.monotonic() - started,
            (results / "rc").exists(),
        )


def _job(series: str, arguments: list[str]) -> str:
    """Write the script that a guest runs."""
    pytest = [
        ".venv/bin/pytest", "-v", "--color=no", "--tb=short", "-p", "no:cacheprovider",
        f"--timeout={_TEST_SECONDS}", "--basetemp=/run/scratch/pytest",
        "--junitxml=/run/results/junit.xml",
        *(arguments or ("tests/kernels/in_guest.py", *chosen(series))),
    ]  # fmt: skip
    return (
        f"cd {shlex.quote(str(_ROOT))} || exit\n"
        f"export SYSDX_SERIES={series} SYSDX_SLOW={_SLOW}\n"
        f"exec {shlex.join(pytest)} 2>&1\n"
    )


def _verdicts(file: Path) -> dict[str, tuple[str, str]]:
    return json.loads(file.read_text()) if file.exists() else {}


def _tests(file: Path) -> Counter[str]:
    """Count what became of the tests."""
    try:
        suite = next(ET.parse(file).iter("testsuite"))
    except (OSError, ET.ParseError):
        return Counter()
    found = Counter({
        "failed": int(suite.attrib["failures"]),
        "errors": int(suite.attrib["errors"]),
        "skipped": int(suite.attrib["skipped"]),
    })  # fmt: skip
    found["passed"] = int(suite.attrib["tests"]) - found.total()
    return found


def _table(outcome: Outcome) -> list[str]:
    if not outcome.verdicts:
        return []
    width = max(map(len, outcome.verdicts))
    expected = VERDICTS[outcome.kernel.series]
    lines = ["", f"probes on {outcome.kernel.release}"]
    for probe, verdict in sorted(outcome.verdicts.items()):
        words = told(*verdict)
        mark = " " if words == expected.get(probe, "ok") else "!"
        lines.append(f"{mark} {probe:{width}}  {' '.join(words.split())[:_REASON]}")
    return lines


def _summary(outcome: Outcome) -> str:
    works = sum(verdict == "ok" for verdict, _ in outcome.verdicts.values())
    probes = f"{works} of {len(outcome.verdicts)} probes work; " if outcome.verdicts else ""
    counts = [f"{count} {what}" for what, count in sorted(outcome.tests.items()) if count]
    return (
        f"{outcome.kernel.series} ({outcome.kernel.release}): "
        f"{probes}{', '.join(counts) or 'no tests'}"
        f" in {outcome.seconds:.0f} s"
        f"{'' if outcome.ended else '; the guest did not come to its end'}"
        f"{'' if outcome.good else ': FAILED'}"
    )


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
