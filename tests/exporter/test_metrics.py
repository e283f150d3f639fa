"""Pages of metrics: whole, fresh, and honest about what is not known."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from analysis import assess
from analysis.model import Kind, Rule, Scale, Signal
from analysis.state import AT_ONCE
from analysis.use_model import ResourceUse
from collectors.base import Collector, Paths
from collectors.model import Cause, Distribution, Unavailable
from exporter.app import known
from exporter.config import load
from exporter.examine import Examiner
from exporter.metrics import Exposition
from exporter.metrics_totals import Published
from exporter.orchestrator import Orchestrator
from exporter.policy import Policy

PROFILE = load(None, known()).profiles.quick.model_copy(
    update={"duration": 0.02, "sample_interval": 0.01}
)


def collector(name, function, essential=True):
    return Collector(name, name, essential, "", function)


def rule(value):
    return Rule(
        id="r", resource="cpu", cause="c", kind=Kind.SATURATION, unit="ratio", warning=0.5,
        critical=0.9, scale=Scale.LINEAR, source="", gate="", explanation="", next_steps=(),
        evaluate=lambda _: None if value is None else Signal(value, "busy"),
    )  # fmt: skip


def use(share=0.25):
    spread = Distribution(share, 0.5, (0.1, 0.4))
    return lambda _: ResourceUse(utilization=spread, pressure={"some": None})


def policy(value=0.0, uses=None, stale_after=3.0):
    judging = assess.Policy({"r": rule(value)}, uses or {"cpu": use()}, AT_ONCE)
    return Policy(judging, 1500, stale_after)


def good(_):
    from collectors.limits import LimitsSample

    return LimitsSample(1, 2, 3, 4, 5, 6, 7)


def absent(_):
    raise Unavailable("none here", Cause.ABSENT)


def broken(_):
    raise Unavailable("not allowed", Cause.PERMISSION)


def swept(chosen, sut, **functions):
    found = {n: collector(n, f) for n, f in functions.items()}
    done = []
    examiner = Examiner(Orchestrator(found, Paths()), chosen, done.append)
    examiner.examine("quick", PROFILE, "test", threading.Event())
    sut.publish(Published.of(done[0]))
    return done[0]


def exposition(chosen):
    return Exposition("1.2.3", {"quick": 60.0}, chosen)


def values(sut):
    pages = sut.pages()
    return {
        (s.name, *sorted(s.labels.values())): s.value
        for f in parse(pages.text.decode())
        for s in f.samples
    }


def test_before_the_first_sweep_there_is_the_exporter_and_no_health():
    sut = exposition(policy())
    names = {key[0] for key in values(sut)}
    assert "sysdx_build_info" in names
    assert "process_resident_memory_bytes" in names
    assert not names & {"sysdx_health_score", "sysdx_sweep_last_success_timestamp_seconds"}


def test_a_sweep_is_shown_whole():
    chosen = policy(value=0.95)
    sut = exposition(chosen)
    result = swept(chosen, sut, cpu=good, gpu=absent, disk=broken)
    seen = values(sut)
    assert seen["sysdx_health_score",] == 100 - sum(
        v for k, v in seen.items() if k[0] == "sysdx_health_deduction_points"
    )
    assert seen["sysdx_anomaly_active", "cpu", "critical", "r"] == 1
    assert seen["sysdx_anomalies", "cpu", "critical"] == 1
    assert 0 < seen["sysdx_hypothesis_confidence_ratio", "c", "cpu"] <= 1
    assert seen["sysdx_anomaly_transitions_total", "r"] == 1
    assert seen["sysdx_sweeps_total", "complete", "quick"] == 1
    assert seen["sysdx_report_info", result.report.metadata.report_id, "quick"] == 1
    assert seen["sysdx_collector_errors_total", "disk", "permission"] == 1
    sampled = {k: v for k, v in seen.items() if "utilization_sample_ratio_count" in k[0]}
    # Others were not sampled, which is something else than no sample below an edge.
    assert sampled == {("sysdx_resource_utilization_sample_ratio_count", "cpu"): 2}
    assert seen["sysdx_series",] == len(
        [x for x in sut.pages().text.splitlines() if not x.startswith(b"#")]
    )


def test_what_this_host_does_not_have_is_no_failure():
    chosen = policy()
    sut = exposition(chosen)
    swept(chosen, sut, cpu=good, gpu=absent, disk=broken)
    seen = values(sut)
    assert seen["sysdx_collector_supported", "gpu"] == 0
    assert ("sysdx_collector_success", "gpu") not in seen
    assert seen["sysdx_collector_success", "disk"] == 0
    assert not [k for k in seen if k[0] == "sysdx_collector_errors_total" and "gpu" in k]
    assert ("sysdx_collector_last_success_timestamp_seconds", "disk") not in seen


def test_unknown_is_absent_and_never_zero():
    chosen = policy(value=None, uses={"cpu": lambda _: None})
    sut = exposition(chosen)
    swept(chosen, sut, cpu=broken, memory=broken)
    seen = values(sut)
    assert ("sysdx_health_score",) not in seen
    assert seen["sysdx_health_coverage_ratio",] == 0
    assert not [k for k in seen if k[0] == "sysdx_resource_utilization_ratio"]


def test_a_stale_sweep_is_withdrawn_and_the_exporter_stays():
    chosen = policy(stale_after=0.0)
    sut = Exposition("1.2.3", {"quick": 1e-9}, chosen)
    result = swept(chosen, sut, cpu=good)
    sut._fresh_until -= result.report.metadata.duration_seconds + 1
    seen = values(sut)
    assert not [k for k in seen if k[0].startswith(("sysdx_health", "sysdx_anomaly_active"))]
    assert seen["sysdx_sweeps_total", "complete", "quick"] == 1
    assert ("sysdx_report_info",) not in {k[:1] for k in seen}


def test_a_scrape_between_sweeps_is_the_same_bytes():
    chosen = policy()
    sut = exposition(chosen)
    swept(chosen, sut, cpu=good)
    assert sut.pages() is sut.pages()


def test_a_sweep_in_progress_is_shown_without_touching_the_last_ones_values():
    chosen = policy()
    sut = exposition(chosen)
    swept(chosen, sut, cpu=good)
    before = values(sut)
    sut.started("quick")
    after = values(sut)
    assert (
        before["sysdx_sweep_in_progress", "quick"],
        after["sysdx_sweep_in_progress", "quick"],
    ) == (0, 1)
    assert before["sysdx_health_score",] == after["sysdx_health_score",]
    sut.failed("quick")
    assert values(sut)["sysdx_sweeps_total", "failed", "quick"] == 1


@pytest.mark.parametrize("name", ['x"} 1\nforged 1', "\udcff", "a\x1b[0m"])
def test_a_device_of_any_name_is_one_line(name):
    part = use()(None)
    chosen = policy(uses={"disk": lambda _: replace(part, devices={name: part})})
    sut = exposition(chosen)
    swept(chosen, sut, disk=good)
    assert len([k for k in values(sut) if k[0] == "sysdx_resource_utilization_ratio"]) == 2
    assert "forged" not in {k[0] for k in values(sut)}
