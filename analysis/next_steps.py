"""What to look at next, with the culprit's own name where a word stands for it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

from analysis.evidence import Culprit

_UNIT = re.compile(r"[^/]+\.(?:service|scope|slice)$")


def _pid(culprit: Culprit) -> str | None:
    """Give the first id of a process, of which several may be listed."""
    first = (culprit.id or "").split(",")[0]
    return first if culprit.kind == "process" and first.isdigit() else None


def _unit(culprit: Culprit) -> str | None:
    """Give the unit of systemd that a group, or a process's group, belongs to."""
    path = {"cgroup": culprit.id, "process": culprit.detail}.get(culprit.kind)
    found = _UNIT.search(path or "")
    return found[0] if found else None


def _named(kind: str) -> Callable[[Culprit], str | None]:
    """Take the name of culprits of one kind."""
    return lambda culprit: culprit.name if culprit.kind == kind else None


_PLACES: dict[str, Callable[[Culprit], str | None]] = {
    "PID": _pid,
    "UNIT": _unit,
    "INTERFACE": _named("interface"),
    "MOUNT": _named("mount"),
    "SERVER": _named("remote"),
    "DEVICE": _named("device"),
}
_PLACE = re.compile(rf"\b(?:{'|'.join(_PLACES)})\b")


def with_culprits(steps: Sequence[str], culprits: Sequence[Culprit]) -> tuple[str, ...]:
    """
    Put the culprits' names into what to look at next, so that a line can be pasted as it is.

    Args:
        steps: What to look at, with PID, UNIT, INTERFACE, MOUNT, SERVER or DEVICE where
            the culprit's own goes.
        culprits: Most guilty first.

    Returns:
        The steps. A word stays where no culprit has what it stands for; names are quoted
        for a shell, since whoever mounts or names something chooses them.

    """

    def own(match: re.Match[str]) -> str:
        found = (_PLACES[match[0]](culprit) for culprit in culprits)
        name = next((name for name in found if name), None)
        return match[0] if name is None else shlex.quote(name)

    return tuple(_PLACE.sub(own, step) for step in steps)
