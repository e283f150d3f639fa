"""Documents made from the code: `python -m exporter.docs` writes them all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from exporter import config, report_schema
from exporter.metrics_catalog import FAMILIES, Family

_HEAD = """# Metrics

Generated from `exporter/metrics_catalog.py` by `./dev docs`; do not edit.

Every value comes from the latest sweep or is counted from the start of the
program. What is unknown is absent, never 0. The values of a sweep are withdrawn
when it is older than three intervals; what sysdx says of itself stays. Besides
these there are the library's `process_*` metrics. No process id, command line,
path, address or free text is a label, and every family has a limit.
"""


def metrics() -> str:
    """
    Describe the metrics.

    Returns:
        The page as Markdown.

    """
    of_sweep = [f for f in FAMILIES if f.sweep]
    of_self = [f for f in FAMILIES if not f.sweep]
    return (
        f"{_HEAD}\n## Of the host, from the latest sweep\n\n{_table(of_sweep)}"
        f"\n## Of sysdx itself\n\n{_table(of_self)}"
    )


def _table(families: Iterable[Family]) -> str:
    """Describe families as a table."""
    rows = [
        f"| `{f.name}` | {f.type} | {_code(f.labels)} | {f.limit} | {f.help} |" for f in families
    ]
    return "| name | type | labels | at most | meaning |\n|---|---|---|---|---|\n" + "".join(
        f"{row}\n" for row in rows
    )


def _code(words: Iterable[str]) -> str:
    """Write words as code."""
    return ", ".join(f"`{word}`" for word in words)


def _config_schema() -> str:
    """Describe the configuration as JSON Schema."""
    return json.dumps(config.json_schema(), indent=2, ensure_ascii=False) + "\n"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/metrics.md": metrics,
    "docs/config.schema.json": _config_schema,
    "docs/report.schema.json": lambda: report_schema.text().decode(),
}


def main() -> None:
    """Write every document below the current directory."""
    for name, make in DOCUMENTS.items():
        Path(name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
