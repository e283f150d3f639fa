"""A benchmark's `measure` in the namespaces that `hosts.inside` made: process 1 there."""

from __future__ import annotations

import importlib
import json
import sys


def main() -> None:
    """Measure, and write what was found as the last line."""
    task, arguments = sys.argv[1:]
    found = importlib.import_module(f"benchmarks.{task}").measure(**json.loads(arguments))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
