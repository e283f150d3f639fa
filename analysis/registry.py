"""How rules and use functions are declared and found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType

import analysis.causes
import analysis.rules
import analysis.use
from analysis.model import RESOURCES, Advise, Evaluate, Facts, Kind, Rule, Scale
from analysis.pattern import Pattern
from analysis.use_model import ResourceUse

UseFunction = Callable[[Facts], "ResourceUse | None"]

_rules: dict[str, Rule] = {}
_uses: dict[str, UseFunction] = {}


def rule(
    *,
    resource: str,
    cause: str,
    kind: Kind,
    unit: str,
    warning: float,
    critical: float | None,
    source: str,
    explanation: str,
    gate: str = "none",
    next_steps: tuple[str, ...] = (),
    scale: Scale = Scale.LINEAR,
    advise: Advise | None = None,
    at_once: bool = False,
    probe: str | None = None,
    window: float = 0.0,
) -> Callable[[Evaluate], Evaluate]:
    """
    Declare a rule; the function's name becomes its id.

    Args:
        resource: The resource it charges, one of RESOURCES.
        cause: The cause group: findings of one group are charged once.
        kind: What the signal measures.
        unit: Unit of the signal.
        warning: From here it is a warning.
        critical: From here it is critical; None when it can only warn.
        source: Where the thresholds come from.
        explanation: What it means, for a tired reader.
        gate: The least activity below which it says nothing, in words.
        next_steps: What to look at next.
        scale: LOG for rates and latencies, LINEAR for shares.
        advise: Gives the advice once it is raised.
        at_once: One sweep suffices: the signal is an event that does not repeat.
        probe: The eBPF probe it rests on; sweeps without that probe say nothing of it.
        window: The shortest window that it rests on; shorter ones say nothing of it [s].

    Returns:
        A decorator that leaves the function as it is.

    Raises:
        ValueError: When the id is taken, the resource unknown or the thresholds reversed.

    """

    def declare(function: Evaluate) -> Evaluate:
        name = function.__name__
        if name in _rules and _rules[name].evaluate.__module__ != function.__module__:
            raise ValueError(f"two rules are called {name}")
        if resource not in RESOURCES or (critical is not None and critical <= warning):
            raise ValueError(f"rule {name}: unknown resource or thresholds reversed")
        _rules[name] = Rule(
            name, resource, cause, kind, unit, warning, critical, scale, source, gate,
            explanation, next_steps, function, advise, at_once, probe, window,
        )  # fmt: skip
        return function

    return declare


def use(resource: str) -> Callable[[UseFunction], UseFunction]:
    """
    Declare the function that tells a resource's use.

    Args:
        resource: One of RESOURCES.

    Returns:
        A decorator that leaves the function as it is.

    """

    def declare(function: UseFunction) -> UseFunction:
        _uses[resource] = function
        return function

    return declare


def discover_rules() -> dict[str, Rule]:
    """
    Find every rule by walking `analysis.rules`; there is no list to edit.

    Returns:
        dict id -> rule, by id.

    """
    list(_modules(analysis.rules))
    return dict(sorted(_rules.items()))


def discover_uses() -> dict[str, UseFunction]:
    """
    Find every use function by walking `analysis.use`.

    Returns:
        dict resource -> function, in the order of RESOURCES.

    """
    list(_modules(analysis.use))
    return {r: _uses[r] for r in RESOURCES if r in _uses}


def discover_patterns() -> tuple[Pattern, ...]:
    """
    Find every cause pattern by walking `analysis.causes`.

    Returns:
        The patterns, by id.

    Raises:
        ValueError: When two have one id.

    """
    found: dict[str, Pattern] = {}
    for module in _modules(analysis.causes):
        for pattern in module.PATTERNS:
            if pattern.id in found:
                raise ValueError(f"two cause patterns are called {pattern.id}")
            found[pattern.id] = pattern
    return tuple(found[name] for name in sorted(found))


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    """Import each module of a package."""
    for module in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{package.__name__}.{module.name}")
