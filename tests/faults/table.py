"""What came of all scenarios, for a terminal and as Markdown."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.faults.scenario import WINDOW
from tests.faults.tools.groups import unified
from tests.faults.trial import Outcome

HEAD = (
    "scenario", "detected", "seconds", "culprit", "cause rank", "advice", "false alarms", "score",
    "cleared",
)  # fmt: skip
_TARGET = 0.9


@dataclass(frozen=True, slots=True)
class Total:
    """
    A number with its target.

    Attributes:
        text: What it is.
        good: How many did.
        of: How many could.
        least: The target [ratio].

    """

    text: str
    good: int
    of: int
    least: float

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.good >= self.least * self.of

    def __str__(self) -> str:
        """Write it as a line."""
        word = "met" if self.met else "MISSED"
        return f"{self.text}: {self.good} of {self.of} (target {self.least:.0%}, {word})"


def totals(outcomes: Iterable[Outcome]) -> list[Total]:
    """
    Hold all outcomes against the targets.

    Args:
        outcomes: Of all scenarios; those that this machine cannot have do not count.

    Returns:
        The totals.

    """
    tried = [o for o in outcomes if o.impossible is None]
    verdicts = [v for o in tried if (v := o.verdict) is not None]
    named = [v.named for v in verdicts if v.named is not None]
    advised = [v.advised for v in verdicts if v.advised is not None]
    return [
        Total("detected in time", sum(o.detected for o in tried), len(tried), 1.0),
        Total("right culprit named first of its kind", sum(named), len(named), _TARGET),
        Total("right cause ranked first", sum(v.rank == 1 for v in verdicts), len(tried), _TARGET),
        Total("right advice given", sum(advised), len(advised), _TARGET),
        Total("score fell", sum(v.fell for v in verdicts), len(tried), _TARGET),
        Total("without any other rule", sum(not o.alarms for o in tried), len(tried), 1.0),
        Total("cleared after its end", sum(_cleared(o) for o in tried), len(tried), 1.0),
    ]


def _cleared(outcome: Outcome) -> bool:
    """Tell whether all was quiet in the end."""
    return outcome.crash is None and not outcome.lingering


def row(outcome: Outcome) -> tuple[str, ...]:
    """
    Write an outcome as a line of the table.

    Args:
        outcome: Of a scenario.

    Returns:
        One cell for each word of the head.

    """
    name = outcome.scenario.name + (" *" if outcome.scenario.recorded else "")
    if outcome.impossible is not None:
        return (name, f"not possible here: {outcome.impossible}", *[""] * (len(HEAD) - 2))
    if outcome.crash is not None:
        return (name, f"crashed: {outcome.crash}", *[""] * (len(HEAD) - 2))
    verdict = outcome.verdict
    assert verdict is not None
    score = "none" if verdict.score is None else f"{verdict.score:.1f}"
    return (
        name,
        _word(outcome.detected),
        "" if outcome.seconds is None else f"{outcome.seconds:.1f}",
        _word(verdict.named),
        f"{verdict.rank or 'not there'}",
        _word(verdict.advised),
        ", ".join(_alarms(outcome)) or "none",
        score + ("" if verdict.fell else f" (not below {outcome.scenario.score_below:g})"),
        f"no: {', '.join(sorted(outcome.lingering))}" if outcome.lingering else "yes",
    )


def _alarms(outcome: Outcome) -> Iterable[str]:
    """Name the false alarms, and whether there was any fault yet."""
    return (f"{a} (before)" if a in outcome.early else a for a in outcome.alarms)


def _word(value: bool | None) -> str:
    """Write what is true, false or not asked."""
    return "-" if value is None else "yes" if value else "NO"


def details(outcome: Outcome) -> list[str]:
    """
    Tell what the table has no room for.

    Args:
        outcome: Of a scenario.

    Returns:
        Lines.

    """
    verdict = outcome.verdict
    if verdict is None:
        return []
    values = ", ".join(f"{rule} {value}" for rule, value in verdict.values.items())
    missing = sorted(outcome.scenario.expect - verdict.values.keys())
    advice = ", ".join(verdict.advice) or "none"
    return [
        f"    fired: {values or 'nothing'}" + (f"; missing: {missing}" if missing else ""),
        f"    believed: {verdict.believed}; accused: {verdict.accused}; advice: {advice}",
    ]


def text(outcomes: Sequence[Outcome]) -> str:
    """
    Write the table for a terminal.

    Args:
        outcomes: Of all scenarios.

    Returns:
        Table and totals.

    """
    rows = [HEAD, *map(row, outcomes)]
    widths = [max(len(r[i]) for r in rows if i != 1 or r[-1]) for i in range(len(HEAD))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return "\n".join([*lines, "", *map(str, totals(outcomes))])


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Write a table as Markdown.

    Args:
        head: Its head.
        rows: Its lines.

    Returns:
        The table.

    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def markdown(outcomes: Sequence[Outcome]) -> str:
    """
    Write the document.

    Args:
        outcomes: Of all scenarios.

    Returns:
        The document.

    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return f"""# How often the diagnosis is right

Made by `./dev faults` on {today}: Linux {platform.release()}, {platform.machine()},
{os.cpu_count()} CPUs, {memory:.0f} GiB. Each fault is really induced on this host; only where
a name is marked with * a fixture stood in for it. A sweep before the fault has to be silent, at
most two sweeps have to find it (three what shows only from sweep to sweep), and after its end
all has to clear. Sweeps observe {WINDOW:g} s, and two
of them must agree before anything is raised, unless it is far beyond critical.

Read the table with this in mind:

{chr(10).join(f"- {caveat}" for caveat in _caveats(outcomes))}

{grid(HEAD, map(row, outcomes))}

{chr(10).join(f"- {total}" for total in totals(outcomes))}

## What was done

{grid(("scenario", "fault", "cause", "what fired"), map(_done, outcomes))}
"""


def _caveats(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Tell what the table does not prove."""
    scenarios = [o.scenario for o in outcomes]
    unasked = {
        "culprit": [s.name for s in scenarios if s.culprit is None],
        "advice": [s.name for s in scenarios if s.advice is None and s.step is None],
    }
    for what, names in unasked.items():
        if names:
            yield f"No {what} is asked for by {len(names)} of them: {', '.join(names)}."
    yield "Where nothing is recommended, the verdict has to say what to look at next."
    for scenario in scenarios:
        if scenario.window != WINDOW:
            yield f"{scenario.name}: sweeps observe {scenario.window:g} s while the fault is there."
        if scenario.note:
            yield f"{scenario.name}: {scenario.note}."
    if not unified():
        yield "Control groups are of version 1 on this host: those of version 2 were not tried."


def _done(outcome: Outcome) -> tuple[str, ...]:
    """Tell what was done and what it showed."""
    scenario, verdict = outcome.scenario, outcome.verdict
    fired = ", ".join(f"{r} {v}" for r, v in verdict.values.items()) if verdict else ""
    return scenario.name, scenario.title, scenario.cause, fired or "nothing"
