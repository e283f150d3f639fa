"""What holds for every probe, found or yet to be written."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from analysis.model import RESOURCES
from collectors.bpf.probe import discover
from exporter.config_model import PROBES

FOUND = discover()
OTHER_CATEGORIES = {"process", "system"}
ANSWERS = ("Event:", "Cost:", "Missed:", "Kernels:")


@pytest.fixture(params=FOUND.values(), ids=FOUND)
def probe(request):
    return request.param


def test_it_answers_the_four_questions(probe):
    text = inspect.getdoc(importlib.import_module(f"collectors.bpf.probes.{probe.name}"))
    text = text.replace("Events:", "Event:")
    assert [a for a in ANSWERS if a not in text] == []
    assert probe.category in (*RESOURCES, *OTHER_CATEGORIES)


NAMES = re.compile(
    r"""
    ^BPF_TABLE\(\s*"\w+",[^,]+,[^,]+,\s*(\w+)
    | ^BPF_(?!TABLE)[A-Z_]+\((\w+)
    | ^struct\ (\w+)\ \{
    | ^static\ __always_inline\ [\w\ ]+?\**(\w+)\(
    | ^\#define\ (\w+)
    """,
    re.MULTILINE | re.VERBOSE,
)


def test_its_names_in_c_begin_with_its_own(probe):
    names = [name for groups in NAMES.findall(probe.shared) for name in groups if name]
    assert names or not probe.shared.strip()
    assert [n for n in names if not n.lower().startswith(f"{probe.name}_")] == []


def test_its_offsets_are_named_after_it(probe):
    macros = [*probe.offsets, *probe.optional_offsets]
    assert [m for m in macros if not m.lower().startswith(f"{probe.name}_")] == []


def test_its_families_are_bounded_and_in_base_units(probe):
    for family in probe.families:
        assert family.name.startswith("sysdx_")
        assert family.name.rsplit("_", 1)[1] in ("seconds", "bytes", "length")
        assert 1 <= len(family.edges) <= 20
        assert list(family.edges) == sorted(set(family.edges))
        assert not {"pid", "comm", "path", "address"} & set(family.labels)


def test_its_stand_ins_stand_in_for_one_of_its_own(probe):
    places = {part.on for part in probe.parts}
    assert {p.instead_of for p in probe.parts if p.instead_of} <= places
    assert len(places) == len(probe.parts)


def test_a_configuration_may_name_it(probe):
    assert probe.name in PROBES


def test_no_family_belongs_to_two_probes():
    names = [f.name for probe in FOUND.values() for f in probe.families]
    assert len(names) == len(set(names))
