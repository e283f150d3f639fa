"""Time that the hypervisor takes, recorded: a guest cannot take it from itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collectors.cpu import CpuSample
from collectors.model import Sweep
from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.recorded import changed

_SHARE = 0.25


def _alter(sweep: Sweep) -> Sweep:
    """Show a quarter of the time as stolen."""
    return changed(sweep, CpuSample, lambda s: {"states": {**s.states, "steal": _SHARE}})


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    yield Fault(alter=_alter)


SCENARIO = Scenario(
    name="cpu_steal",
    title="a fixture: the hypervisor takes a quarter of the CPU time",
    induce=_induce,
    expect=frozenset({"cpu_steal"}),
    cause="cpu_stolen",
    step="Ask the provider",
    score_below=80,
    recorded=True,
)
