"""What a dashboard must show, from the queries' own answers, held against what is on the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.grafana.panels import Answer

Panel = Mapping[str, Any]  # of a dashboard
Told = Mapping[str, Any]  # of a page, see `told` in page/page.jsx

VALUES = ("bargauge", "gauge", "stat")
GRAPHS = ("heatmap", "state-timeline", "timeseries")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
_SHORT = {"": 1.0, "K": 1e3, "Mil": 1e6, "Bil": 1e9}
_UNITS = {
    "none": _SHORT,
    "short": _SHORT,
    "percentunit": {"%": 0.01},
    "bytes": {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
    "s": {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": MINUTE, "mins": MINUTE,
          "hour": HOUR, "hours": HOUR, "day": DAY, "days": DAY, "weeks": 7 * DAY},
}  # fmt: skip
_NUMBER = re.compile(r"(-?\d+(?:\.(\d+))?)\s*(\D*)")
_AGO = re.compile(r"(a few|an?|\d+) (second|minute|hour|day)s? ago")
_LENGTHS = {"second": 1.0, "minute": MINUTE, "hour": HOUR, "day": DAY}


def says(text: str, value: float, config: Mapping[str, Any], now: float = 0.0) -> bool:
    """
    Tell whether a text says a value, as exactly as it is written.

    Args:
        text: On the page.
        value: What the query gave.
        config: Settings of the field: its unit and mappings.
        now: The time on the page's clock [s since the epoch].

    Returns:
        Whether it does.

    """
    for mapping in config.get("mappings", ()):
        named = mapping["options"].get(f"{value:g}") if mapping["type"] == "value" else None
        if named and named.get("text"):
            return bool(text == named["text"])
    unit = config.get("unit", "none")
    if unit == "dateTimeFromNow":
        return _says_age(text, now - value / 1000)
    match = _NUMBER.fullmatch(text)
    scale = _UNITS[unit].get(match[3].strip()) if match else None
    if match is None or scale is None:
        return False
    last_digit = 10.0 ** -len(match[2] or "")
    return abs(float(match[1]) - value / scale) <= 0.5001 * last_digit


def _says_age(text: str, age: float) -> bool:
    """Hold "16 minutes ago" against an age; "a minute" may be up to one and a half."""
    match = _AGO.fullmatch(text)
    if match is None:
        return False
    length = _LENGTHS[match[2]]
    if match[1] == "a few":
        return age < MINUTE
    if match[1] in ("a", "an"):
        return 0.7 * length <= age < 1.5 * length
    return abs(age - int(match[1]) * length) <= 0.5 * length


def settings(panel: Panel, name: str) -> dict[str, Any]:
    """
    Give the settings of one field.

    Args:
        panel: Of the dashboard.
        name: What the field is called on the page.

    Returns:
        The panel's settings of fields with what is set for this one.

    """
    config = dict(panel.get("fieldConfig", {}).get("defaults", {}))
    for override in panel.get("fieldConfig", {}).get("overrides", ()):
        kind, chosen = override["matcher"]["id"], override["matcher"]["options"]
        by_pattern = kind == "byRegexp" and re.search(chosen.strip("/"), name)
        if by_pattern or (kind == "byName" and chosen == name):
            config |= {each["id"]: each["value"] for each in override["properties"]}
    return config


@dataclass(frozen=True, slots=True)
class Seen:
    """
    One panel: what it should show, and what it shows.

    Attributes:
        panel: As the dashboard has it.
        answers: What Prometheus says to its queries.
        told: What is on the page.
        now: The time on the page's clock [s since the epoch].

    """

    panel: Panel
    answers: Sequence[Answer]
    told: Told
    now: float

    def complaints(self) -> Iterator[str]:
        """
        Complain about differences.

        Yields:
            Sentences.

        """
        if self.told["cut"]:
            yield f"texts are wider than their place: {self.told['cut']}"
        if bool(self.told["empty"]) == any(answer.numbers() for answer in self.answers):
            yield f"it is {'' if self.told['empty'] else 'not '}empty, unlike its queries' answers"
        elif self.told["empty"]:
            yield from self._nothing()
        elif self.panel["type"] == "table":
            yield from _Table(self).complaints()
        elif self.panel["type"] in VALUES:
            yield from self._values()
        elif self.panel["type"] in GRAPHS:
            yield from self._graph()

    def _nothing(self) -> Iterator[str]:
        text = self.panel["fieldConfig"]["defaults"].get("noValue") or "No data"
        if self.told["lines"] != [text]:
            yield f"it shows {self.told['lines']}, not {text!r}"

    def _values(self) -> Iterator[str]:
        expected = {name: v for answer in self.answers for name, v in answer.last().items()}
        lines = list(self.told["lines"])
        alone = len(expected) == 1 and self.panel["type"] != "bargauge"
        shown = dict.fromkeys(expected, lines[0]) if alone else dict(_pairs(lines))
        if len(lines) != (1 if alone else 2 * len(expected)) or set(shown) != set(expected):
            yield f"it shows {lines}, not the values of {sorted(expected)}"
            return
        for name, value in expected.items():
            if not says(shown[name], value, settings(self.panel, name), self.now):
                yield f"{name}: it shows {shown[name]!r}, the query says {value}"

    def _graph(self) -> Iterator[str]:
        names = {each["name"] for each in self.told["series"]}
        asked = {name for answer in self.answers for name in answer.legends}
        if self.panel["type"] != "heatmap" and names != asked:
            yield f"it has the series {sorted(names)}, not {sorted(asked)}"
        legend = self.panel["type"] == "timeseries" or self.panel["type"] == "state-timeline"
        hidden = {name.strip() for name in names} - set(self.told["lines"])
        if legend and hidden and len(names) <= self.panel.get("options", {}).get("perPage", 99):
            yield f"it does not name {sorted(hidden)}"
        if not self.told["ink"] and any(n > 0 for answer in self.answers for n in answer.numbers()):
            yield "there are values, but nothing is drawn"


def _pairs(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(lines[::2], lines[1::2], strict=False)


class _Table:
    """A table: its columns in order, a row for every set of labels, and every value in its cell."""

    def __init__(self, seen: Seen) -> None:
        self.panel, self.answers, self.now = seen.panel, seen.answers, seen.now
        table: list[list[str]] = seen.told["rows"] or [[]]
        self.columns, self.rows = table[0], table[1:]
        steps = {step["id"]: step["options"] for step in self.panel.get("transformations", ())}
        organized = steps.get("organize", {})
        self.names: Mapping[str, str] = organized.get("renameByName", {})
        self.hidden = {"Time", *organized.get("excludeByName", {})}
        self.order: Mapping[str, int] = organized.get("indexByName", {})
        self.sorting = list(steps.get("sortBy", {}).get("sort", ()))

    def complaints(self) -> Iterator[str]:
        expected = self._columns()
        if self.columns != expected:
            yield f"its columns are {self.columns}, not {expected}"
            return
        wanted = {tuple(self._labels(s).items()) for a in self.answers for s in a.series}
        if len(self.rows) != len(wanted):
            yield f"it has {len(self.rows)} rows, the queries gave {len(wanted)}"
        values = {
            column: list(self._cells(column, answer))
            for answer in self.answers
            if (column := self._value_column(answer)) not in self.hidden
        }
        for column, cells in values.items():
            yield from self._unequal(column, cells)
        yield from self._unsorted(values)

    def _columns(self) -> list[str]:
        labels = {label for a in self.answers for s in a.series for label in s["metric"]}
        fields = labels | {self._field(answer) for answer in self.answers if answer.series}
        shown = sorted(fields - self.hidden, key=lambda f: (self.order.get(f, 99), f))
        return [self.names.get(field, field) for field in shown]

    def _field(self, answer: Answer) -> str:
        return f"Value #{answer.ref}" if len(self.answers) > 1 else "Value"

    def _value_column(self, answer: Answer) -> str:
        field = self._field(answer)
        return field if field in self.hidden else self.names.get(field, field)

    def _labels(self, series: Mapping[str, Any]) -> dict[str, str]:
        shown = {k: v for k, v in sorted(series["metric"].items()) if k not in self.hidden}
        return {self.names.get(label, label): value for label, value in shown.items()}

    def _cells(self, column: str, answer: Answer) -> Iterator[tuple[int | None, str, float]]:
        """Give, for every series, the number of its row, the text of its cell, and its value."""
        place = self.columns.index(column)
        for series in answer.series:
            labels = self._labels(series)
            found = [n for n, row in enumerate(self.rows) if self._is(row, labels)]
            text = self.rows[found[0]][place] if len(found) == 1 else ""
            yield (found[0] if found else None), text, float(series["value"][1])

    def _is(self, row: Sequence[str], labels: Mapping[str, str]) -> bool:
        return all(row[self.columns.index(name)] == value for name, value in labels.items())

    def _unequal(
        self, column: str, cells: Sequence[tuple[int | None, str, float]]
    ) -> Iterator[str]:
        config = settings(self.panel, column)
        for row, text, value in cells:
            if not says(text, value, config, self.now):
                yield f"{column} in row {row}: it shows {text!r}, the query says {value}"

    def _unsorted(
        self, values: Mapping[str, Sequence[tuple[int | None, str, float]]]
    ) -> Iterator[str]:
        for rule in self.sorting:
            numbers = [value for _, _, value in sorted(values.get(rule["field"], ()), key=_row)]
            texts = [row[self.columns.index(rule["field"])] for row in self.rows]
            column = numbers if rule["field"] in values else texts
            if column != sorted(column, reverse=rule.get("desc", False)):
                yield f"it is not sorted by {rule['field']}: {column}"


def _row(cell: tuple[int | None, str, float]) -> int:
    return -1 if cell[0] is None else cell[0]
