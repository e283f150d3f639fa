"""Rules on what only eBPF probes see."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Severity
from analysis.registry import discover_rules
from analysis.score import findings
from collectors.bpf.model import ProbeSample, histogram
from collectors.disk import Disk, DiskSample, Operation
from collectors.disk_device import Device
from collectors.memory import MemorySample
from collectors.model import Distribution, Outcome, Status, Sweep
from collectors.pressure import PressureSample, Stall
from collectors.tcp import TcpSample

RULES = {r.id: r for r in discover_rules().values() if r.probe}
MS = 20  # slot of a millisecond: values from 0.5 to 1 ms


def facts(*samples, **probes):
    parts = dict(enumerate(samples)) | probes
    outcomes = {
        str(n): Outcome(str(n), "cpu", "quick", True, Status.OK, None, None, 0.0, 1.0, s)
        for n, s in parts.items()
    }
    return Facts(Sweep("standard", 0.0, 0.0, 30.0, 30.0, outcomes=outcomes))


def seen(name, slots, **labels):
    spread = histogram("x", slots, 0, labels=labels)
    return ProbeSample(name, 30.0, spread.count, histograms=(spread,))


def severity(name, known):
    signal = RULES[name].evaluate(known)
    assert signal is not None
    found = findings([(RULES[name], signal)])
    return found[0].severity if found else None


SIMPLE = {"run_queue_latency": "runqlat", "direct_reclaim_latency": "drsnoop"}


@pytest.mark.parametrize(("rule", "probe"), SIMPLE.items())
def test_the_unluckiest_hundredth_is_judged(rule, probe):
    quick, slow, endless = {MS: 9990, MS + 8: 10}, {MS: 9800, MS + 5: 200}, {MS + 8: 2000}
    assert severity(rule, facts(**{probe: seen(probe, quick)})) is None
    assert severity(rule, facts(**{probe: seen(probe, slow)})) is Severity.WARNING
    assert severity(rule, facts(**{probe: seen(probe, endless)})) is Severity.CRITICAL


@pytest.mark.parametrize(("rule", "probe", "few"), [
    ("run_queue_latency", "runqlat", 999),
    ("direct_reclaim_latency", "drsnoop", 9),
    ("tcp_connect_latency", "tcpconnlat", 99),
])  # fmt: skip
def test_a_few_values_have_no_hundredth(rule, probe, few):
    assert severity(rule, facts(**{probe: seen(probe, {MS + 14: few})})) is None
    assert severity(rule, facts(**{probe: seen(probe, {MS + 14: few + 1})}))


def test_without_its_probe_each_rule_cannot_say():
    assert [r.id for r in RULES.values() if r.evaluate(facts()) is not None] == []
    assert all(r.at_once for r in RULES.values())


def test_connections_count_when_their_first_packet_was_lost():
    lost = {MS - 2: 5000, MS + 11: 60}  # 1 to 2 s
    late = {MS - 2: 5000, MS + 8: 60}
    assert severity("tcp_connect_latency", facts(tcpconnlat=seen("tcpconnlat", lost)))
    assert severity("tcp_connect_latency", facts(tcpconnlat=seen("tcpconnlat", late))) is None


def disk(rotational):
    device = Device("scsi", in_sums=True, rotational=rotational, nr_requests=64, queues=1)
    idle = Operation(0.0, 0.0, 0.0, None)
    return DiskSample(
        30.0,
        (Disk("sda", device, read=idle, write=idle, flush=Operation(0.0), queue_length=0.0,
              utilization=Distribution(0.0, 0.0, (0.0,)), stalled_seconds=0.0, errors={},
              errors_increase={}),),
    )  # fmt: skip


def tail(operation="read", slot=MS + 6, count=1000, device="sda"):
    return seen("biolatency", {slot: count}, device=device, operation=operation)


def test_a_disk_is_held_to_what_its_own_kind_does():
    slow = tail()  # 32 to 64 ms
    assert severity("block_io_latency", facts(disk(rotational=True), biolatency=slow)) is None
    assert severity("block_io_latency", facts(disk(rotational=False), biolatency=slow))


def test_a_disk_that_is_not_known_is_not_judged():
    known = facts(disk(rotational=False), biolatency=tail(device="loop7"))
    assert severity("block_io_latency", known) is None


@pytest.mark.parametrize(("some", "judged"), [(0.01, False), (0.2, True)])
def test_writes_count_only_where_somebody_waits(some, judged):
    stall = Stall(Distribution(some), Distribution(0.0))
    pressure = PressureSample(30.0, None, None, stall, None)
    known = facts(disk(rotational=False), pressure, biolatency=tail("write", MS + 10))
    assert bool(severity("block_io_latency", known)) is judged


def cached(hits, misses, refaults, **more):
    values = {"hits": hits, "misses": misses, "hit_ratio": hits / (hits + misses)} | more
    rows = ({"comm": "db", "pid": 7, "misses": misses, "hits": hits, "accesses": hits + misses},)
    seen_ = ProbeSample("cachestat", 10.0, hits + misses, values=values, tops={"process": rows})
    increases = {"workingset_refault_file": refaults}
    return facts(MemorySample(10.0, None, None, increases=increases), cachestat=seen_)


@pytest.mark.parametrize(
    ("hits", "misses", "refaults", "expected"),
    [
        (10_000, 10_000, 9_000, Severity.WARNING),
        (10_000, 10_000, 1_000, None),  # cold files, which no memory would help
        (90_000, 10_000, 9_000, None),
        (100, 100, 100, None),  # too few to matter
    ],
)
def test_misses_count_where_the_cache_is_too_small(hits, misses, refaults, expected):
    assert severity("page_cache_misses", cached(hits, misses, refaults)) is expected


def test_misses_name_who_reads_and_say_nothing_without_a_ratio():
    signal = RULES["page_cache_misses"].evaluate(cached(10_000, 10_000, 9_000))
    assert [(c.name, c.id, c.share) for c in signal.culprits] == [("db", "7", 1.0)]
    unknown = ProbeSample("cachestat", 10.0, 5, values={"misses": 5.0})
    known = facts(
        MemorySample(10.0, None, None, increases={"workingset_refault_file": 9}), cachestat=unknown
    )
    assert RULES["page_cache_misses"].evaluate(known) is None


def test_retransmits_name_the_networks_they_went_to():
    tops = {
        "network": ({"network": "192.0.2.0/24", "count": 30, "segments": 40.0},),
        "remote_port": ({"remote_port": 5432, "count": 40, "segments": 50.0},),
    }
    lost = ProbeSample("tcpretrans", 10.0, 40, tops=tops)
    sample = TcpSample(10.0, {"Tcp.RetransSegs": 1000, "Tcp.OutSegs": 10_000})
    rule = discover_rules()["tcp_retransmits"]
    (culprit,) = rule.evaluate(facts(sample, tcpretrans=lost)).culprits
    assert (culprit.kind, culprit.name, culprit.share) == ("remote", "192.0.2.0/24", 0.75)
    assert culprit.detail == "port 5432"
    assert rule.evaluate(facts(sample)).culprits == ()


def test_what_a_control_group_reclaims_is_not_charged_to_the_host():
    slow = {MS + 8: 2000}
    group = seen("drsnoop", slow, scope="cgroup")
    assert severity("direct_reclaim_latency", facts(drsnoop=group)) is None
    host = seen("drsnoop", slow, scope="host")
    assert severity("direct_reclaim_latency", facts(drsnoop=host)) is Severity.CRITICAL
