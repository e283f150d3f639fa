"""One scenario from beginning to end: silence, the fault, its undoing, silence again."""

from __future__ import annotations

import fcntl
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from analysis.model import Assessment
from tests.faults import quiet
from tests.faults.lab import Eye, Lab
from tests.faults.scenario import WINDOW, Fault, Impossible, Scenario, as_it_is
from tests.faults.verdicts import Verdict, active, judge

_LOCK = Path("/run/sysdx-faults.lock")
_CLEARING = 3
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of a scenario.

    Attributes:
        scenario: Which.
        seconds: From the fault to the end of the sweep that found it [s]; None when none did.
        verdict: How good the diagnosis was; None when there was none.
        alarms: Rules that fired and should not have, in the order in which they were seen.
        early: Those of them that fired before there was any fault.
        lingering: Rules that still fired in the last sweep after its undoing.
        impossible: What this machine lacks for it; None when nothing.
        crash: How the scenario itself broke; None when it did not.

    """

    scenario: Scenario
    seconds: float | None = None
    verdict: Verdict | None = None
    alarms: tuple[str, ...] = ()
    early: frozenset[str] = frozenset()
    lingering: frozenset[str] = frozenset()
    impossible: str | None = None
    crash: str | None = None

    @property
    def detected(self) -> bool:
        """Whether the fault was found."""
        return self.seconds is not None


def run(
    scenario: Scenario, eye: Callable[[], Eye] = Lab, patience: float = quiet.PATIENCE
) -> Outcome:
    """
    Run a scenario; whatever breaks in it costs this one only.

    Args:
        scenario: The scenario.
        eye: Makes what looks at the host, with a fresh state.
        patience: How long to wait until the host is idle [s].

    Returns:
        What came of it.

    """
    with alone(), tempfile.TemporaryDirectory(prefix="sysdx-faults-") as folder:
        trial = _Trial(scenario, eye())
        try:
            quiet.wait(patience)
            trial.run(Path(folder))
        except Impossible as lack:
            return replace(trial.outcome, impossible=str(lack))
        except Exception as error:
            log.debug("scenario %s crashed", scenario.name, exc_info=True)
            return replace(trial.outcome, crash=f"{type(error).__name__}: {error}")
        return trial.outcome


@contextmanager
def alone() -> Iterator[None]:
    """
    Wait until no other run has a fault here, and keep others waiting.

    Yields:
        Nothing.

    """
    with _LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(slots=True)
class _Trial:
    """A scenario under way."""

    scenario: Scenario
    eye: Eye
    outcome: Outcome = field(init=False)

    def __post_init__(self) -> None:
        self.outcome = Outcome(self.scenario)

    def run(self, folder: Path) -> None:
        """Look before, during and after."""
        before = active(self._look(WINDOW))
        self.outcome = replace(self.outcome, early=before, alarms=tuple(sorted(before)))
        with self.scenario.induce(folder) as fault:
            self.eye.alter = fault.alter
            try:
                self._watch(fault)
            finally:
                self.eye.alter = as_it_is
        self._clear()

    def _watch(self, fault: Fault) -> None:
        """Look until the fault is found."""
        began = time.monotonic()
        for _ in range(self.scenario.sweeps):
            assessment = self._look(self.scenario.window)
            self._note_alarms(assessment)
            verdict = judge(self.scenario, fault, assessment)
            self.outcome = replace(self.outcome, verdict=verdict)
            if self.scenario.shown(active(assessment)):
                seconds = time.monotonic() - began
                self.outcome = replace(self.outcome, seconds=seconds)
                return

    def _note_alarms(self, assessment: Assessment) -> None:
        """Remember rules that fire and should not."""
        new = active(assessment) - self.scenario.known - set(self.outcome.alarms)
        self.outcome = replace(self.outcome, alarms=(*self.outcome.alarms, *sorted(new)))

    def _clear(self) -> None:
        """Look until all is quiet again."""
        for _ in range(_CLEARING):
            lingering = active(self._look(WINDOW))
            self.outcome = replace(self.outcome, lingering=lingering)
            if not lingering:
                return

    def _look(self, window: float) -> Assessment:
        """Examine the host once."""
        return self.eye.look(window, self.scenario.probes)
