"""What holds for every collector, found or yet to be written."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import random
from pathlib import Path
from typing import get_type_hints

import pydantic_core
import pytest

from analysis.model import RESOURCES
from collectors.base import Context, Paths, discover
from collectors.model import Unavailable
from exporter.report_schema import sample_types

COLLECTORS = discover()
OTHER_CATEGORIES = {"pressure", "process", "system"}
# Two looks at the kernel, so that rates are computed as well.
QUICK = {"duration": 0.02, "interval": 0.02}


def module_of(collector):
    return importlib.import_module(collector.collect.__module__)


@pytest.fixture(params=COLLECTORS.values(), ids=COLLECTORS)
def collector(request):
    return request.param


def test_it_names_its_sources_and_its_resource(collector):
    assert "Source:" in inspect.getdoc(collector.collect)
    assert collector.category in (*RESOURCES, *OTHER_CATEGORIES)


def test_its_sample_is_frozen_annotated_and_described(collector):
    kind = sample_types()[collector.name]
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    hints = get_type_hints(kind, vars(module_of(collector)))
    text = inspect.getdoc(kind)
    assert [f.name for f in dataclasses.fields(kind) if f"{f.name}:" not in text] == []
    assert set(hints) == {f.name for f in dataclasses.fields(kind)}


def test_an_empty_root_is_an_answer_and_no_crash(collector, tmp_path):
    for name in ("proc", "sys", "root"):
        (tmp_path / name).mkdir()
    paths = Paths(tmp_path / "proc", tmp_path / "sys", tmp_path / "root")
    try:
        sample = collector.collect(Context(paths=paths, **QUICK))
    except Unavailable as answer:
        assert str(answer)  # noqa: PT017  an answer is as good as a sample
    else:
        assert isinstance(sample, sample_types()[collector.name])


def test_its_sample_of_this_host_becomes_json(collector):
    try:
        sample = collector.collect(Context(**QUICK))
    except Unavailable as answer:
        pytest.skip(f"{collector.name} has nothing to read here: {answer}")
    assert pydantic_core.from_json(pydantic_core.to_json(sample, inf_nan_mode="null"))


def test_no_number_of_this_host_is_negative_or_no_number(collector):
    try:
        sample = collector.collect(Context(**QUICK))
    except Unavailable as answer:
        pytest.skip(f"{collector.name} has nothing to read here: {answer}")
    text = pydantic_core.to_json(sample, inf_nan_mode="constants").decode()
    assert "NaN" not in text
    assert "Infinity" not in text


def parsers():
    found = {}
    for collector in COLLECTORS.values():
        module = module_of(collector)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            first = next(iter(inspect.signature(function).parameters.values()), None)
            if name.startswith("parse") and first is not None and "bytes" in str(first.annotation):
                needed = [
                    p for p in inspect.signature(function).parameters.values()
                    if p.default is p.empty
                ]  # fmt: skip
                if len(needed) == 1:
                    found[f"{function.__module__}.{name}"] = function
    return found


PARSERS = parsers()
TOKENS = [
    b"nan",
    b"inf",
    b"-1",
    b"18446744073709551616",
    b"1_000",
    b"",
    b"\0",
    b"\xff",
    b" ",
    b"\n",
]
FILES = (
    "stat", "meminfo", "vmstat", "diskstats", "loadavg", "interrupts", "softirqs", "zoneinfo",
    "buddyinfo", "swaps", "net/dev", "net/snmp", "net/netstat", "net/snmp6", "net/sockstat",
    "net/softnet_stat", "net/stat/nf_conntrack", "pressure/cpu", "self/stat", "self/mountinfo",
    "self/cgroup", "self/io", "self/schedstat", "self/limits", "sys/fs/file-nr", "uptime",
    "cpuinfo", "self/status",
)  # fmt: skip


def mutate(raw, dice):
    kind = dice.randrange(6)
    place, length = dice.randrange(len(raw) + 1), dice.randrange(1, 40)
    if kind == 0:
        return raw[:place]
    if kind == 1:
        return raw[:place] + raw[place + length :]
    if kind == 2:
        return raw[:place] + dice.choice(TOKENS) + raw[place:]
    if kind == 3:
        return raw[:place] + raw[place : place + length] * 2 + raw[place + length :]
    words = raw.split(b" ")
    words[dice.randrange(len(words))] = dice.choice(TOKENS)
    return b" ".join(words)


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_any_bytes_are_a_sample_or_refused(parser):
    dice = random.Random(11)
    raws = [p.read_bytes()[:8000] for name in FILES if (p := Path("/proc", name)).exists()]
    for raw in [b"", b"\0", b"\n", *raws]:
        for _ in range(30):
            mutated = mutate(mutate(raw, dice), dice)
            try:
                parser(mutated)
            except ValueError:
                continue
