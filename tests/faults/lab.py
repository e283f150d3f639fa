"""Sweeps of this host as the daemon makes them, with only the damping and the window changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from analysis.model import Assessment
from analysis.state import Damping
from collectors.model import Outcome, Sweep
from exporter.app import collectors, options, paths
from exporter.config import Config, Profile
from exporter.examine import Examiner, Result, Run
from exporter.orchestrator import Orchestrator
from exporter.policy import policy
from tests.faults.scenario import as_it_is

INTERVAL = 0.5
# Two sweeps agree before anything but the worst is raised, as by default; nothing is held
# longer than that, so that the end of a fault can be seen as well.
DAMPING = Damping(raise_sweeps=2, of_sweeps=3, hold=0.0, linger=0.0)
_LATE = 60.0  # [s] for compiling probes, and for collectors that do not answer
_PROFILE = "quick"


class Eye(Protocol):
    """What looks at the host."""

    alter: Callable[[Sweep], Sweep]

    def look(self, window: float, probes: tuple[str, ...] = ()) -> Assessment:
        """Examine the host once."""


class _Altering(Examiner):
    """An examiner that lets a fixture change what the collectors said."""

    alter: Callable[[Sweep], Sweep] = staticmethod(as_it_is)

    def _assemble(self, run: Run, outcomes: dict[str, Outcome]) -> Sweep:
        return self.alter(super()._assemble(run, outcomes))


class Lab:
    """
    Sweeps in a row that know of each other, beginning with a fresh state.

    Attributes:
        alter: Puts a recorded fault into the next sweeps.
        sweep: The newest sweep.

    """

    def __init__(self, config: Config | None = None) -> None:
        config = config or Config()
        judging = policy(config)
        judging = replace(judging, judging=replace(judging.judging, damping=DAMPING))
        self.alter: Callable[[Sweep], Sweep] = as_it_is
        self.sweep: Sweep | None = None
        self._examiner = _Altering(
            Orchestrator(collectors(config), paths(config)),
            judging,
            self._keep,
            options=options(config),
        )

    def look(self, window: float, probes: tuple[str, ...] = ()) -> Assessment:
        """
        Examine the host once.

        Args:
            window: How long [s].
            probes: eBPF probes to run besides the collectors.

        Returns:
            The judgment.

        """
        self._examiner.alter = self.alter
        quick: Profile = Config().profiles.quick
        changes = {
            "duration": window,
            "sample_interval": INTERVAL,
            "timeout": window + _LATE,
            "probes": probes,
        }
        profile = quick.model_copy(update=changes)
        return self._examiner.examine(_PROFILE, profile, "command", threading.Event()).assessment

    def _keep(self, result: Result) -> None:
        """Remember the newest sweep."""
        self.sweep = result.sweep
