"""The JSON Schema of the configuration, for editors; the texts come from the model's source."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from exporter import config_model
from exporter.config_model import Config, ScheduleTime, Section

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """
    Describe every setting with its unit and default.

    Returns:
        A JSON Schema.

    """
    made = {"$schema": DIALECT, **Config.model_json_schema()}
    made["title"] = "Configuration of sysdx"
    texts = _texts()
    for model in _models(Section):
        part = made if model is Config else made["$defs"].get(model.__name__, {})
        if part is not made:
            part.pop("title", None)
        for name, setting in part.get("properties", {}).items():
            _describe(setting, model, name, texts)
    return made


def _models(base: type[Section]) -> Iterator[type[Section]]:
    """Give all parts of the configuration."""
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _texts() -> dict[tuple[str, str], str]:
    """Read the text under each setting from the source: class and setting to text."""
    found = {}
    for node in ast.parse(inspect.getsource(config_model)).body:
        if isinstance(node, ast.ClassDef):
            for setting, text in pairwise(node.body):
                if isinstance(setting, ast.AnnAssign) and isinstance(setting.target, ast.Name):
                    found[node.name, setting.target.id] = _literal(text)
    return {key: text for key, text in found.items() if text}


def _literal(node: ast.stmt) -> str:
    """Give the text of a statement that is nothing but a text."""
    value = node.value if isinstance(node, ast.Expr) else None
    text = value.value if isinstance(value, ast.Constant) else None
    return text if isinstance(text, str) else ""


def _describe(
    setting: dict[str, Any], model: type[Section], name: str, texts: dict[tuple[str, str], str]
) -> None:
    """Give a setting its text and its default as it is written in a file."""
    setting.pop("title", None)
    setting.pop("default", None)
    classes = (c.__name__ for c in model.__mro__)
    text = next(texts[c, name] for c in classes if (c, name) in texts)
    default = getattr(model(), name)
    if isinstance(default, Section) and not isinstance(default, ScheduleTime):
        setting["description"] = text
        return
    written = model().model_dump(mode="json", include={name}, exclude_none=True).get(name)
    if written is None:
        setting["description"] = f"{text} Default: not set."
        return
    setting["default"] = written
    setting["description"] = f"{text} Default: {_flow(written)}."


def _flow(value: Any) -> str:
    """Write a value on one line, as YAML allows."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    return value if isinstance(value, str) and value else json.dumps(value)
