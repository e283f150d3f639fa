"""What an expression yields: its unit, and the labels that its series have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import promql_parser as promql

from tests.grafana.scrape import Vocabulary

Expr = Any
SECONDS, BYTES, RATIO, COUNT, PER_SECOND = "seconds", "bytes", "ratio", "count", "per second"
PER_MINUTE = "per minute"
MOMENT, MOMENT_MS, PLAIN, FLAG, NUMBER = "moment", "moment [ms]", "plain", "flag", "number"
# What Grafana may call each of them.
UNITS = {
    SECONDS: {"s"},
    BYTES: {"bytes"},
    RATIO: {"percentunit"},
    COUNT: {"none", "short"},
    PER_SECOND: {"cps"},
    PER_MINUTE: {"cpm"},
    MOMENT_MS: {"dateTimeFromNow", "dateTimeAsIso"},
    PLAIN: {"none"},
    FLAG: {"none", "percentunit"},
    NUMBER: {"none"},
}
# A recording rule has its unit behind the colon.
_RECORDED = {"seconds": SECONDS, "ratio": RATIO}
_SAME = {
    "sum", "avg", "max", "min", "quantile", "topk", "bottomk", "sort", "sort_desc", "increase",
    "delta", "last_over_time", "avg_over_time", "max_over_time", "min_over_time", "clamp_min",
    "clamp_max", "abs", "without", "histogram_quantile",
}  # fmt: skip
_COUNTS = {"count", "count_over_time", "changes", "resets"}
_COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}


def parse(text: str) -> Expr:
    return promql.parse(text)


def walk(node: Expr, above: tuple[Expr, ...] = ()) -> Iterator[tuple[Expr, tuple[Expr, ...]]]:
    """Give every part of an expression with what it stands in."""
    yield node, above
    for child in children(node):
        yield from walk(child, (*above, node))


def children(node: Expr) -> list[Expr]:
    if isinstance(node, promql.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, promql.Call):
        return list(node.args)
    if isinstance(node, promql.AggregateExpr):
        return [node.expr, *([node.param] if isinstance(node.param, promql.Expr) else [])]
    if isinstance(node, promql.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        return [node.expr]
    return []


def selectors(node: Expr) -> list[tuple[Expr, tuple[Expr, ...]]]:
    return [(n, up) for n, up in walk(node) if isinstance(n, promql.VectorSelector)]


def operator(token: Any) -> str:
    return str(token).strip().lower()


def unit(node: Expr) -> str:
    """Work out the unit of an expression's values."""
    if isinstance(node, promql.NumberLiteral):
        return NUMBER
    if isinstance(node, promql.VectorSelector):
        return _named(node.name or "")
    if isinstance(node, promql.AggregateExpr):
        return COUNT if operator(node.op) in _COUNTS else unit(node.expr)
    if isinstance(node, promql.Call):
        return _called(node)
    if isinstance(node, promql.BinaryExpr):
        return _joined(node)
    return unit(children(node)[0])


def _named(name: str) -> str:
    if ":" in name:
        return _RECORDED.get(name.rpartition(":")[2], PLAIN)
    if name == "up" or name.endswith(("_success", "_supported", "_available", "_successful")):
        return FLAG
    base = re.sub(r"_(bucket|sum|total)$", "", name)
    if base.endswith("_timestamp_seconds") or base == "process_start_time_seconds":
        return MOMENT
    for suffix, found in (("_seconds", SECONDS), ("_bytes", BYTES), ("_ratio", RATIO)):
        if base.endswith(suffix):
            return COUNT if name.endswith("_bucket") else found
    return COUNT if base != name or name.endswith("_count") else PLAIN


def _called(node: Expr) -> str:
    name = node.func.name
    if name == "time":
        return MOMENT
    if name == "timestamp":
        return MOMENT
    if name in _COUNTS:
        return COUNT
    if name == "histogram_quantile":
        (bucket, _), *_ = selectors(node.args[1])
        return _named((bucket.name or "").removesuffix("_bucket"))
    if name in ("rate", "irate"):
        return {SECONDS: RATIO, COUNT: PER_SECOND}.get(unit(node.args[0]), f"{name} of?")
    assert name in _SAME, f"unknown function {name}"
    return unit(node.args[0])


def _joined(node: Expr) -> str:
    what, left, right = operator(node.op), unit(node.lhs), unit(node.rhs)
    if what in _COMPARISONS:
        is_flag = node.modifier is not None and node.modifier.return_bool
        return COUNT if is_flag else left
    if what in ("and", "or", "unless"):
        return left
    if what == "*" and right == PER_SECOND and getattr(node.lhs, "val", None) == 60:
        return PER_MINUTE
    rule: Callable[[str, str], str] = {"/": _divided, "*": _multiplied}.get(what, _added)
    return rule(left, right)


def _divided(left: str, right: str) -> str:
    if right == NUMBER:
        return left
    if left == right:
        return RATIO
    if right == COUNT:
        return left
    return PER_SECOND if (left, right) == (COUNT, SECONDS) else f"{left} / {right}"


def _multiplied(left: str, right: str) -> str:
    pair = {left, right}
    if MOMENT in pair and len(pair) > 1:
        return MOMENT_MS  # Grafana wants milliseconds
    if NUMBER in pair or FLAG in pair:
        (pair - {NUMBER, FLAG}) or pair.add(PLAIN)
        return next(iter(pair - {NUMBER, FLAG}))
    return left if left == right else f"{left} * {right}"


def _added(left: str, right: str) -> str:
    if left == right == MOMENT:
        return SECONDS
    if NUMBER in (left, right):
        return right if left == NUMBER else left
    return left if left == right else f"{left} +- {right}"


def labels(node: Expr, known: Vocabulary) -> set[str]:
    """Work out which labels the series of an expression may have."""
    if isinstance(node, promql.VectorSelector):
        return set(known[node.name].labels) if node.name in known else set()
    if isinstance(node, promql.AggregateExpr):
        return _aggregated(node, known)
    if isinstance(node, promql.Call) and node.func.name == "histogram_quantile":
        return labels(node.args[1], known) - {"le"}
    if isinstance(node, promql.BinaryExpr):
        return _matched(node, known)
    inner = children(node)
    return labels(inner[-1], known) if inner else set()


def _aggregated(node: Expr, known: Vocabulary) -> set[str]:
    if operator(node.op) in ("topk", "bottomk"):
        return labels(node.expr, known)
    if node.modifier is None:
        return set()
    named = set(node.modifier.labels)
    if node.modifier.type == promql.AggModifierType.By:
        return named
    return labels(node.expr, known) - named


def _is_scalar(node: Expr) -> bool:
    called = isinstance(node, promql.Call) and node.func.name in ("time", "scalar")
    return called or isinstance(node, promql.NumberLiteral)


def _matched(node: Expr, known: Vocabulary) -> set[str]:
    sides = [s for s in (node.lhs, node.rhs) if not _is_scalar(s)]
    if len(sides) == 1:
        return labels(sides[0], known)
    if operator(node.op) == "or":
        return labels(node.lhs, known) | labels(node.rhs, known)
    if operator(node.op) in ("and", "unless"):
        return labels(node.lhs, known)
    return _joined_labels(node, known)


def _joined_labels(node: Expr, known: Vocabulary) -> set[str]:
    how = node.modifier
    if how is not None and how.card == promql.VectorMatchCardinality.OneToMany:
        return labels(node.rhs, known)
    one_to_one = how is not None and how.card == promql.VectorMatchCardinality.OneToOne
    if one_to_one and how.matching and how.matching.type == promql.LabelModifierType.Include:
        return set(how.matching.labels)
    return labels(node.lhs, known)
