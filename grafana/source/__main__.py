"""Write the dashboards, or tell whether the written ones are the present ones."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grafana.source.exporter_health import exporter
from grafana.source.fleet import fleet
from grafana.source.frame import written
from grafana.source.host import host
from grafana.source.latency import latency

FOLDER = Path(__file__).parents[1] / "dashboards"
BOARDS = {"fleet": fleet, "host": host, "latency": latency, "exporter": exporter}


def texts() -> dict[Path, str]:
    """
    Build all dashboards.

    Returns:
        dict file -> its text.

    """
    return {FOLDER / f"{name}.json": written(build()) for name, build in BOARDS.items()}


def main(arguments: list[str] | None = None) -> int:
    """
    Write the dashboards; with --check only compare.

    Args:
        arguments: The command line; None for the real one.

    Returns:
        The exit code: 1 when a written dashboard is not the present one.

    """
    parser = argparse.ArgumentParser(prog="python -m grafana.source", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args(arguments).check
    old = []
    for file, text in texts().items():
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        old.append(file.name)
        if not check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    if old:
        verb = "not the present ones" if check else "written"
        sys.stderr.write(f"{verb}: {', '.join(old)}\n")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
