"""The JSON Schema of reports, built from the dataclasses."""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from collectors.base import Collector, discover
from collectors.bpf.model import ProbeSample
from exporter.report import Report

_TITLE = "sysdx report"


def sample_types() -> dict[str, type]:
    """
    Find the sample type of every collector.

    Returns:
        dict collector -> what its `collect` function returns.

    """
    return {name: _returned(collector) for name, collector in discover().items()}


def report_schema() -> dict[str, Any]:
    """
    Describe a report.

    Returns:
        A JSON Schema in which each part's `data` is the sample of a collector or a probe.

    """
    schema = TypeAdapter(Report).json_schema(mode="serialization")
    definitions: dict[str, Any] = schema["$defs"]
    choices: list[dict[str, Any]] = [{"type": "null"}]
    for name, kind in {**sample_types(), "probe": ProbeSample}.items():
        sample = TypeAdapter(kind).json_schema(
            mode="serialization", ref_template="#/$defs/" + name + ".{model}"
        )
        for inner, definition in sample.pop("$defs", {}).items():
            definitions[f"{name}.{inner}"] = definition
        definitions[name] = sample
        choices.append({"$ref": f"#/$defs/{name}"})
    definitions["Entry"]["properties"]["data"] = {"anyOf": choices}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": _TITLE,
        "description": inspect.getdoc(Report),
    }


def text() -> bytes:
    """
    Write the schema out.

    Returns:
        The schema as JSON.

    """
    return json.dumps(report_schema(), indent=2, sort_keys=True).encode() + b"\n"


def _returned(collector: Collector) -> type:
    """Give the annotated result of a collector's function."""
    module = importlib.import_module(collector.collect.__module__)
    hints = get_type_hints(collector.collect, vars(module))
    result: type = hints["return"]
    return result
