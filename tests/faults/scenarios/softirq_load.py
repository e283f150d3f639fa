"""A flood of packets whose handling takes a CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import stress
from tests.faults.tools.rules import CPUS


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with stress("--udp-flood", str(os.cpu_count() or 1)):
        yield Fault()


SCENARIO = Scenario(
    name="softirq_load",
    title="stress-ng --udp-flood on loopback with one stressor per CPU",
    induce=_induce,
    expect=frozenset({"interrupt_load"}),
    allowed=CPUS | {"backlog_squeezed", "backlog_drops", "udp_receive_buffer", "context_switches"},
    cause="interrupt_storm",
    culprit=("device", "cpu"),
    step="Spread the load",
    score_below=90,
    note="every CPU is flooded, so that any of them is the right one",
)
