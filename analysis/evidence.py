"""What a finding rests on and whom it points at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    One number behind a finding.

    Attributes:
        text: What it is, in a few words.
        value: The number.
        unit: Its unit.
        source: File and field it comes from.

    """

    text: str
    value: float | None
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Culprit:
    """
    Who or what a finding points at.

    Attributes:
        kind: process, cgroup, device, interface, mount, listener, remote, user; victim is a
            process that was killed.
        name: Its name, safe to show.
        id: What tells it from others of that name (a pid, an address); None when the name does.
        value: Its part.
        unit: Unit of `value`.
        share: Its part of the whole [ratio]; None when unknown.
        detail: More to recognize it by (unit, container, mount point).

    """

    kind: str
    name: str
    id: str | None = None
    value: float | None = None
    unit: str = ""
    share: float | None = None
    detail: str | None = None
