"""An ordinary host has to be left alone: sweeps while nothing is wrong."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.faults import quiet
from tests.faults.lab import Eye, Lab
from tests.faults.scenario import WINDOW
from tests.faults.table import grid
from tests.faults.tools.processes import looped
from tests.faults.trial import alone

HEAD = ("while", "sweeps", "lowest score", "anomalies")
_TITLE = "## Silence while nothing is wrong"
_IDLE_SCORE = 97.0
_SWEEPS = 3
_COMPILE = "echo 'int main(void){return 0;}' | gcc -O2 -x c - -o /dev/null"
# What cron does at full hours: a handful of short programs at once, again and again.
_CRON = (
    "for i in 1 2 3 4 5 6; do (find /etc -type f | xargs cat | md5sum >/dev/null) & done; "
    "wait; sleep 2"
)
WORK = {
    "apt-get update": ("apt-get", "apt-get update -qq >/dev/null 2>&1; sleep 1"),
    "compiling one program after another": ("gcc", _COMPILE),
    "tar of /usr": ("tar", "tar -cf - /usr 2>/dev/null | cat >/dev/null"),
    "a burst as from cron": ("md5sum", _CRON),
}


@dataclass(frozen=True, slots=True)
class Spell:
    """
    Sweeps during one kind of ordinary work.

    Attributes:
        name: The work.
        scores: Of each sweep.
        anomalies: Rule to the number of sweeps in which it fired.
        least: What no score may fall below; None where that is not asked.

    """

    name: str
    scores: tuple[float, ...]
    anomalies: dict[str, int]
    least: float | None

    @property
    def good(self) -> bool:
        """Whether it was silent."""
        return not self.anomalies and (self.least is None or min(self.scores) >= self.least)


def run(sweeps: int, tell: Callable[[Spell], object], eye: Callable[[], Eye] = Lab) -> list[Spell]:
    """
    Look at the host while it is idle, and while it does ordinary work.

    Args:
        sweeps: How often while it is idle.
        tell: Called with each spell as it ends.
        eye: Makes what looks at the host, with a fresh state.

    Returns:
        All spells.

    """
    with alone():
        quiet.wait()
        spells = [_spell("idle", sweeps, eye(), _IDLE_SCORE)]
    tell(spells[0])
    for name, (tool, command) in WORK.items():
        if shutil.which(tool) is None:
            continue
        with alone(), looped(command):
            spells.append(_spell(name, _SWEEPS, eye(), None))
        tell(spells[-1])
    return spells


def _spell(name: str, sweeps: int, eye: Eye, least: float | None) -> Spell:
    """Look some times in a row."""
    seen = [eye.look(WINDOW) for _ in range(sweeps)]
    fired = Counter(a.rule for s in seen for a in s.anomalies)
    scores = tuple(s.health_score for s in seen if s.health_score is not None)
    return Spell(name, scores, dict(fired), least)


def row(spell: Spell) -> tuple[str, ...]:
    """
    Write a spell as a line of the table.

    Args:
        spell: The spell.

    Returns:
        One cell for each word of the head.

    """
    fired = ", ".join(f"{rule} in {n}" for rule, n in spell.anomalies.items())
    lowest = f"{min(spell.scores):.1f}" if spell.scores else "none"
    return spell.name, str(len(spell.scores)), lowest, fired or "none"


def text(spells: Sequence[Spell]) -> str:
    """
    Write the table.

    Args:
        spells: All spells.

    Returns:
        The table as Markdown.

    """
    return grid(HEAD, map(row, spells))


def appended(document: str, spells: Sequence[Spell]) -> str:
    """
    Write the table at the end of a document, in place of an earlier one.

    Args:
        document: The document.
        spells: All spells.

    Returns:
        The document with the table.

    """
    kept = document.partition(_TITLE)[0].rstrip()
    today = time.strftime("%Y-%m-%d", time.gmtime())
    made = f"Made by `./dev faults --silence` on {today}; sweeps observe {WINDOW:g} s."
    return f"{kept}\n\n{_TITLE}\n\n{made}\n\n{text(spells)}\n".lstrip()


def carried(document: str, earlier: str) -> str:
    """
    Take the table over from an earlier document.

    Args:
        document: The document.
        earlier: What it takes the place of.

    Returns:
        The document, with the table where there was one.

    """
    _, title, table = earlier.partition(_TITLE)
    return f"{document.rstrip()}\n\n{title}{table}" if title else document
