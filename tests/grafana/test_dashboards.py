"""The committed dashboards are what their source makes, and Grafana's own types know all of it."""

from __future__ import annotations

import copy
import json
import warnings
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from grafana.source.__main__ import FOLDER, main, texts
from tests.grafana import panels

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import units
    from grafana_foundation_sdk.models.dashboard import Dashboard

SCHEMAS = Path(__file__).parent / "schemas"
plugins.register_default_plugins()

# Here the published schemas want an object although every dashboard has something else.
RELAXED = (
    ("MatcherConfig", "options"),
    ("DynamicConfigValue", "value"),
    ("VariableModel", "query"),
)


@pytest.mark.parametrize("name", panels.NAMES)
def test_the_written_dashboard_is_the_present_one(name):
    file = FOLDER / f"{name}.json"
    assert file.read_text() == texts()[file], "run python -m grafana.source"


def test_building_twice_gives_the_same():
    assert texts() == texts()


def test_the_command_compares_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("grafana.source.__main__.FOLDER", tmp_path / "dashboards")
    assert main(["--check"]) == 1
    assert not (tmp_path / "dashboards").exists()
    assert main([]) == 0
    assert main(["--check"]) == 0
    (tmp_path / "dashboards/host.json").write_text("{}")
    capsys.readouterr()
    assert main(["--check"]) == 1
    assert capsys.readouterr().err == "not the present ones: host.json\n"


def test_nothing_else_lies_among_the_dashboards():
    assert {f.name for f in FOLDER.iterdir()} == {f"{name}.json" for name in panels.NAMES}


def lost(before, after, where=""):
    """Tell what is in one and not in the other, or not the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{where}/{key}"
            else:
                yield from lost(value, after[key], f"{where}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{where}/{place}")
    elif before != after:
        yield where


def through_types(board):
    """Read a dashboard into the SDK's types and write it again: what they do not know is lost."""
    with_settings = copy.deepcopy(board)
    for panel in panels.panels(with_settings):
        _settings_of_overrides(panel)
    return list(
        lost(with_settings, json.loads(JSONEncoder().encode(Dashboard.from_json(with_settings))))
    )


def _settings_of_overrides(panel):
    """Make settings of overrides settings of the panel, where the types look at them."""
    custom = panel["fieldConfig"]["defaults"].setdefault("custom", {})
    for override in panel["fieldConfig"].get("overrides", ()):
        for prop in override["properties"]:
            name = prop["id"].partition("custom.")[2]
            if name and name != "cellOptions":
                custom[name] = prop["value"]
    if not custom:
        del panel["fieldConfig"]["defaults"]["custom"]


@pytest.mark.parametrize("name", panels.NAMES)
def test_the_types_of_the_sdk_lose_nothing(name):
    assert through_types(panels.load(name)) == []


@cache
def schema(name, definition):
    body = json.loads((SCHEMAS / f"{name}.jsonschema.json").read_text())
    for kind, member in RELAXED:
        if kind in body["definitions"]:
            body["definitions"][kind]["properties"][member] = {}
    wanted = {k.lower(): k for k in body["definitions"]}
    if definition.lower() not in wanted:
        return None
    return Draft7Validator({**body, "$ref": f"#/definitions/{wanted[definition.lower()]}"})


def against_schemas(board):
    """Hold a dashboard against the schemas that Grafana publishes."""
    found = _errors("dashboard", "Dashboard", board)
    for panel in panels.panels(board):
        kind = panel["type"].replace("-", "")
        where = f"panel {panel['id']}"
        found += [f"{where}: {e}" for e in _errors(kind, "Options", panel.get("options", {}))]
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        found += [f"{where}: {e}" for e in _errors(kind, "FieldConfig", custom)]
        for target in panel["targets"]:
            found += [f"{where}: {e}" for e in _errors("prometheus", "Dataquery", target)]
    return found


def _errors(name, definition, value):
    validator = schema(name, definition)
    if validator is None:
        return []
    return [
        f"{'/'.join(map(str, e.absolute_path))}: {e.message[:120]}"
        for e in validator.iter_errors(value)
    ]


@pytest.mark.parametrize("name", panels.NAMES)
def test_the_published_schemas_have_nothing_to_say(name):
    assert against_schemas(panels.load(name)) == []


def unknown_units(board):
    known = {v for v in vars(units).values() if isinstance(v, str)}
    for panel in panels.panels(board):
        defaults = panel["fieldConfig"]["defaults"].get("unit")
        overrides = [
            p["value"]
            for o in panel["fieldConfig"].get("overrides", ())
            for p in o["properties"]
            if p["id"] == "unit"
        ]
        yield from (u for u in (defaults, *overrides) if u is not None and u not in known)


@pytest.mark.parametrize("name", panels.NAMES)
def test_grafana_has_every_unit(name):
    assert list(unknown_units(panels.load(name))) == []


def _rename(owner, old, new):
    owner[new] = owner.pop(old)


TYPOS = {
    "an option": lambda b: _rename(
        panels.panel(b, "Health")["options"], "showThresholdMarkers", "showTresholdMarkers"
    ),
    "a member of a panel": lambda b: _rename(
        panels.panel(b, "Score"), "description", "descripton"
    ),
    "a member of a query": lambda b: _rename(
        panels.panel(b, "Score")["targets"][0], "legendFormat", "legend"
    ),
    "a setting in an override": lambda b: panels.panel(b, "Score")["fieldConfig"]["overrides"][0][
        "properties"
    ][0].update(id="custom.linewidth"),
    "a member of the dashboard": lambda b: _rename(b, "refresh", "refreshes"),
}  # fmt: skip
WRONG = {
    "no such style": lambda b: panels.panel(b, "Deductions")["fieldConfig"]["defaults"]["custom"][
        "stacking"
    ].update(mode="high"),
    "text for a number": lambda b: panels.panel(b, "Score")["gridPos"].update(w="11"),
    "no such format": lambda b: panels.panel(b, "Suspected causes")["targets"][0].update(
        format="tabel"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TYPOS)
def test_the_types_find_what_is_misspelt(what):
    board = panels.load("host")
    TYPOS[what](board)
    assert len(through_types(board)) == 1


@pytest.mark.parametrize("what", WRONG)
def test_the_schemas_find_what_is_no_value(what):
    board = panels.load("host")
    WRONG[what](board)
    assert against_schemas(board)


def test_an_unknown_unit_is_found():
    board = panels.load("host")
    panels.panel(board, "Score")["fieldConfig"]["defaults"]["unit"] = "percentUnit"
    assert list(unknown_units(board)) == ["percentUnit"]
