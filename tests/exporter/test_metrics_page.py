"""A page of metrics that nothing can poison."""

from __future__ import annotations

import gzip
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.metrics_catalog import FAMILIES, HISTOGRAM
from exporter.metrics_page import Distribution, Page, Pages

HOSTILE = [
    'a"b\\c\nsysdx_health_score 0\n',
    b"\xff\xfe".decode("utf-8", "surrogateescape"),
    "\x1b[31mred\x07\r\n",
    "\u202egnp.exe\u2028",
    "x" * 500,
    "# EOF\n",
    "",
]


def families(text):
    return {f.name: f for f in parse_text(text.decode())}


@given(st.text() | st.sampled_from(HOSTILE), st.floats())
def test_any_name_and_any_number_leave_a_page_that_both_parsers_read(name, number):
    page = Page()
    page.add("sysdx_resource_utilization_ratio", number, "disk", name)
    page.add("sysdx_health_score", 50)
    written = Pages([page])
    text, openmetrics = written.text, written.openmetrics
    assert families(text)["sysdx_health_score"].samples[0].value == 50
    names = [f.name for f in parse_openmetrics(openmetrics.decode())]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_cannot_forge_a_line(name):
    page = Page()
    page.add("sysdx_resource_utilization_ratio", 0.5, "disk", name)
    text = Pages([page]).text.decode()
    assert [line.split("{")[0] for line in text.splitlines()[2:]] == [
        "sysdx_resource_utilization_ratio"
    ]


def test_unknown_is_absent_and_no_number_is_dropped_and_counted():
    page = Page()
    page.add("sysdx_health_score", None)
    page.add("sysdx_health_coverage_ratio", float("nan"))
    assert Pages([page]).text == b""
    assert dict(page.dropped) == {("sysdx_health_coverage_ratio", "not_finite"): 1}


def test_a_series_exists_once():
    page = Page()
    page.add("sysdx_health_score", 1)
    page.add("sysdx_health_score", 2)
    assert Pages([page]).text.splitlines()[-1] == b"sysdx_health_score 1.0"
    assert page.dropped["sysdx_health_score", "duplicate"] == 1


def test_wrong_labels_are_a_mistake_of_ours():
    with pytest.raises(ValueError, match="labels"):
        Page().add("sysdx_health_score", 1, "extra")


def test_a_family_that_outgrows_its_limit_keeps_its_largest_and_the_worst_of_the_rest():
    page = Page()
    page.add("sysdx_resource_utilization_ratio", 0.1, "network", "")
    for number in range(1000):
        page.add("sysdx_resource_utilization_ratio", number / 1000, "network", f"veth{number}")
    page.cut(1500)
    samples = {
        s.labels["device"]: s.value
        for s in families(Pages([page]).text)["sysdx_resource_utilization_ratio"].samples
    }
    assert len(samples) == 128
    assert {"", "veth999"} <= set(samples)
    assert samples["other"] == 0.873


def test_the_whole_page_stays_below_its_limit():
    page = Page()
    for number in range(1000):
        name = f"d{number}"
        page.add("sysdx_resource_utilization_ratio", 0.5, "disk", name)
        page.add("sysdx_resource_errors_total", 5, "disk", name, "io")
        page.add("sysdx_resource_saturation_ratio", 0.5, "disk", name, "queue")
    page.cut(100)
    assert page.series() <= 100


def test_an_edge_belongs_to_its_bucket_and_buckets_are_cumulative():
    distribution = Distribution((0.1, 0.5, 1.0))
    for value in (0.05, 0.1, 0.5, 2.0):
        distribution.observe(value)
    assert distribution.buckets() == [("0.1", 2), ("0.5", 3), ("1.0", 3), ("+Inf", 4)]
    assert distribution.total == pytest.approx(2.65)


def filled():
    page = Page()
    for family in FAMILIES:
        labels = ["x"] * len(family.labels)
        if family.type == HISTOGRAM:
            page.add_histogram(family.name, Distribution((0.5, 1.0)), *labels)
        else:
            page.add(family.name, 1, *labels)
    return page


def test_every_family_of_the_contract_is_read_by_both_parsers():
    written = Pages([filled()])
    text, openmetrics = written.text, written.openmetrics
    read = {s.name for f in families(text).values() for s in f.samples}
    assert {f.name for f in FAMILIES if f.type != HISTOGRAM} <= read
    assert len(list(parse_openmetrics(openmetrics.decode()))) == len(FAMILIES)


def test_promtool_has_nothing_to_say_about_the_contract():
    found = subprocess.run(
        ["promtool", "check", "metrics"],
        input=Pages([filled()]).text,
        capture_output=True,
        check=False,
    )
    assert (found.stdout, found.stderr, found.returncode) == (b"", b"", 0)


def test_each_form_is_written_once_and_only_when_asked_for():
    asked = []

    class Part:
        def collect(self):
            asked.append(1)
            yield from filled().collect()

    sut = Pages([Part()])
    assert asked == []
    assert sut.text is sut.text
    assert gzip.decompress(sut.text_gzip) == sut.text
    assert len(asked) == 1
    assert sut.openmetrics is sut.openmetrics
    assert len(asked) == 2


def test_a_mark_changes_every_form_and_leaves_the_page_it_was_made_from():
    sut = Pages([filled()])
    marked = sut.marked(b"sysdx_health_score ", b"sysdx_health_score 7")
    assert b"sysdx_health_score 7" in marked.text
    assert b"sysdx_health_score 7" in gzip.decompress(marked.openmetrics_gzip)
    assert b"sysdx_health_score 7" not in sut.text


def test_a_page_does_not_change_when_the_totals_go_on():
    totals = Distribution((1.0,))
    totals.observe(0.5)
    page = Page()
    page.add_histogram("sysdx_sweep_duration_seconds", totals, "quick")
    totals.observe(0.5)
    assert b'_count{profile="quick"} 1.0' in Pages([page]).text
