"""Tables for the command line, made from the code."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.model import Rule
from collectors.base import Collector
from collectors.model import Cause, Outcome, Status
from exporter.orchestrator import Orchestrator, Window

_DOCTOR_WINDOW = 0.5
_DOCTOR_LIMIT = 10.0


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Line up columns.

    Args:
        header: Names of the columns.
        rows: Their content.

    Returns:
        The lines.

    """
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header) - 1)]
    return "\n".join(
        "  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    )


def rules_data(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """
    Describe rules as plain data.

    Args:
        rules: The rules.

    Returns:
        One dict per rule.

    """
    fields = ("id", "resource", "cause", "kind", "unit", "warning", "critical", "gate", "source",
              "explanation", "next_steps")  # fmt: skip
    return [{name: getattr(rule, name) for name in fields} for rule in rules]


def rules(rules: Iterable[Rule]) -> str:
    """
    Describe rules as a table.

    Args:
        rules: The rules.

    Returns:
        The lines.

    """
    return table(
        ("RULE", "RESOURCE", "CAUSE", "WARNING", "CRITICAL", "UNIT", "SOURCE"),
        (
            (r.id, r.resource, r.cause, f"{r.warning:g}",
             "-" if r.critical is None else f"{r.critical:g}", r.unit, r.source)
            for r in rules
        ),
    )  # fmt: skip


def collectors_data(collectors: Iterable[Collector]) -> list[dict[str, Any]]:
    """
    Describe collectors as plain data.

    Args:
        collectors: The collectors.

    Returns:
        One dict per collector.

    """
    fields = ("name", "category", "essential", "summary")
    return [{name: getattr(c, name) for name in fields} for c in collectors]


def collectors(collectors: Iterable[Collector]) -> str:
    """
    Describe collectors as a table.

    Args:
        collectors: The collectors.

    Returns:
        The lines.

    """
    return table(
        ("COLLECTOR", "CATEGORY", "ESSENTIAL", "READS"),
        ((c.name, c.category, "yes" if c.essential else "no", c.summary) for c in collectors),
    )


def doctor(orchestrator: Orchestrator, options: Mapping[str, Any]) -> str:
    """
    Try every collector for a moment and say how it went.

    Args:
        orchestrator: Runs the collectors.
        options: Their settings.

    Returns:
        A table, and what an ordinary user lacks.

    """
    window = Window(
        profile="quick",
        duration=_DOCTOR_WINDOW,
        interval=_DOCTOR_WINDOW,
        deadline=time.monotonic() + _DOCTOR_LIMIT,
        cancelled=threading.Event(),
        options=options,
    )
    outcomes = orchestrator.collect(window)
    rows = [row for outcome in outcomes.values() for row in _rows(outcome)]
    note = "" if os.geteuid() == 0 else (
        "\n\nNot running as root: what needs more rights is marked above. Run as root, or give "
        "the process CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE."
    )  # fmt: skip
    return table(("COLLECTOR", "STATUS", "REASON"), rows) + note


def _rows(outcome: Outcome) -> Iterable[tuple[str, str, str]]:
    """Describe one collector's attempt, one line per problem."""
    status = str(outcome.status)
    if outcome.status is Status.UNAVAILABLE and outcome.cause is Cause.ABSENT:
        status = "not here"
    yield outcome.collector, status, "" if outcome.problems else outcome.reason or ""
    for problem in outcome.problems:
        yield "", "", problem.text
