from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import PROBES, ConfigError, Known, Problem, load

KNOWN = Known(
    collectors=frozenset({"cpu", "memory", "disk"}),
    probes=PROBES,
    rules={"cpu_utilization": (0.9, 0.98), "cpu_pressure": (0.1, 0.3), "cpu_steal": (0.1, None)},
)

Problems = Callable[[str | bytes], list[Problem]]


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    def find(text: str | bytes) -> list[Problem]:
        path = tmp_path / "config.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ConfigError) as caught:
            load(path, KNOWN)
        assert {p.file for p in caught.value.problems} == {str(path)}
        return list(caught.value.problems)

    return find


ONE_PROBLEM = [
    # unknown keys
    ("web:\n  listen_adress: 1", 2, "web.listen_adress", "did you mean listen_address?"),
    ("web:\n  listen_adress: 1", 2, "web.listen_adress", "listen_address, max_connections,"),
    ("webb: {}", 1, "webb", "did you mean web?"),
    ("log: {}\ntimeout: 3s", 2, "timeout", "it belongs at profiles.quick.timeout,"),
    ("profiles:\n\n  fast: {}", 3, "profiles.fast", "(allowed: quick, standard, deep)"),
    ("rules: {cpu_steal: {warn: 1}}", 1, "rules.cpu_steal.warn", "enabled, warning, critical"),
    ("1: 2", 1, "1", "unknown key"),
    ("<<: {log: {}}", 1, "<<", "unknown key"),
    # wrong types
    ("web: {max_connections: many}", 1, "web.max_connections", "write a whole number"),
    ("web: {max_connections: 1.5}", 1, "web.max_connections", "1.5 is of the wrong type"),
    ("web: {max_connections: 1_000}", 1, "web.max_connections", '"1_000" is of the wrong type'),
    ("web: {max_connections: true}", 1, "web.max_connections", "true is of the wrong type"),
    ("web: {max_connections: 0x10}", 1, "web.max_connections", "a whole number"),
    ("web: {listen_address: 10987}", 1, "web.listen_address", "write text"),
    ("schedule: {splay: yes}", 1, "schedule.splay", "write true or false; did you mean true?"),
    ("schedule: {splay: [1]}", 1, "schedule.splay", "a list is of the wrong type"),
    ("analysis: {min_coverage: half}", 1, "analysis.min_coverage", "write a number"),
    ("analysis: {min_coverage: .nan}", 1, "analysis.min_coverage", "write a number"),
    ("analysis: {min_coverage: 1e999}", 1, "analysis.min_coverage", "a finite number"),
    ("collectors: {disabled: cpu}", 1, "collectors.disabled", "write a list, like [a, b]"),
    ("collectors:\n", 1, "collectors", "null is not a mapping (allowed keys: disabled)"),
    ("rules:\n", 1, "rules", "write a mapping, or {} for nothing"),
    ("rules: {cpu_steal: no}", 1, "rules.cpu_steal", "(allowed keys: enabled, warning, critical)"),
    ("profiles: [quick]", 1, "profiles", "a list is not a mapping"),
    ("profiles: {quick: {probes: [3]}}", 1, "profiles.quick.probes[0]", "unknown probe 3"),
    # units
    ("web: {client_timeout: 5}", 1, "web.client_timeout", "5 has no unit; write a whole number"),
    ("web: {client_timeout: 1.5}", 1, "web.client_timeout", "1.5 has no unit"),
    ('web: {client_timeout: "5"}', 1, "web.client_timeout", '"5" has no unit'),
    ("web: {client_timeout: 5sec}", 1, "web.client_timeout", "did you mean 5s?"),
    ("web: {client_timeout: 5min}", 1, "web.client_timeout", "did you mean 5m?"),
    ("web: {client_timeout: 500msec}", 1, "web.client_timeout", "did you mean 500ms?"),
    ("web: {client_timeout: 5S}", 1, "web.client_timeout", "one of ms, s, m, h, d, like 10s"),
    ("web: {client_timeout: 1.5s}", 1, "web.client_timeout", '"1.5s" is no duration'),
    ("web: {client_timeout: -5s}", 1, "web.client_timeout", '"-5s" is no duration'),
    ("web: {client_timeout: \u0665s}", 1, "web.client_timeout", "is no duration"),
    ("web: {client_timeout: true}", 1, "web.client_timeout", "true is no duration"),
    ("web: {client_timeout: 0s}", 1, "web.client_timeout", "out of range; use 100ms to 10m"),
    ("store: {max_size: 50MB}", 1, "store.max_size", "did you mean 50MiB?"),
    ("store: {max_size: 64}", 1, "store.max_size", "64 has no unit"),
    ("store: {max_size: 10s}", 1, "store.max_size", "one of KiB, MiB, GiB, like 64MiB"),
    # single values out of range
    ("store: {keep: 0}", 1, "store.keep", "0 is too small; use at least 1"),
    ("analysis: {min_coverage: 1.1}", 1, "analysis.min_coverage", "too large; use at most 1"),
    ("rules: {cpu_steal: {warning: 0}}", 1, "rules.cpu_steal.warning", "use more than 0"),
    ("process: {command_line: of}", 1, "process.command_line", "did you mean off?"),
    ("log: {level: warn}", 1, "log.level", "(allowed: debug, info, warning, error)"),
    ("paths: {procfs: proc}", 1, "paths.procfs", "write one that starts with /"),
    ('paths: {procfs: "/a\\0"}', 1, "paths.procfs", "is no absolute path"),
    ("store: {directory: lib}", 1, "store.directory", "is no absolute path"),
    # addresses
    ("web: {listen_address: localhost}", 1, "web.listen_address", "write HOST:PORT"),
    ('web: {listen_address: ":80"}', 1, "web.listen_address", "0.0.0.0:10987"),
    ('web: {listen_address: "::1:80"}', 1, "web.listen_address", "[::1]:10987"),
    ("web: {listen_address: 1.2.3.4:65536}", 1, "web.listen_address", "use 0 to 65535"),
    ("web: {listen_address: 1.2.3.256:1}", 1, "web.listen_address", "is no IP address"),
    ('web: {listen_address: "[::g]:1"}', 1, "web.listen_address", "is no address"),
    ('web: {listen_address: "[1::2::3]:1"}', 1, "web.listen_address", "is no IP address"),
    # names
    ("collectors:\n  disabled:\n    - disc", 3, "collectors.disabled[0]", "did you mean disk?"),
    ("rules: {cpu_steel: {}}", 1, "rules.cpu_steel", "did you mean cpu_steal?"),
    ("profiles: {deep: {probes: [x]}}", 1, "profiles.deep.probes[0]", "(allowed: biolatency,"),
    ("profiles: {deep: {focus: [stack]}}", 1, "profiles.deep.focus[0]", "did you mean stacks?"),
    ("profiles: {deep: {focus: [all, all]}}", 1, "profiles.deep.focus[1]", "in the list twice"),
    # what does not go together
    (
        "profiles:\n  quick:\n    duration: 10s\n    timeout: 10s",
        4,
        "profiles.quick.timeout",
        "10s is not longer than the duration 10s; use at least 11s",
    ),
    (
        "profiles:\n  quick:\n    duration: 31s\n",
        3,
        "profiles.quick.timeout",
        "30s (the default) is not longer than the duration 31s; use at least 32s",
    ),
    (
        "profiles: {quick: {sample_interval: 11s}}",
        1,
        "profiles.quick.sample_interval",
        "11s is longer than the duration 10s (the default); use at most 10s",
    ),
    (
        "profiles: {quick: {schedule: {every: 9s}}}",
        1,
        "profiles.quick.schedule.every",
        "9s is shorter than the duration 10s (the default); use at least 10s",
    ),
    (
        'profiles: {deep: {duration: 90s, schedule: {cron: "0,1 * * * *"}}}',
        1,
        "profiles.deep.schedule.cron",
        "comes every 1m, which is shorter than the duration 90s",
    ),
    (
        'profiles: {deep: {schedule: {every: 6h, cron: "0 * * * *"}}}',
        1,
        "profiles.deep.schedule",
        "both every and cron are given; use one of them",
    ),
    ("profiles: {deep: {schedule: {}}}", 1, "profiles.deep.schedule", "neither every nor cron"),
    (
        "profiles: {deep: {schedule: {every: null}}}",
        1,
        "profiles.deep.schedule",
        "neither every nor cron",
    ),
    (
        'profiles: {deep: {schedule: {cron: "61 * * * *"}}}',
        1,
        "profiles.deep.schedule.cron",
        'write "MINUTE HOUR DAY MONTH WEEKDAY"',
    ),
    (
        'profiles: {deep: {schedule: {cron: "* * *"}}}',
        1,
        "profiles.deep.schedule.cron",
        '"* * *" is no crontab line: expected 5 fields, found 3',
    ),
    (
        'profiles: {deep: {schedule: {cron: "0 0 31 2 *"}}}',
        1,
        "profiles.deep.schedule.cron",
        "this date never comes",
    ),
    (
        "profiles: {quick: {enabled: false}, standard: {enabled: false}, deep: {enabled: false}}",
        1,
        "profiles.quick.enabled",
        "no profile is enabled",
    ),
    (
        "rules: {cpu_utilization: {warning: 0.99}}",
        1,
        "rules.cpu_utilization.warning",
        "0.99 is not below critical, by default 0.98",
    ),
    (
        "rules: {cpu_utilization: {critical: 0.9}}",
        1,
        "rules.cpu_utilization.critical",
        "0.9 is not above warning, by default 0.9",
    ),
    (
        "rules:\n  cpu_steal:\n    critical: 0.4\n    warning: 0.5",
        4,
        "rules.cpu_steal.warning",
        "0.5 is not below critical 0.4",
    ),
    (
        "analysis: {of_sweeps: 1}",
        1,
        "analysis.raise_sweeps",
        "2 is more than of_sweeps, which is 1",
    ),
    # YAML
    ("web: {}\nlog: {}\nweb: {}", 3, "web", "is given twice, first in line 1"),
    ("web:\n  max_connections: [", 2, "", "is no valid YAML"),
    ("web:\n\tmax_connections: 3", 2, "", "indent with spaces, not tabs"),
    ("web: {}\n---\nlog: {}", 2, "", "expected a single document"),
    ('web: {}\nlog: "\0"', 2, "", "control character"),
    ("log: {level: !!python/name:os.system x}", 1, "log.level", "write the plain value"),
    ("log: {level: !!int x}", 1, "log.level", "cannot be read as"),
    ("? [a]\n: 1", 1, "", "a key must be a word"),
    ("- web", 1, "", "holds no settings"),
    ("web", 1, "", "holds no settings"),
    (b"web: {}\n# caf\xe9", 2, "", "is not UTF-8 (byte 0xe9)"),
    ("web: {}".encode("utf-16"), 1, "", "is not UTF-8"),
]


@pytest.mark.parametrize(("text", "line", "path", "said"), ONE_PROBLEM)
def test_one_mistake_is_one_problem_at_its_line_with_the_way_out(
    problems: Problems, text: str | bytes, line: int, path: str, said: str
) -> None:
    (problem,) = problems(text)
    assert (problem.line, problem.path) == (line, path)
    assert said in problem.text
    assert str(problem) == ": ".join(
        part for part in (f"{problem.file}:{line}", path, problem.text) if part
    )


PIECES = [b"&a ", b"*a", b"{", b"[", b": ", b"\n", b"- ", b"!!int ", b"null", b"~", b"''", b"1s"]
EVERYTHING = """\
web:
  listen_adress: 1.2.3.4:80
  client_timeout: 5
profiles:
  quick:
    duration: 10s
    timeout: 5s
    probes: [runqlt, tcprtt, tcprtt]
    sample_interval: 10sec
  standard:
    duration: long
    timeout: 1s
  deep:
    schedule: {every: 6h, cron: "61 * * * *"}
rules:
  cpu_utilizaton: {warning: 1}
  cpu_utilization: {warning: 0.99}
  cpu_pressure: {warning: hi, critical: 0.01}
analysis: [a]
store: {keep: 0, keep: 2}
log: {level: !!binary x}
"""


def test_all_problems_are_told_at_once_each_at_its_line(problems: Problems) -> None:
    assert [(p.line, p.path) for p in problems(EVERYTHING)] == [
        (2, "web.listen_adress"),
        (3, "web.client_timeout"),
        (7, "profiles.quick.timeout"),
        (8, "profiles.quick.probes[0]"),
        (8, "profiles.quick.probes[2]"),
        (9, "profiles.quick.sample_interval"),
        (11, "profiles.standard.duration"),
        (14, "profiles.deep.schedule.cron"),
        (14, "profiles.deep.schedule"),
        (16, "rules.cpu_utilizaton"),
        (17, "rules.cpu_utilization.warning"),
        (18, "rules.cpu_pressure.warning"),
        (19, "analysis"),
        (20, "store.keep"),
        (20, "store.keep"),
        (21, "log.level"),
    ]


def test_the_error_reads_as_one_line_per_problem(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("profiles:\n  quick:\n    timeout: 5s\nlog: {levle: info}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, KNOWN)
    timeout = "5s is not longer than the duration 10s (the default); use at least 11s"
    assert str(caught.value).splitlines() == [
        f"{path}:3: profiles.quick.timeout: {timeout}",
        f"{path}:4: log.levle: unknown key; did you mean level? (allowed: level, format)",
    ]


def test_a_wrong_setting_is_not_blamed_on_its_neighbours(problems: Problems) -> None:
    (problem,) = problems("profiles: {quick: {duration: 5 hours, timeout: 1s}}")
    assert problem.path == "profiles.quick.duration"


def test_a_long_list_of_names_is_cut_and_says_where_the_rest_is(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("rules: {zzz: {}}")
    with pytest.raises(ConfigError, match="and 6 more: see sysdx rules"):
        load(path, Known(rules={f"rule{n:02}": (1.0, 2.0) for n in range(30)}))


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: (No such file|Is a directory)"):
        load(tmp_path / name, KNOWN)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.touch(mode=0o000)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load(path, KNOWN)


def _bomb() -> bytes:
    lines = [b"a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [b"%c: &%c [%s]" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 115)]
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_bomb(), "with its aliases filled in"),
        (b"web: &a\n  x: *a\n", "with its aliases filled in"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b"web: " + b"[" * 5_000 + b"]" * 5_000, "nested too deeply"),
        (b"{a: " * 200_000, "nested too deeply"),
        (b"a: 1\n" * 200_000, "too long to be a configuration"),
        (b"a" * (2**20 + 1), "longer than 1 MiB"),
    ],
    ids=["bomb", "cycle", "lists", "deep", "mappings", "keys", "size"],
)
def test_a_hostile_file_is_refused_quickly(problems: Problems, text: bytes, said: str) -> None:
    before = time.process_time()
    (problem,) = problems(text)
    assert said in problem.text
    assert time.process_time() - before < 5


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="longer than 1 MiB"):
        load(Path("/dev/zero"), KNOWN)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_settings_or_problems(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = bytearray((Path(__file__).parents[2] / "config.yaml").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        text[start:end] = data.draw(st.binary(max_size=4) | st.sampled_from(PIECES))
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(text)
    found: tuple[Problem, ...] | None = None
    try:
        load(path, KNOWN)
    except ConfigError as error:
        found = error.problems
        shown = str(error)
    if found is not None:
        assert found
        assert len(shown.splitlines()) == min(101, len(found))


def test_what_was_written_cannot_forge_a_line(problems: Problems) -> None:
    (problem, other) = problems('log: {level: "a\\nconfig.yaml:1: fine\\e[2J"}\n"x\\ny": 1')
    assert "\n" not in str(problem) + str(other)
    assert "\x1b" not in str(problem)
