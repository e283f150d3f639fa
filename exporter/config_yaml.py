"""A YAML file into plain data that knows the line of each of its keys, and the problems in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from collectors.text import label
from exporter.config_value import shown

MAX_BYTES = 2**20
# A few nested aliases stand for billions of values; no honest file comes near these.
_MAX_NODES = 20_000
_MAX_DEPTH = 20
_MAX_PROBLEMS = 100  # a wrong file altogether needs no longer list

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong with a configuration.

    Attributes:
        file: Its file, as it was named.
        line: The line in it; None for the file as a whole.
        path: The key with those above it, joined by dots; empty for the file as a whole.
        text: What is wrong, and what would be right.

    """

    file: str
    line: int | None
    path: str
    text: str

    def __str__(self) -> str:
        """Put it on one line, as compilers do."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.path, self.text) if part)


class ConfigError(Exception):
    """
    A configuration that cannot be used.

    Args:
        problems: All of them, in the order of the file.

    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        """Put each problem on a line of its own."""
        lines = [str(problem) for problem in self.problems[:_MAX_PROBLEMS]]
        more = len(self.problems) - len(lines)
        return "\n".join([*lines, f"… and {more} more problems"] if more else lines)


@dataclass(slots=True)
class Document:
    """
    What a file holds.

    Attributes:
        file: Its name.
        data: The values, in plain mappings, tuples and scalars.
        lines: Path of each key and list item to its line.
        texts: Path of each scalar to what was written.
        unread: Paths of the scalars that stand for nothing; their problem is reported.
        problems: What is wrong with the file as YAML.

    """

    file: str
    data: Any = None
    lines: dict[Keys, int] = field(default_factory=dict)
    texts: dict[Keys, str] = field(default_factory=dict)
    unread: set[Keys] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Keys) -> int | None:
        """
        Find the line of a key.

        Args:
            path: The key with those above it.

        Returns:
            Its line, or that of the nearest key above it that is written; None when none is.

        """
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def report(self, path: Keys, text: str, line: int | None = None) -> None:
        """
        Add a problem.

        Args:
            path: The key with those above it.
            text: What is wrong.
            line: Where; the key's line by default.

        """
        where = self.line(path) if line is None else line
        self.problems.append(Problem(self.file, where, dotted(path), text))


def dotted(path: Keys) -> str:
    """
    Write a path as people do.

    Args:
        path: Keys and positions in lists.

    Returns:
        Like profiles.deep.probes[2].

    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{label(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def read(path: Path) -> Document:
    """
    Read a file of settings.

    Args:
        path: The file.

    Returns:
        What it holds, and what is wrong with it as YAML.

    """
    document = Document(label(str(path), 200))
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        document.report((), f"cannot be read: {error.strerror or error}")
        return document
    if len(raw) > MAX_BYTES:
        document.report((), f"is longer than {MAX_BYTES // 2**20} MiB, so it is no configuration")
        return document
    try:
        _parse(document, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        bad = f"byte 0x{raw[error.start]:02x}"
        document.report((), f"is not UTF-8 ({bad}); save it with that encoding", line)
    return document


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """
    Scalars as YAML 1.2 reads them.

    The 1.1 rules would make a number of 1:30, a date of 2024-01-01 and a false of off.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]{1,18}", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
}
for _name, (_pattern, _first) in _SCALARS.items():
    _starts = ["", *_first] if _name == "null" else [*_first]
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^({_pattern})$", re.ASCII), _starts)


def _parse(document: Document, text: str) -> None:
    """Fill in a document from its text."""
    try:
        if _too_deep(text):
            document.report((), "is nested too deeply or too long to be a configuration")
            return
        root = yaml.compose(text, _Loader)
    except yaml.YAMLError as error:
        document.report((), *_syntax(error, text))
        return
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == f"{_TAG}null"):
        document.data = {}
    elif not isinstance(root, yaml.MappingNode):
        line = root.start_mark.line + 1
        document.report((), 'holds no settings; write them as "key: value" lines', line)
    else:
        try:
            document.data = _Walk(document).visit(root, ())
        except _TooMuchError:
            document.report((), "is too large, or endless, with its aliases filled in")


def _too_deep(text: str) -> bool:
    """Tell whether a text could exhaust the stack of what reads it next."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, _Loader)):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > _MAX_DEPTH or number > _MAX_NODES:
            return True
    return False


def _syntax(error: yaml.YAMLError, text: str) -> tuple[str, int | None]:
    """Say what is wrong with YAML, and in which line."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        hint = "; indent with spaces, not tabs" if _tabbed(text, mark) else ""
        # Some parsers put the end of the file one line behind it.
        line = min(mark.line + 1, len(text.splitlines()) or 1) if mark else None
        return f"is no valid YAML: {label(said, 200)}{hint}", line
    position = getattr(error, "position", 0) or 0
    line = text.encode()[:position].count(b"\n") + 1
    return "is no valid YAML: it has a control character", line


def _tabbed(text: str, mark: yaml.Mark | None) -> bool:
    """Tell whether a line is indented with a tab."""
    line = "" if mark is None else "".join(text.split("\n")[mark.line : mark.line + 1])
    return "\t" in line[: len(line) - len(line.lstrip())]


class _TooMuchError(Exception):
    """Aliases make more of a file than anybody could have meant."""


class _Walk:
    """
    Turn nodes into data, noting where each came from.

    Args:
        document: Takes the lines, the texts and the problems.

    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._left = _MAX_NODES

    def visit(self, node: yaml.Node, path: Keys) -> Any:
        """Return the value of a node, whatever it is."""
        self._left -= 1
        if self._left < 0 or len(path) > _MAX_DEPTH:
            raise _TooMuchError
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, path)
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Keys) -> dict[str, Any]:
        """Return a mapping; of equal keys the first."""
        table: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._document.report(path, "a key must be a word", line)
                continue
            inner = (*path, key.value)
            if key.value in table:
                first = self._document.lines[inner]
                text = f"is given twice, first in line {first}; remove one of them"
                self._document.report(inner, text, line)
                continue
            self._document.lines[inner] = line
            table[key.value] = self.visit(value, inner)
        return table

    def _sequence(self, node: yaml.SequenceNode, path: Keys) -> tuple[Any, ...]:
        """Return a list."""
        items = []
        for number, item in enumerate(node.value):
            self._document.lines[*path, number] = item.start_mark.line + 1
            items.append(self.visit(item, (*path, number)))
        return tuple(items)

    def _scalar(self, node: yaml.ScalarNode, path: Keys) -> Any:
        """Return a single value; of an unknown kind none."""
        text: str = node.value
        self._document.texts[path] = text
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return text
        pattern = _SCALARS.get(kind, ("",))[0]
        if kind not in _SCALARS or not re.fullmatch(pattern, text, re.ASCII):
            said = f"{shown(text)} cannot be read as {label(node.tag)}; write the plain value"
            self._document.report(path, said)
            self._document.unread.add(path)
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.casefold() == "true"
        return int(text) if kind == "int" else float(text)
