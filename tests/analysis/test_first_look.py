"""A single look at a real host tells levels, and never a rate, a share of time or an event."""

from __future__ import annotations

import pytest

from analysis.model import Facts, Kind
from analysis.registry import discover_rules
from collectors.base import Context, discover
from collectors.model import Outcome, Status, Sweep, Unavailable

RULES = discover_rules()
NEEDS_TIME = (
    "cpu_utilization", "cpu_pressure", "cpu_steal", "cpu_iowait", "interrupt_load", "hot_core",
    "context_switches", "fork_storm", "memory_pressure", "memory_stall", "swap_in", "major_faults",
    "direct_reclaim", "compaction_stalls", "huge_page_splits", "disk_utilization", "disk_queue",
    "disk_latency", "io_pressure", "io_stall", "link_utilization", "link_errors",
    "receive_overruns", "backlog_drops", "backlog_squeezed", "conntrack_drops", "tcp_retransmits",
    "tcp_bad_segments", "listen_overflows", "listen_drops", "tcp_memory_aborts",
    "tcp_receive_drops", "udp_receive_buffer", "udp_send_buffer", "packet_steering",
    "blocked_tasks", "disk_errors", "disk_timeouts", "disk_stalled", "link_flaps",
)  # fmt: skip
RATES = {n for n, r in RULES.items() if "/s" in r.unit}


@pytest.fixture(scope="module")
def look():
    """Read everything once."""
    outcomes = {}
    for name, collector in discover().items():
        try:
            data = collector.collect(Context(duration=0.0))
        except Unavailable:
            continue
        outcomes[name] = Outcome(
            name, collector.category, "quick", False, Status.OK, None, None, 0.0, 0.0, data
        )
    return Facts(Sweep("quick", 0.0, 0.0, 0.0, 0.0, outcomes=outcomes))


@pytest.mark.parametrize("name", sorted({*NEEDS_TIME, *RATES}))
def test_what_needs_time_is_unknown(name, look):
    assert RULES[name].evaluate(look) is None


def test_no_old_mishap_is_a_finding(look):
    for name, rule in RULES.items():
        signal = rule.evaluate(look) if rule.kind is Kind.ERRORS else None
        if rule.at_once and signal is not None and not name.startswith("filesystem_readonly"):
            assert signal.value < rule.warning, name
