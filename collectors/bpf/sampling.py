"""Fair samples of events, and rankings over all of them."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Reservoir:
    """
    Keep a fair sample of a stream: each event has the same chance, however many come.

    Args:
        size: Most events kept.
        seed: Of the dice.

    Source:
        Algorithm R, Vitter 1985, "Random Sampling with a Reservoir".

    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.seen = 0
        self._size = size
        self._dice = random.Random(seed)  # noqa: S311  no secret
        self._kept: list[tuple[int, Mapping[str, Any]]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """
        Take an event.

        Args:
            record: The event.

        """
        self.seen += 1
        if len(self._kept) < self._size:
            self._kept.append((self.seen, record))
            return
        place = self._dice.randrange(self.seen)
        if place < self._size:
            self._kept[place] = (self.seen, record)

    def records(self) -> tuple[Mapping[str, Any], ...]:
        """
        Return what was kept.

        Returns:
            The events, in the order in which they came.

        """
        return tuple(record for _, record in sorted(self._kept, key=lambda pair: pair[0]))


@dataclass(slots=True)
class Group:
    """
    What is added up over the events of one kind.

    Attributes:
        count: Events.
        total: Sum of their values.
        most: The largest value.

    """

    count: int = 0
    total: float = 0.0
    most: float = 0.0


@dataclass(slots=True)
class Ranking:
    """
    Add up events by a key over the whole stream, in bounded memory.

    Attributes:
        limit: Most keys; what comes beyond them is counted as "other".
        groups: Key to what was added up.
        other: Events beyond the limit.

    """

    limit: int = 4096
    groups: dict[Hashable, Group] = field(default_factory=dict)
    other: Group = field(default_factory=Group)

    def add(self, key: Hashable, value: float = 0.0, count: int = 1) -> None:
        """
        Take an event.

        Args:
            key: What it is grouped by.
            value: What is added up.
            count: How many events it stands for.

        """
        group = self.groups.get(key)
        if group is None and len(self.groups) < self.limit:
            group = self.groups[key] = Group()
        group = group or self.other
        group.count += count
        group.total += value
        group.most = max(group.most, value)

    def top(self, most: int, *names: str, value: str | None = None) -> tuple[dict[str, Any], ...]:
        """
        Rank the groups.

        Args:
            most: How many.
            names: What the parts of a key are called.
            value: What the sum of the values is called; None ranks by count.

        Returns:
            The largest groups, largest first, as dicts of key parts, "count", and the sum and
            the largest value.

        """

        def size(key: Hashable) -> tuple[float, str]:
            group = self.groups[key]
            return -(group.count if value is None else group.total), str(key)

        ranked = sorted(self.groups, key=size)[:most]
        return tuple(_row(key, names, self.groups[key], value) for key in ranked)


def _row(key: Hashable, names: tuple[str, ...], group: Group, value: str | None) -> dict[str, Any]:
    """Write a group as a dict."""
    parts = key if isinstance(key, tuple) else (key,)
    row: dict[str, Any] = dict(zip(names, parts, strict=True))
    row["count"] = group.count
    if value is not None:
        row |= {value: group.total, f"max_{value}": group.most}
    return row
