"""What a scenario says: a fault that can really be induced, and what must come of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from collectors.model import Sweep

_FOLDER = Path(__file__).parent / "scenarios"
WINDOW = 5.0


class Impossible(Exception):  # noqa: N818  it is an answer, not a failure
    """This machine cannot have the fault; the text says what it lacks."""


def as_it_is(sweep: Sweep) -> Sweep:
    """
    Leave a sweep alone.

    Args:
        sweep: What the collectors said.

    Returns:
        The same.

    """
    return sweep


@dataclass(frozen=True, slots=True)
class Fault:
    """
    A fault that is there now.

    Attributes:
        culprit: Its culprit's name or the beginning of it; None where the scenario knows it.
        pid: The culprit's pid, where there is one.
        alter: Puts the fault into a sweep, where a fixture stands in for it.

    """

    culprit: str | None = None
    pid: int | None = None
    alter: Callable[[Sweep], Sweep] = as_it_is


Induce = Callable[[Path], AbstractContextManager[Fault]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    A fault and what must come of it.

    Attributes:
        name: Its file's name.
        title: What is done to the host.
        induce: Given a folder for its files, has the fault as long as the context is open.
        expect: Rules that must all fire.
        cause: The hypothesis that must rank first.
        any_of: Groups of rules, of each of which at least one must fire.
        allowed: Further rules that may fire, as true consequences.
        culprit: Kind and beginning of the name of who must be named; None when nobody is.
        advice: Beginning of the id of a recommendation that must be given; None when none is.
        step: What the verdict must say to do next, where nothing is recommended.
        score_below: What the score must fall below.
        probes: eBPF probes that are needed.
        window: How long each sweep with the fault observes the host [s].
        sweeps: How many sweeps it may take; what shows only from sweep to sweep takes one more.
        recorded: A fixture stands in, since not every machine can have the fault.
        note: What a reader of the table has to know of what is expected; "" when nothing.

    """

    name: str
    title: str
    induce: Induce
    expect: frozenset[str]
    cause: str
    any_of: tuple[frozenset[str], ...] = ()
    allowed: frozenset[str] = frozenset()
    culprit: tuple[str, str] | None = None
    advice: str | None = None
    step: str | None = None
    score_below: float = 100.0
    probes: tuple[str, ...] = ()
    window: float = WINDOW
    sweeps: int = 2
    recorded: bool = False
    note: str = ""

    @property
    def known(self) -> frozenset[str]:
        """All rules that may fire."""
        return self.expect.union(self.allowed, *self.any_of)

    def shown(self, active: frozenset[str]) -> bool:
        """
        Tell whether the fault was found.

        Args:
            active: Rules that fire.

        Returns:
            Whether all that must are among them.

        """
        return self.expect <= active and all(group & active for group in self.any_of)


def discover(folder: Path = _FOLDER) -> dict[str, Scenario]:
    """
    Find all scenarios.

    Args:
        folder: Where each has a file of its own.

    Returns:
        dict name -> scenario, in the order of their names.

    """
    return {path.stem: _load(path) for path in sorted(folder.glob("[a-z]*.py"))}


def _load(path: Path) -> Scenario:
    """Load a scenario from its file."""
    spec = importlib.util.spec_from_file_location(f"tests.faults.scenarios.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Scenario = module.SCENARIO
    assert found.name == path.stem, f"{path} calls itself {found.name}"
    return found
