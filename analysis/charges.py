"""Which findings are charged: of those that tell of one trouble, only the dearest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from analysis.model import Finding
from analysis.score import order

Links = Mapping[str, frozenset[str]]


def charged(found: Iterable[Finding], links: Links) -> tuple[Finding, ...]:
    """
    Choose the dearest findings of which no two tell of one trouble.

    Two findings do so when they share their cause group, or when one is a known
    consequence of the other. The dearest choice among all is taken, not that of the
    cause: so whatever gets worse, or is found besides, never lowers the sum.

    Args:
        found: The findings, in any order.
        links: Rule to the rules that fire as its consequences.

    Returns:
        Those that are charged, dearest first.

    """
    nodes = sorted((f for f in found if f.points > 0), key=lambda f: (-f.points, order(f)))
    same = {
        one.rule.id: frozenset(o.rule.id for o in nodes if _akin(one, o, links)) for one in nodes
    }
    chosen = _dearest(tuple(nodes), same)
    return tuple(f for f in nodes if f in chosen)


def _akin(one: Finding, other: Finding, links: Links) -> bool:
    """Tell whether two findings tell of one trouble; each does with itself."""
    a, b = one.rule, other.rule
    linked = b.id in links.get(a.id, ()) or a.id in links.get(b.id, ())
    return linked or a.cause == b.cause


def _dearest(nodes: tuple[Finding, ...], same: Links) -> tuple[Finding, ...]:
    """
    Solve the maximum weight independent set, by branching where it is not plain.

    Cause groups are cliques and consequences few, so what is left to branch on
    is a handful of findings even when every rule fires.
    """
    nodes = _undominated(nodes, same)
    if not nodes:
        return ()
    ids = {f.rule.id for f in nodes}
    most = max(nodes, key=lambda f: len(same[f.rule.id] & ids))
    if same[most.rule.id] & ids == {most.rule.id}:
        return nodes
    rest = tuple(f for f in nodes if f.rule.id not in same[most.rule.id])
    taken = (most, *_dearest(rest, same))
    left = _dearest(tuple(f for f in nodes if f is not most), same)
    return taken if _sum(taken) >= _sum(left) else left


def _undominated(nodes: tuple[Finding, ...], same: Links) -> tuple[Finding, ...]:
    """Leave out findings for which another always does: as dear, and in fewer ones' way."""
    ids = frozenset(f.rule.id for f in nodes)
    kept: list[Finding] = []
    # Dearest first, so one that is left out was beaten by one that is kept.
    for node in nodes:
        near = same[node.rule.id] & ids
        if not any(k.rule.id in near and same[k.rule.id] & ids <= near for k in kept):
            kept.append(node)
    return tuple(kept)


def _sum(findings: Iterable[Finding]) -> float:
    """Add up what findings cost, as it is shown."""
    return round(sum(round(f.points, 1) for f in findings), 1)
