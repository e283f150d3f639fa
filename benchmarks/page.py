"""What the benchmarks found, as a page."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One quantity, measured several times.

    Attributes:
        values: The measurements.
        unit: Their unit.

    """

    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        """The middle of the measurements."""
        return statistics.median(self.values)

    @property
    def most(self) -> float:
        """The largest of the measurements."""
        return max(self.values)

    def __str__(self) -> str:
        """Write the median with the range and the number of measurements."""
        if len(self.values) == 1:
            return f"{number(self.median)} {self.unit}"
        least, most = number(min(self.values)), number(self.most)
        return f"{number(self.median)} {self.unit} ({least}-{most}, n={len(self.values)})"


@dataclass(frozen=True, slots=True)
class Budget:
    """
    A promise, and what came of it.

    Attributes:
        what: What was measured.
        limit: The most it may be, in the figure's unit.
        measured: What it was.
        value: What is held against the limit: the figure's median or its most.
        peer: The peer's figure; None where there is none.

    """

    what: str
    limit: float
    measured: Figure
    value: float
    peer: Figure | None = None

    def row(self) -> list[str]:
        """
        Write it as a row of the table of budgets.

        Returns:
            One text for each column.

        """
        limit = f"≤ {number(self.limit)} {self.measured.unit}"
        verdict = "met" if self.value <= self.limit else "**not met**"
        peer = [str(self.peer), ratio(self.value, self.peer.median)] if self.peer else ["-", "-"]
        return [self.what, limit, str(self.measured), verdict, *peer]


@dataclass(frozen=True, slots=True)
class Table:
    """
    A table.

    Attributes:
        header: Names of the columns.
        rows: One text for each column.

    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Write the table in Markdown."""
        rows = (self.header, ["---"] * len(self.header), *self.rows)
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)


@dataclass(frozen=True, slots=True)
class Section:
    """
    What one benchmark found.

    Attributes:
        title: Its heading.
        method: How it was measured.
        tables: The figures.
        budgets: The promises among them.
        remarks: What else is to be said.

    """

    title: str
    method: str
    tables: Sequence[Table]
    budgets: Sequence[Budget] = ()
    remarks: Sequence[str] = ()

    def __str__(self) -> str:
        """Write the section in Markdown."""
        parts = (f"## {self.title}", self.method, *map(str, self.tables), *self.remarks)
        return "\n\n".join(parts)


def number(value: float) -> str:
    """
    Write a number with about three significant digits.

    Args:
        value: The number.

    Returns:
        Such as "1,234", "56.7", "8.90" or "0.012".

    """
    if value == int(value):
        return f"{value:,.0f}"
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{places}f}"


def ratio(value: float, other: float) -> str:
    """
    Write how many times another number one is.

    Args:
        value: The one.
        other: The other.

    Returns:
        Such as "1.52 x"; a dash when there is nothing to compare with.

    """
    return f"{number(value / other)} x" if other else "-"


def page(sections: Sequence[Section], about: Iterable[str]) -> str:
    """
    Put the page together.

    Args:
        sections: What the benchmarks found.
        about: How and when they were run.

    Returns:
        The page in Markdown.

    """
    header = ("what", "budget", "measured", "verdict", "peer", "against the peer")
    budgets = [b.row() for s in sections for b in s.budgets]
    head = [
        "# What sysdx costs",
        (
            "Written by `./dev bench`. Figures are medians (least-most, number of measurements). "
            "The peer is Debian's prometheus-node-exporter, measured in the same run on the same "
            "host; times differ from machine to machine, so the ratios count most. CPU time is the "
            "kernel's own account of the process and of the children it waited for, read from "
            "outside; memory is what /proc/PID/smaps_rollup says."
        ),
        "\n".join(f"- {line}" for line in about),
    ]
    tables = ["## Budgets", str(Table(header, budgets))] if budgets else []
    return "\n\n".join([*head, *tables, *map(str, sections)]) + "\n"


def renewed(old: str, sections: Sequence[Section]) -> str:
    """
    Put sections into a page, in the place of those with the same title or at its end.

    Args:
        old: The page in Markdown.
        sections: What the benchmarks found; budgets that the page has get their new figures.

    Returns:
        The page.

    """
    for budget in (b for s in sections for b in s.budgets):
        line = "| " + " | ".join(budget.row()) + " |"
        row = re.compile(rf"^\| {re.escape(budget.what)} \|.*$", re.MULTILINE)
        old = row.sub(line.replace("\\", r"\\"), old)
    return _joined(old, map(str, sections))


def kept(new: str, old: str) -> str:
    """
    Keep those sections of the old page that the new one has not measured.

    Args:
        new: The page that was just made, in Markdown.
        old: The page before it.

    Returns:
        The new page with the others at its end.

    """
    measured = _parts(new)[1]
    return _joined(new, (text for title, text in _parts(old)[1].items() if title not in measured))


def _joined(old: str, sections: Iterable[str]) -> str:
    """Put sections in the place of those with the same heading or at the end."""
    head, found = _parts(old)
    found |= {section.partition("\n")[0]: section for section in sections}
    return "\n\n".join([head, *found.values()]) + "\n"


def _parts(text: str) -> tuple[str, dict[str, str]]:
    """Split a page into its head and its sections by their headings."""
    head, *parts = re.split(r"(?m)^(?=## )", text)
    return head.rstrip("\n"), {part.partition("\n")[0]: part.rstrip("\n") for part in parts}


def machine() -> list[str]:
    """
    Describe what the benchmarks run on.

    Returns:
        One line for the hardware, one for the software.

    """
    cpuinfo, meminfo = Path("/proc/cpuinfo").read_text(), Path("/proc/meminfo").read_text()
    models = [
        line.partition(":")[2].strip() for line in cpuinfo.splitlines() if "model name" in line
    ]
    memory = int(meminfo.split()[1]) / (1 << 20)
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return [
        (
            f"machine: {os.cpu_count()} CPUs ({models[0] if models else platform.machine()}), "
            f"{memory:.1f} GiB of memory"
        ),
        f"system: {system}, kernel {platform.release()}, Python {platform.python_version()}",
    ]
