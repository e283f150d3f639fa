"""Tables for the command line, made from the code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from analysis.model import Rule
from collectors.base import Collector
from exporter.layout import grid, paragraph


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


def rules(rules: Iterable[Rule], width: int = 0) -> str:
    """
    Describe rules as a table.

    Args:
        rules: The rules.
        width: Longest line [columns], with the source below each rule; 0 for
            one line per rule.

    Returns:
        The lines.

    """
    header = ("RULE", "RESOURCE", "CAUSE", "WARNING", "CRITICAL", "UNIT")
    listed = [(_rule(rule), rule.source) for rule in rules]
    if not width:
        return _table((*header, "SOURCE"), ((*row, source) for row, source in listed), 0)
    first, *lines = _table(header, (row for row, _ in listed), 0).splitlines()
    told = (paragraph(source, "    ", width) for _, source in listed)
    return "\n".join(
        [first, *(f"{line}\n{source}" for line, source in zip(lines, told, strict=True))]
    )


def _rule(rule: Rule) -> tuple[str, ...]:
    """Describe a rule in one row."""
    critical = "-" if rule.critical is None else f"{rule.critical:g}"
    return rule.id, rule.resource, rule.cause, f"{rule.warning:g}", critical, rule.unit


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


def collectors(collectors: Iterable[Collector], width: int = 0) -> str:
    """
    Describe collectors as a table.

    Args:
        collectors: The collectors.
        width: Longest line [columns]; 0 for one line per collector.

    Returns:
        The lines.

    """
    return _table(
        ("COLLECTOR", "CATEGORY", "ESSENTIAL", "READS"),
        ((c.name, c.category, "yes" if c.essential else "no", c.summary) for c in collectors),
        width,
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> str:
    """Line up columns below their names."""
    return grid([header, *rows], width=width)
