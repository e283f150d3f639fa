"""
Break the rules in every small way and see whether their tests notice.

`python -m tests.grafana.mutate_rules` changes one threshold, operator, duration, matcher, function,
label or text at a time and runs the cases of that rule with promtool. It lists what nobody noticed
and fails when that is more than 15 %.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.grafana.alert_cases import CASES
from tests.grafana.promtool import RULES, run_cases

LEAST_KILLED = 0.85
Rule = dict[str, Any]
Change = tuple[str, str]

_DURATION = re.compile(r"(?<=\[)(\d+)([mh])(?=\])")
_NUMBER = re.compile(r"(?<![\w.\[])\d+(?:\.\d+)?(?![\w.\]])")
# What stands for the left side: one at a time.
_SWAPS: tuple[tuple[str, str], ...] = (
    (r" < ", " <= "), (r" < ", " > "), (r" > ", " >= "), (r" > ", " < "), (r"\n *>\n", "\n>=\n"),
    (r"\n *>\n", "\n<\n"), (r"== ", "!= "), (r"\band\b", "or"), (r"\band\b", "unless"),
    (r"\bor\b", "and"), (r"\bunless\b", "and"), (r" \+ ", " - "), (r"\n *\/\n", "\n*\n"),
    (r" \* ", " / "), (r"last_over_time", "max_over_time"), (r"last_over_time", "min_over_time"),
    (r"last_over_time\(([^()]*)\[5m\]\)", r"\1"), (r"max_over_time", "min_over_time"),
    (r"avg_over_time", "max_over_time"), (r"avg_over_time", "min_over_time"),
    (r"increase", "changes"), (r"changes", "resets"), (r"min without", "max without"),
    (r"max without", "min without"), (r"sum without", "max without"),
    (r"(without) \((\w+), (\w+)\)", r"\1 (\2)"), (r"(without) \((\w+), (\w+)\)", r"\1 (\3)"),
    (r"without \(\w+\)", "without ()"), (r"on \(job, instance\)", ""),
    (r"on \(job, instance\)", "on (job)"), (r'"(\w+)\|', '"'), (r'\|\w+(?=[|"])', ""),
    (r'(?<==~)"[^"]*"', '".*"'), (r'(?<==)"[^"]*"', '"other"'), (r'\w+!?=~?"[^"]*"(, )?', ""),
    (r'!=""', '=""'),
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """
    One rule with one change.

    Attributes:
        name: The rule's.
        change: What was changed.
        groups: All rules, with that change.

    """

    name: str
    change: str
    groups: list[dict[str, Any]]


def expressions(text: str) -> Iterator[Change]:
    """
    Change an expression.

    Args:
        text: PromQL.

    Yields:
        What was changed, and the changed expression.

    """
    for pattern, new in _SWAPS:
        for found in re.finditer(pattern, text):
            changed = found.expand(new) if "\\" in new else new
            yield _replaced(text, found, changed)
    for found in _DURATION.finditer(text):
        seconds = int(found[1]) * (60 if found[2] == "m" else 3600)
        yield _replaced(text, found, f"{seconds * 3}s")
        yield _replaced(text, found, f"{seconds // 3}s")
    for found in _NUMBER.finditer(text):
        for factor in (0.5, 1.5):
            number = float(found[0]) * factor or factor - 1
            yield _replaced(text, found, f"{number:g}")


def _replaced(text: str, found: re.Match[str], new: str) -> Change:
    changed = text[: found.start()] + new + text[found.end() :]
    return f"{found[0].strip()!r} at {found.start()} -> {new.strip()!r}", changed


def durations(text: str) -> Iterator[Change]:
    """
    Change a `for` or a `keep_firing_for`.

    Args:
        text: Such as "5m".

    Yields:
        What was changed, and the changed duration.

    """
    for new in ("0m", f"{int(text[:-1]) * 2}m"):
        yield f"{text} -> {new}", new


def texts(text: str) -> Iterator[Change]:
    """
    Change an annotation.

    Args:
        text: With its templates.

    Yields:
        What was changed, and the changed text.

    """
    yield "one letter more", f"{text}x"
    for found in re.finditer(r"topk\(3|\[\dm\]|sort_desc|sum\(", text):
        new = {"[": "[30m]", "t": "topk(2", "s": "sort" if found[0] != "sum(" else "count("}
        yield _replaced(text, found, new[found[0][0]])


def mutants(groups: list[dict[str, Any]]) -> Iterator[Mutant]:
    """
    Change every part of every rule, one at a time.

    Args:
        groups: All rules.

    Yields:
        The changed ones.

    """
    for group, whole in enumerate(groups):
        for place, rule in enumerate(whole["rules"]):
            for key, changed in _changes(rule):
                mutated = copy.deepcopy(groups)
                target: Any = mutated[group]["rules"][place]
                *outer, last = key[0]
                for part in outer:
                    target = target[part]
                target[last] = changed
                yield Mutant(rule.get("alert") or rule["record"], key[1], mutated)


def _changes(rule: Rule) -> Iterator[tuple[tuple[tuple[str, ...], str], str]]:
    """Yield where, what and the new text."""
    parts: list[tuple[tuple[str, ...], Callable[[str], Iterator[Change]]]] = [
        (("expr",), expressions)
    ]
    parts += [((k,), durations) for k in ("for", "keep_firing_for") if k in rule]
    parts += [(("annotations", k), texts) for k in rule.get("annotations", {})]
    if "labels" in rule:
        parts.append((("labels", "severity"), lambda _: iter([("other", "other")])))
    for keys, change in parts:
        value: Any = rule
        for key in keys:
            value = value[key]
        for what, new in change(value):
            yield (keys, f"{'.'.join(keys)}: {what}"), new


def killed(mutant: Mutant) -> bool:
    """
    Tell whether the rule's own cases notice a change.

    Args:
        mutant: The change.

    Returns:
        Whether promtool complains, be it that the rules cannot be read any more.

    """
    with tempfile.TemporaryDirectory(prefix="sysdx-mutant-") as name:
        rules = Path(name, "rules.yml")
        rules.write_text(yaml.safe_dump({"groups": mutant.groups}))
        return bool(run_cases(Path(name), [c for c in CASES if c.rule == mutant.name], rules))


def main() -> int:
    """Try all mutants, and tell."""
    parser = argparse.ArgumentParser(description="Mutation test of the alert rules.")
    parser.add_argument("--rule", help="only this alert or recording rule")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at the same time")
    options = parser.parse_args()
    started = time.monotonic()
    groups = yaml.safe_load(RULES.read_text())["groups"]
    # A case that fails anyhow would notice everything.
    for name in sorted({case.rule for case in CASES}):
        if killed(Mutant(name, "nothing", groups)):
            _say(f"the cases of {name} fail without any change")
            return 1
    found = [m for m in mutants(groups) if options.rule in (None, m.name)]
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(killed, found))
    survivors = [m for m, dead in zip(found, verdicts, strict=True) if not dead]
    for survivor in survivors:
        _say(f"survives: {survivor.name}: {survivor.change}")
    share = 1 - len(survivors) / len(found)
    seconds = time.monotonic() - started
    _say(
        f"{len(found)} mutants, {len(found) - len(survivors)} killed ({share:.1%}), {seconds:.0f} s"
    )
    return 0 if share >= LEAST_KILLED else 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
