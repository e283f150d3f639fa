"""What may be behind the anomalies, and why that is believed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from analysis.evidence import Culprit


class Bearing(StrEnum):
    """What a clue says about a cause: it is seen itself, must hold, speaks for or against it."""

    SEEN = "seen"
    MUST = "must"
    FOR = "for"
    AGAINST = "against"


@dataclass(frozen=True, slots=True)
class Ground:
    """
    One reason for the confidence in a hypothesis.

    Attributes:
        bearing: What the clue says about the cause.
        text: What the clue is.
        holds: Whether it does; None when nothing can tell.

    """

    bearing: Bearing
    text: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """
    A cause that may stand behind the active anomalies.

    Attributes:
        id: The pattern's name; the cause group where no pattern knows the finding.
        resource: The resource it lies in.
        title: What is wrong, as a clause.
        confidence: Share of the clues that could be looked at that speak for it [ratio].
        grounds: All clues, so that the confidence can be followed.
        seen: Active rules that show the cause itself, worst first.
        explains: Active rules that are its consequences.
        culprits: Who does it, from the worst finding that names anybody.
        known: Whether a pattern tells of it; otherwise the finding stands for itself.

    """

    id: str
    resource: str
    title: str
    confidence: float
    grounds: tuple[Ground, ...]
    seen: tuple[str, ...]
    explains: tuple[str, ...] = ()
    culprits: tuple[Culprit, ...] = ()
    known: bool = True
