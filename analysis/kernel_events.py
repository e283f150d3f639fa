"""What rules on the kernel's log share: count new errors, quote them, name what they name."""

from __future__ import annotations

import re

from analysis.model import Culprit, Evidence, Facts, Signal
from collectors.kernel_log import KernelLogSample, LogMessage

_QUOTED = 3
_NAMED = 5
_CUT = 120
_SOURCE = "/dev/kmsg, facility kern"


def events(
    facts: Facts,
    errors: tuple[str, ...],
    what: tuple[str, str],
    *,
    names: str = "device",
    ignore: str = "",
) -> Signal | None:
    """
    Count the messages of some classes that are new in this sweep.

    Args:
        facts: What is known of the host.
        errors: The classes.
        what: The kernel reported ..., for one and for several.
        names: What kind of thing the messages name, as a culprit's kind.
        ignore: Pattern of names whose messages mean nothing; empty for none.

    Returns:
        Their number, with the newest of them as evidence. None when the log
        cannot be read, or when none was found among what was not lost.

    """
    sample = facts.sample(KernelLogSample)
    if sample is None:
        return None
    named = [s for s in sample.subjects if s.error in errors]
    idle = [s for s in named if ignore and re.fullmatch(ignore, s.name)]
    found = sum(sample.increases.get(e, 0) for e in errors) - sum(s.count for s in idle)
    if not found and (sample.lost_increase or not sample.caught_up):
        return None
    quotes = [m for m in sample.messages if m.new and m.error in errors] if found else []
    culprits = tuple(
        Culprit(names, s.name, value=s.count, unit="messages") for s in named if s not in idle
    )[:_NAMED]
    return Signal(
        value=float(found),
        message=f"The kernel reported {found} {what[0 if found == 1 else 1]}{_quote(quotes)}",
        subject=culprits[0].name if culprits else None,
        evidence=(
            Evidence(f"new {what[1]}", found, "messages", _SOURCE),
            *(Evidence(m.text, m.since_boot, "s after boot", _SOURCE) for m in quotes[-_QUOTED:]),
        ),
        culprits=culprits,
    )


def _quote(messages: list[LogMessage]) -> str:
    """Give the newest message, short enough for a sentence."""
    if not messages:
        return ""
    text = messages[-1].text
    return f": {text if len(text) <= _CUT else text[: _CUT - 1] + '…'}"
