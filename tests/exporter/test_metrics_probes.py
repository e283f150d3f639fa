"""What eBPF probes saw, as metrics: cumulative over all windows, exact, bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from collectors.bpf.model import Bucket, ProbeSample, histogram
from collectors.bpf.probe import discover
from exporter.app import known
from exporter.config import load
from exporter.metrics import Exposition
from exporter.metrics_page import Distribution, Page
from exporter.metrics_totals import Totals
from exporter.policy import policy

FAMILY = "sysdx_run_queue_latency_seconds"
DEVICES = "sysdx_block_io_latency_seconds"


def runqlat(slots, total, **more):
    waits = histogram(FAMILY, slots, total)
    return ProbeSample("runqlat", 10.0, waits.count, histograms=(waits,), **more)


def shown(totals):
    sut = Exposition("1", {"standard": 900.0}, policy(load(None, known())))
    sut._totals = totals
    sut.judged({"runqlat": (True, "ok"), "cachestat": (False, "no_btf")})
    sut.configured(successful=True, at=0.0)
    pages = sut.pages()
    assert list(parse_openmetrics(pages.openmetrics.decode()))
    return {
        (s.name, *s.labels.values()): s.value for f in parse(pages.text.decode()) for s in f.samples
    }


def test_windows_add_up_with_an_exact_sum_and_upper_edges():
    totals = Totals()
    totals.add_probe(runqlat({14: 3, 20: 1}, 1_000_000, lost=2))
    totals.add_probe(runqlat({14: 4, 40: 1}, 2_000_000, map_bytes=4096))
    seen = shown(totals)
    assert seen[f"{FAMILY}_sum",] == pytest.approx(0.003)
    assert seen[f"{FAMILY}_count",] == 9
    assert seen[f"{FAMILY}_bucket", "1.6384e-05"] == 7  # 2^14 ns is the upper edge
    assert seen[f"{FAMILY}_bucket", "8.192e-06"] == 0
    assert seen[f"{FAMILY}_bucket", "0.001048576"] == 8
    assert seen[f"{FAMILY}_bucket", "+Inf"] == 9
    assert seen["sysdx_probe_observed_seconds_total", "runqlat"] == 20
    assert seen["sysdx_probe_events_total", "runqlat"] == 9
    assert seen["sysdx_probe_lost_events_total", "runqlat"] == 2
    assert seen["sysdx_probe_map_memory_bytes",] == 4096
    assert seen["sysdx_probe_available", "runqlat", "ok"] == 1
    assert seen["sysdx_probe_available", "cachestat", "no_btf"] == 0


def test_what_no_profile_names_is_disabled_until_one_does():
    chosen = policy(load(None, known()))
    sut = Exposition("1", {"standard": 900.0}, replace(chosen, unused_probes=("fsync",)))
    sut.judged({"runqlat": (True, "ok")})

    def told():
        families = parse(sut.pages().text.decode())
        return {
            (*s.labels.values(), s.value)
            for f in families
            for s in f.samples
            if s.name == "sysdx_probe_available"
        }

    sut.configured(successful=True, at=0.0)
    assert told() == {("runqlat", "ok", 1.0), ("fsync", "disabled", 0.0)}
    now = replace(chosen, unused_probes=("runqlat",))
    sut.configured(successful=True, at=0.0, policy=now)
    assert told() == {("runqlat", "disabled", 0.0)}


def test_labels_beyond_the_limit_are_one_row_and_counted():
    (family,) = discover()["biolatency"].families
    totals = Totals()
    rows = [
        histogram(DEVICES, {20: 1}, 1, labels={"device": f"d{n}", "operation": "read"})
        for n in range(family.limit + 5)
    ]
    totals.add_probe(ProbeSample("biolatency", 1.0, len(rows), histograms=tuple(rows)))
    assert len(totals.histograms[DEVICES]) == family.limit
    assert totals.histograms[DEVICES]["other", "other"].counts[-1] == 0
    assert sum(totals.histograms[DEVICES]["other", "other"].counts) == 6
    assert totals.dropped[DEVICES, "limit"] == 6


def test_linear_buckets_fall_under_the_next_edge():
    sut = Distribution((0.0, 1.0, 2.0, 4.0))
    buckets = tuple(Bucket(float(n), 1) for n in range(7))
    from collectors.bpf.model import Histogram

    sut.merge(Histogram("x", {}, buckets, 7, 21.0))
    assert sut.counts == [1, 1, 1, 2, 2]


def test_every_family_of_every_probe_is_on_the_page():
    page = Page()
    for probe in discover().values():
        for family in probe.families:
            page.add_histogram(family.name, Distribution(family.edges), *["x"] * len(family.labels))
    names = {metric.name for metric in page.collect()}
    assert names == {f.name for p in discover().values() for f in p.families}
