"""How a cause is recognized: declared patterns of clues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.model import Facts


@dataclass(frozen=True, slots=True)
class Clue:
    """
    Something that can be looked at.

    Attributes:
        text: What it is when it holds, in a few words.
        rules: It holds when any of these is active.
        fact: Tells it from the facts; None when they cannot say.

    """

    text: str
    rules: tuple[str, ...] = ()
    fact: Callable[[Facts], bool | None] | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    A cause, and how it is recognized.

    Attributes:
        id: Its name.
        resource: The resource it lies in.
        title: What is wrong, as a clause for the middle of a sentence.
        seen: The cause itself, as rules show it.
        must: What has to hold as well.
        speaks_for: What makes it more likely.
        speaks_against: What makes another cause more likely.
        explains: Rules that fire as its consequences.

    """

    id: str
    resource: str
    title: str
    seen: Clue
    must: tuple[Clue, ...] = ()
    speaks_for: tuple[Clue, ...] = ()
    speaks_against: tuple[Clue, ...] = ()
    explains: tuple[str, ...] = ()
