from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from analysis.model import RESOURCES
from exporter.config import PROBES, Config, ConfigError, Known, RuleConfig, json_schema, load
from exporter.config_model import FOCUS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "config.yaml"
KNOWN = Known(
    collectors=frozenset({"cpu", "memory", "disk"}),
    probes=PROBES,
    rules={"cpu_utilization": (0.9, 0.98), "cpu_steal": (0.1, None)},
)


@pytest.fixture
def given(tmp_path: Path) -> Callable[[str], Config]:
    def build(text: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, KNOWN)

    return build


def _keys(node: dict[str, Any], whole: dict[str, Any], base: tuple[str, ...] = ()) -> Iterator[Any]:
    for name, setting in node.get("properties", {}).items():
        yield (*base, name), setting
        below = setting
        if "additionalProperties" in setting:
            below = setting["additionalProperties"]
            base_below: tuple[str, ...] = (*base, name, "*")
        else:
            base_below = (*base, name)
        if "$ref" in below:
            below = whole["$defs"][below["$ref"].rpartition("/")[2]]
            yield from _keys(below, whole, base_below)


def _all_keys() -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    schema = json_schema()
    return list(_keys(schema, schema))


def test_without_a_file_the_defaults_of_the_design_apply() -> None:
    config = load(None, KNOWN)
    told = [
        (name, p.duration, p.sample_interval, p.timeout, p.schedule.every, len(p.probes))
        for name, p in config.profiles.items()
    ]
    assert told == [
        ("quick", 10.0, 1.0, 30.0, 60.0, 0),
        ("standard", 30.0, 1.0, 90.0, 900.0, 5),
        ("deep", 60.0, 1.0, 180.0, 21_600.0, 12),
    ]
    assert config.web.listen_address == "127.0.0.1:10987"
    assert config.store.directory == "/var/lib/sysdx"
    assert config.store.max_size == 67_108_864
    assert config.analysis.hold == 120.0
    assert config.profiles.deep.focus == ("stacks", "all")


def test_the_committed_file_says_exactly_the_defaults() -> None:
    assert load(FILE, KNOWN) == Config()


def test_the_committed_file_gives_every_key_a_value_of_its_own() -> None:
    data = load(FILE, KNOWN).model_dump(exclude_unset=True)
    for keys, _ in _all_keys():
        part = data
        if "*" in keys or keys[-1] == "cron":
            continue
        for key in keys:
            assert key in part, f"{'.'.join(keys)} is not in config.yaml"
            part = part[key]


def test_every_setting_of_the_committed_file_has_a_comment_with_unit_and_default() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    for keys, setting in _all_keys():
        if setting.get("$ref") or keys[-1] == "rules":
            continue
        found = [n for n, line in enumerate(lines) if re.match(rf"#? *(# )?{keys[-1]}: ", line)]
        assert found, f"{'.'.join(keys)} is not in config.yaml"
        for number in found:
            around = [lines[number].partition(":")[2], lines[number - 1]]
            told = next((a for a in around if "#" in a), "")
            assert re.search(r"# .*\[.+\].*default ", told), lines[number]


def test_the_defaults_told_in_comments_are_the_values_beside_them() -> None:
    for line in FILE.read_text(encoding="utf-8").splitlines():
        match = re.match(r" +\w+: ([^ \[]+) +# .*default (\S+)$", line)
        if match:
            assert match[1].strip('"') == match[2], line


def test_the_examples_in_the_committed_file_are_valid(given: Callable[[str], Config]) -> None:
    text = FILE.read_text(encoding="utf-8")
    text = re.sub(r"^( +)every: .*$", "", text, flags=re.MULTILINE)
    text = text.replace("      # cron:", "      cron:").replace("rules: {}", "rules:")
    text = re.sub(r"^#   ", "   ", text, flags=re.MULTILINE)
    config = given(text)
    assert config.profiles.deep.schedule.cron == "30 3,9,15,21 * * *"
    assert config.rules["cpu_utilization"] == RuleConfig(warning=0.85, critical=0.95)


def test_the_committed_schema_is_the_generated_one() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "exporter.config"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    assert (ROOT / "docs/config.schema.json").read_bytes() == printed
    assert json.loads(printed) == json_schema()


def test_editors_find_the_schema_from_the_first_line() -> None:
    first = FILE.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=docs/config.schema.json"


def test_every_key_of_the_schema_tells_what_it_is_with_unit_and_default() -> None:
    keys = _all_keys()
    assert len(keys) > 50
    for path, setting in keys:
        text = setting.get("description", "")
        assert text, path
        section = "$ref" in setting and path[-1] != "schedule"
        if not section and len(path) > 1 and path != ("schedule",):
            assert re.search(r"\[.+\].* Default: .+\.$|\[.+\].*by default", text), (path, text)


def test_the_committed_file_and_each_default_fit_the_schema() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(FILE.read_text(encoding="utf-8")), schema)
    jsonschema.validate(Config().model_dump(mode="json"), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"webb": {}},
        {"web": {"client_timeout": 5}},
        {"web": {"client_timeout": "5sec"}},
        {"web": {"listen_address": "localhost"}},
        {"store": {"keep": 0}},
        {"profiles": {"deep": {"probes": ["runqlt"]}}},
        {"profiles": {"deep": {"focus": ["stack"]}}},
        {"profiles": {"deep": {"schedule": {"evry": "6h"}}}},
        {"rules": {"cpu_steal": {"warning": "high"}}},
        {"log": {"level": "warn"}},
    ],
)
def test_an_editor_sees_what_is_wrong_in_a_single_value(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, json_schema())


def test_the_schema_tells_a_default_the_way_it_is_written_in_a_file() -> None:
    settings = {".".join(keys): setting for keys, setting in _all_keys()}
    assert settings["profiles.standard.timeout"]["default"] == "90s"
    assert settings["profiles.deep.schedule"]["default"] == {"every": "6h"}
    assert settings["store.max_size"]["description"].endswith("Default: 64MiB.")
    assert settings["web.client_timeout"]["pattern"] == "^[0-9]{1,9}(ms|s|m|h|d)$"


def test_the_schema_closes_every_mapping() -> None:
    schema = json_schema()
    for part in [schema, *schema["$defs"].values()]:
        assert part["additionalProperties"] is False


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "~", "\ufeff"])
def test_an_empty_file_means_the_defaults(given: Callable[[str], Config], text: str) -> None:
    assert given(text) == Config()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("500ms", 0.5), ("700ms", 0.7), ("10s", 10.0), ("2m", 120.0), ("1m", 60.0)],
)
def test_a_duration_is_read_as_seconds(
    given: Callable[[str], Config], written: str, seconds: float
) -> None:
    assert given(f"web: {{client_timeout: {written}}}").web.client_timeout == seconds


@pytest.mark.parametrize(
    ("written", "expected"), [("1024KiB", 2**20), ("50MiB", 50 * 2**20), ("1GiB", 2**30)]
)
def test_a_size_is_read_as_bytes(
    given: Callable[[str], Config], written: str, expected: int
) -> None:
    assert given(f"store: {{max_size: {written}}}").store.max_size == expected


def test_a_crontab_line_replaces_the_interval(given: Callable[[str], Config]) -> None:
    schedule = given(
        'profiles: {standard: {schedule: {cron: "*/15 * * * 7"}}}'
    ).profiles.standard.schedule
    assert (schedule.every, schedule.cron) == (None, "*/15 * * * 7")


@pytest.mark.parametrize("word", ["off", '"off"', "argv0", "redacted"])
def test_command_line_takes_its_words_quoted_or_not(
    given: Callable[[str], Config], word: str
) -> None:
    assert given(f"process: {{command_line: {word}}}").process.command_line == word.strip('"')


@pytest.mark.parametrize("address", ["[::1]:0", "0.0.0.0:80", "localhost:65535", "[fe80::1]:1"])
def test_a_listen_address_of_any_family_is_taken(
    given: Callable[[str], Config], address: str
) -> None:
    assert given(f"web: {{listen_address: '{address}'}}").web.listen_address == address


def test_an_empty_store_directory_means_memory_only(given: Callable[[str], Config]) -> None:
    assert given('store: {directory: ""}').store.directory == ""


def test_a_rule_is_changed_where_it_is_named(given: Callable[[str], Config]) -> None:
    rules = given("rules: {cpu_utilization: {warning: 0.8}, cpu_steal: {enabled: false}}").rules
    assert rules["cpu_utilization"] == RuleConfig(enabled=True, warning=0.8, critical=None)
    assert rules["cpu_steal"].enabled is False


def test_a_threshold_is_judged_against_the_other_one_written(
    given: Callable[[str], Config],
) -> None:
    rules = given("rules: {cpu_utilization: {warning: 2, critical: 3}, cpu_steal: {warning: 9}}")
    assert rules.rules["cpu_utilization"].critical == 3.0


def test_an_alias_may_repeat_a_list(given: Callable[[str], Config]) -> None:
    profiles = given(
        "profiles: {standard: {probes: &few [runqlat]}, deep: {probes: *few}}"
    ).profiles
    assert profiles.deep.probes == profiles.standard.probes == ("runqlat",)


def test_a_configuration_cannot_be_changed_by_accident() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.web.max_connections = 3  # type: ignore[misc]


def test_deep_sweeps_have_twelve_probes_and_the_focus_covers_every_resource() -> None:
    profiles = Config().profiles
    assert len(set(profiles.deep.probes)) == 12
    assert set(profiles.standard.probes) < set(profiles.deep.probes) < PROBES
    assert set(FOCUS) == {"stacks", "all", *RESOURCES}


def test_a_good_file_loads_neither_apscheduler_nor_difflib(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from exporter.config import Known, load;"
        f"load(Path({str(tmp_path / 'c.yaml')!r}), Known());"
        "print([m for m in ('apscheduler', 'difflib', 'bcc', 'psutil') if m in sys.modules])"
    )
    (tmp_path / "c.yaml").write_text("web: {max_connections: 9}\n")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True
    )
    assert done.stdout == b"[]\n"


def test_an_error_lists_no_more_than_a_hundred_problems(given: Callable[[str], Config]) -> None:
    with pytest.raises(ConfigError) as caught:
        given("\n".join(f"key{n}: 1" for n in range(150)))
    lines = str(caught.value).splitlines()
    assert len(caught.value.problems) == 150
    assert len(lines) == 101
    assert lines[-1] == "… and 50 more problems"
