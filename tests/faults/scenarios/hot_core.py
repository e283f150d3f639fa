"""One thread at the limit of its CPU while three others idle, recorded for want of CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collectors.cpu import CpuSample
from collectors.model import Distribution, Sweep
from collectors.pressure import PressureSample
from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.processes import program
from tests.faults.tools.recorded import changed

_QUEUEING = Distribution(0.3, 0.4)


def _alter(sweep: Sweep) -> Sweep:
    """Show four CPUs of which one is full, and tasks that queue for it."""
    shares = {0: 0.99, 1: 0.05, 2: 0.05, 3: 0.05}
    sweep = changed(sweep, CpuSample, lambda _: {"per_cpu": shares, "online": 4})
    return changed(
        sweep,
        PressureSample,
        lambda s: {"cpu": type(s.cpu)(some=_QUEUEING, full=s.cpu.full)},
    )


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    with program("sysdx-hot", "ready()\nwhile True: pass") as process:
        yield Fault(pid=process.pid, alter=_alter)


SCENARIO = Scenario(
    name="hot_core",
    title="one busy thread; a fixture makes it one of four CPUs, with tasks that queue for it",
    induce=_induce,
    expect=frozenset({"hot_core"}),
    cause="hot_core",
    culprit=("process", "sysdx-hot"),
    step="top -H -p ",
    score_below=97,
    recorded=True,
)
