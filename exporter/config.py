"""
The configuration: read, checked as a whole, and refused with every problem at once.

`python -m exporter.config` prints its JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from exporter.config_check import clashes
from exporter.config_model import PROBES, Config, Known, Profile, Profiles, RuleConfig
from exporter.config_value import listed, nearest, shown
from exporter.config_yaml import ConfigError, Document, Keys, Problem, dotted, read

__all__ = [
    "PROBES",
    "Config",
    "ConfigError",
    "Known",
    "Problem",
    "Profile",
    "Profiles",
    "RuleConfig",
    "json_schema",
    "load",
]

_WANTED = {
    "int_type": "a whole number, like 10",
    "int_from_float": "a whole number, like 10",
    "float_type": "a number, like 0.5",
    "finite_number": "a finite number, like 0.5",
    "bool_type": "true or false",
    "string_type": "text, in quotes where it looks like a number",
    "tuple_type": "a list, like [a, b]",
    "dict_type": "a mapping, or {} for nothing",
}
_TRUTHS = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
_LIMITS = {
    "greater_than_equal": ("ge", "is too small; use at least"),
    "greater_than": ("gt", "is too small; use more than"),
    "less_than_equal": ("le", "is too large; use at most"),
    "less_than": ("lt", "is too large; use less than"),
}


def load(path: Path | None, known: Known) -> Config:
    """
    Read the configuration.

    Args:
        path: The file; None for the built-in defaults.
        known: The names it may use.

    Returns:
        The settings, with the defaults of what the file leaves out.

    Raises:
        ConfigError: With every problem at once, in the order of the file.

    """
    if path is None:
        return Config()
    document = read(path)
    config = None if document.data is None else _validated(document, known)
    if document.problems or config is None:
        raise ConfigError(sorted(document.problems, key=lambda problem: problem.line or 0))
    return config


def _validated(document: Document, known: Known) -> Config:
    """Check the data and report what is wrong; return the settings without the wrong ones."""
    wrong: set[Keys] = set()
    try:
        config = Config.model_validate(document.data, context=known)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            keys = tuple(key for key in details["loc"] if key != "[key]")
            if keys not in wrong | document.unread:
                document.report(keys, _explained(details, keys))
            wrong.add(keys)
        # What is right must be compared as well, and it is with the wrong taken out.
        config = Config.model_validate(_without(document.data, wrong), context=known)
    wrong |= document.unread
    for clash in clashes(config, known, document.texts):
        doubtful = any(_touches(keys, other) for keys in clash.keys for other in wrong)
        if clash.certain or not doubtful:
            written = [keys for keys in clash.keys if keys in document.lines]
            shown_at = min(written, key=clash.keys.index, default=clash.keys[0])
            document.report(clash.keys[0], clash.text, document.line(shown_at))
    return config


def _without(data: Any, wrong: set[Keys], path: Keys = ()) -> Any:
    """Copy data without what is wrong."""
    if isinstance(data, dict):
        inner = {key: (*path, key) for key in data}
        return {k: _without(data[k], wrong, p) for k, p in inner.items() if p not in wrong}
    if isinstance(data, tuple):
        places = [((*path, number), item) for number, item in enumerate(data)]
        return tuple(_without(item, wrong, p) for p, item in places if p not in wrong)
    return data


def _touches(keys: Keys, wrong: Keys) -> bool:
    """Tell whether a key is in, or holds, one that is wrong."""
    length = min(len(keys), len(wrong))
    return keys[:length] == wrong[:length]


def _explained(details: ErrorDetails, keys: Keys) -> str:
    """Say in our words what pydantic found."""
    kind, raw = details["type"], details["input"]
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(keys)
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return _not_one_of(keys, raw)
    if kind in _LIMITS:
        limit, text = _LIMITS[kind]
        return f"{shown(raw)} {text} {context[limit]:g}"
    if kind in {"model_type", "model_attributes_type"}:
        return f"{shown(raw)} is not a mapping (allowed keys: {listed(_names(keys))})"
    wanted = _WANTED.get(kind)
    if kind == "bool_type" and str(raw).casefold() in _TRUTHS:
        wanted = f"true or false; did you mean {_TRUTHS[str(raw).casefold()]}?"
    return f"{shown(raw)} is of the wrong type; write {wanted}" if wanted else details["msg"]


def _unknown_key(keys: Keys) -> str:
    """Say which keys there are instead."""
    names = _names(keys[:-1])
    hint = nearest(str(keys[-1]), names) or _elsewhere(str(keys[-1]))
    return f"unknown key{hint} (allowed: {listed(names)})"


def _elsewhere(name: str) -> str:
    """Say where a key belongs that is one, but not here."""
    places = [dotted(path) for path in _paths(Config) if path[-1] == name]
    return f"; it belongs at {listed(places)}" if places else ""


def _paths(model: type[BaseModel], base: Keys = ()) -> Iterator[Keys]:
    """Give the path of every key."""
    for name, info in model.model_fields.items():
        path = (*base, name)
        yield path
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _paths(info.annotation, path)


def _not_one_of(keys: Keys, raw: object) -> str:
    """Say which words there are instead."""
    kind = _kind(keys)
    words = [str(word) for word in get_args(kind)]
    hint = nearest(raw, words) if isinstance(raw, str) else ""
    return f"{shown(raw)} is not allowed here{hint} (allowed: {listed(words)})"


def _names(keys: Keys) -> list[str]:
    """Give the keys of a mapping."""
    kind = _kind(keys)
    return list(kind.model_fields) if issubclass(kind, BaseModel) else []


def _kind(keys: Keys) -> Any:
    """Give the type of a setting."""
    kind: Any = Config
    for key in keys:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(key)].annotation
        elif get_origin(kind) is Mapping:
            kind = get_args(kind)[1]
        while get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
    return kind


def json_schema() -> dict[str, Any]:
    """
    Describe the configuration for editors.

    Returns:
        A JSON Schema in which every key tells its unit and its default.

    """
    from exporter.config_schema import schema

    return schema()


if __name__ == "__main__":
    import json

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))  # noqa: T201
