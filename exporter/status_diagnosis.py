"""The diagnosis on the status page: causes ranked, each with what speaks for and against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exporter.status_format import items, mapping, quantity, text

_MOST = 5


def diagnosis(hypotheses: Sequence[Any]) -> str:
    """
    Render the differential diagnosis.

    Args:
        hypotheses: As in a report, most likely first; any key may be missing or odd.

    Returns:
        HTML of a list; empty when there is nothing to explain.

    """
    shown = "".join(_one(mapping(h)) for h in hypotheses[:_MOST])
    return f"<ol>{shown}</ol>" if shown else ""


def _one(one: Mapping[str, Any]) -> str:
    """Render one hypothesis; how it was reached can be unfolded."""
    rules = "".join(
        f"{word} {', '.join(f'<code>{text(r)}</code>' for r in named)} "
        for word, named in (("seen by", items(one.get("seen"))),
                            ("explains", items(one.get("explains"))))
        if named
    )  # fmt: skip
    grounds = "".join(_ground(mapping(g)) for g in items(one.get("grounds")))
    known = one.get("known") is not False
    sure = f" confidence {quantity(one.get('confidence'), 'ratio')}" if known else ""
    return (
        f'<li><b>{text(one.get("title"))}</b><span class="muted">{sure}</span>'
        f'<p class="muted">{rules}</p>'
        f"<details><summary>how it was reached</summary><ul>{grounds}</ul></details></li>"
    )


def _ground(ground: Mapping[str, Any]) -> str:
    """Render one clue."""
    answer = ground.get("holds")
    word = ("yes" if answer else "no") if isinstance(answer, bool) else "unknown"
    return f"<li>{text(ground.get('text'))}: {word} ({text(ground.get('bearing'))})</li>"
