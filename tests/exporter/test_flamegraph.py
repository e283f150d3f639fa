"""Flame graphs: whole, merged, harmless, and the same in every form."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from exporter.cli import run
from exporter.flamegraph import Stacks, folded, read, speedscope, svg

NAMESPACE = "{http://www.w3.org/2000/svg}"
HOSTILE = "a</title><script>alert(1)</script>&\"'; b"
STACKS = (
    (("web", "main", "work", "read_[k]"), 30),
    (("web", "main", "work"), 50),
    (("web", "main", "idle"), 15),
    ((HOSTILE, "main"), 5),
)


def stacks(unit="samples", probe="profile", some=STACKS):
    return Stacks(probe, unit, some, "host, now, 60 s")


def frames(text):
    found = {}
    for node in ET.fromstring(text).iter(f"{NAMESPACE}g"):
        key = (node.get("data-name"), int(node.get("data-depth")), float(node.get("data-x")))
        assert key not in found
        found[key] = node
    return found


def report(collector="profile", **entry):
    part = {
        "collector": collector,
        "reason": None,
        "stacks": [{"frames": list(f), "value": v} for f, v in STACKS],
        "data": {"window_seconds": 60.0, "stack_unit": "samples"},
    }
    about = {"hostname": "host", "started_at": "now", "profile": "deep"}
    categories = {"cpu": [part | entry]}
    return {
        "schema_version": "1.0.0",
        "metadata": about,
        "categories": categories,
        "summary": {"verdict": ""},
    }


def test_equal_frames_are_one_and_as_wide_as_all_that_is_in_them():
    found = frames(svg(stacks()))
    widths = {(name, depth): float(n.get("data-w")) for (name, depth, _), n in found.items()}
    assert widths["all", 0] == 1
    assert widths["web", 1] == widths["main", 2] == pytest.approx(0.95)
    assert widths["work", 3] == pytest.approx(0.8)
    assert widths["read_[k]", 4] == pytest.approx(0.3)
    assert len(found) == 8  # two programs have a main each


def test_frames_lie_within_those_that_called_them():
    found = frames(svg(stacks()))
    for depth in range(1, 5):
        for (_, row, left), node in found.items():
            if row == depth:
                right = left + float(node.get("data-w"))
                assert any(
                    outer <= left + 1e-9 and right <= outer + float(n.get("data-w")) + 1e-9
                    for (_, below, outer), n in found.items()
                    if below == depth - 1
                )


def test_a_hostile_name_is_text_and_nothing_else():
    root = ET.fromstring(svg(stacks()))
    scripts = root.findall(f"{NAMESPACE}script")
    assert len(scripts) == 1
    assert "alert" not in scripts[0].text
    assert HOSTILE in {n.get("data-name") for n in root.iter(f"{NAMESPACE}g")}


def test_the_picture_needs_nothing_from_elsewhere():
    text = svg(stacks())
    assert text.count("http") == text.count("http://www.w3.org/2000/svg")
    assert "href" not in text


def test_tooltips_tell_weight_and_share():
    tips = {n.find(f"{NAMESPACE}title").text for n in frames(svg(stacks())).values()}
    assert "work: 80 samples, 80.00 %" in tips
    waits = stacks("microseconds", "offcputime", ((("web", "wait"), 2_500_000),))
    assert any("2.500 s" in n.find(f"{NAMESPACE}title").text for n in frames(svg(waits)).values())


def test_slivers_are_not_drawn():
    some = ((("big",), 1_000_000), (("small",), 1))
    assert {name for name, _, _ in frames(svg(stacks(some=some)))} == {"all", "big"}


def test_speedscope_has_the_same_stacks_and_weights():
    file = json.loads(speedscope(stacks("microseconds")))
    names = [f["name"] for f in file["shared"]["frames"]]
    (profile,) = file["profiles"]
    told = [tuple(names[n] for n in sample) for sample in profile["samples"]]
    assert tuple(zip(told, profile["weights"], strict=True)) == STACKS
    assert (profile["type"], profile["unit"], profile["endValue"]) == (
        "sampled",
        "microseconds",
        100,
    )
    assert len(set(names)) == len(names)


def test_folded_lines_keep_names_apart():
    lines = folded(stacks()).splitlines()
    assert lines[0] == "web;main;work;read_[k] 30"
    assert lines[3].count(";") == 1


def test_a_report_without_the_probe_says_which_sweep_has_it():
    with pytest.raises(ValueError, match=r"no offcputime.*deep sweep"):
        read(report(), "offcputime")
    with pytest.raises(ValueError, match="no stacks: not allowed"):
        read(report(stacks=[], reason="not allowed"), "profile")


@pytest.mark.parametrize(
    ("options", "begin"),
    [
        (("-o", "x.svg"), "<svg "),
        (("-o", "x.json"), '{"$schema"'),
        (("-o", "x.svg", "--format", "folded"), "web;main"),
    ],
)
def test_the_command_writes_the_form_that_is_asked_for(tmp_path, monkeypatch, options, begin):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text(json.dumps(report()))
    assert run(["flamegraph", "r.json", *options]) == 0
    assert (tmp_path / options[1]).read_text().startswith(begin)


def test_the_command_has_an_exit_code_for_each_failure(tmp_path, capsys):
    good = tmp_path / "good.json"
    good.write_text(json.dumps(report()))
    assert run(["flamegraph", str(tmp_path / "none.json")]) == 66
    assert run(["flamegraph", str(good), "--probe", "wakeuptime"]) == 65
    assert run(["flamegraph", str(good), "-o", str(tmp_path / "no" / "x.svg")]) == 73
    assert "wakeuptime" in capsys.readouterr().err
