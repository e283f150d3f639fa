"""Documents made from the code: `python -m exporter.docs` writes them all."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from analysis.model import RESOURCES, Rule
from analysis.pattern import Pattern
from analysis.registry import discover_patterns, discover_rules
from exporter import config, report_schema
from exporter.metrics_catalog import FAMILIES, Family

_HEAD = """# Metrics

Generated from `exporter/metrics_catalog.py` by `./dev docs`; do not edit.

Every value comes from the latest sweep or is counted from the start of the
program. What is unknown is absent, never 0. The values of a sweep are withdrawn
when it is older than three intervals; what sysdx says of itself stays. Besides
these there are the library's `process_*` metrics. No process id, command line,
path, address or free text is a label, and every family has a limit.
"""

_RULES_HEAD = """# Rules

Generated from `analysis/rules/` by `./dev docs`; do not edit.

A rule reads one number, the signal, and holds it against thresholds; higher is
worse. It becomes an anomaly when it is found in two of the last three sweeps,
unless one sweep suffices or it is far beyond critical. It ends when the signal
has been below half of the warning threshold in two of the last three sweeps, or
below nine tenths of it for ten minutes. Findings of one cause
group are charged to the health score once. Below its gate a rule says nothing;
where the kernel does not tell what it needs, its state is unknown, which is not
the same as fine. Thresholds can be changed in the configuration, under `rules`,
by the rule's name; each is switched off there with `enabled: false`. In what to look
at next, PID, UNIT, INTERFACE, MOUNT, SERVER and DEVICE stand for the culprit's own; a
report has it there.
"""


def metrics() -> str:
    """
    Describe the metrics.

    Returns:
        The page as Markdown.

    """
    of_sweep = [f for f in FAMILIES if f.sweep]
    of_self = [f for f in FAMILIES if not f.sweep]
    return (
        f"{_HEAD}\n## Of the host, from the latest sweep\n\n{_table(of_sweep)}"
        f"\n## Of sysdx itself\n\n{_table(of_self)}"
    )


def _table(families: Iterable[Family]) -> str:
    """Describe families as a table."""
    rows = [
        f"| `{f.name}` | {f.type} | {_code(f.labels)} | {f.limit} | {f.help} |" for f in families
    ]
    return "| name | type | labels | at most | meaning |\n|---|---|---|---|---|\n" + "".join(
        f"{row}\n" for row in rows
    )


def _code(words: Iterable[str]) -> str:
    """Write words as code."""
    return ", ".join(f"`{word}`" for word in words)


def rules() -> str:
    """
    Describe the rules.

    Returns:
        The page as Markdown: per resource a table, then each rule.

    """
    found = list(discover_rules().values())
    parts = [_rules_of(r, [rule for rule in found if rule.resource == r]) for r in RESOURCES]
    return f"{_RULES_HEAD}\nThere are {len(found)} rules.\n{''.join(parts)}"


def _rules_of(resource: str, found: Iterable[Rule]) -> str:
    """Describe the rules of a resource."""
    rows = "".join(
        f"| [`{r.id}`](#{r.id}) | {_first_line(r)} | {r.unit} | {_threshold(r.warning)} "
        f"| {_threshold(r.critical)} |\n"
        for r in found
    )
    head = "| rule | signal | unit | warning | critical |\n|---|---|---|---:|---:|\n"
    return f"\n## {_heading(resource)}\n\n{head}{rows}{''.join(map(_rule, found))}"


def _heading(resource: str) -> str:
    """Write a resource as a title."""
    return resource.upper() if resource in ("cpu", "gpu") else resource.capitalize()


def _rule(rule: Rule) -> str:
    """Describe a rule."""
    critical = f", critical from {_threshold(rule.critical)}" if rule.critical is not None else ""
    lines = (
        ("Signal", f"{_first_line(rule)} [{rule.unit}]"),
        ("Thresholds", f"warning from {_threshold(rule.warning)}{critical}"),
        ("Where they come from", rule.source),
        ("Says nothing below", rule.gate if rule.gate != "none" else ""),
        ("Cause group", f"`{rule.cause}` ({rule.kind.value})"),
        ("One sweep suffices", "yes: it is an event" if rule.at_once and not rule.probe else ""),
        ("Needs the eBPF probe", f"`{rule.probe}`" if rule.probe else ""),
        ("Needs a window of", f"{rule.window:g} s" if rule.window else ""),
    )
    facts = "".join(f"- {name}: {_plain(text)}\n" for name, text in lines if text)
    steps = "".join(f"{n}. {_plain(step)}\n" for n, step in enumerate(rule.next_steps, 1))
    look = f"\nWhat to look at next:\n\n{steps}" if steps else ""
    return f"\n### {rule.id}\n\n{_plain(rule.explanation)}\n\n{facts}{look}"


def _first_line(rule: Rule) -> str:
    """Give what a rule watches, without the verb."""
    told = inspect.getdoc(rule.evaluate) or ""
    text = told.partition("\n")[0].rstrip(".").removeprefix("Watch ").removeprefix("for ")
    return _plain(text)


def _threshold(value: float | None) -> str:
    """Write a threshold; none where a rule can only warn."""
    return "none" if value is None else f"{value:,.10g}"


def _plain(text: str) -> str:
    """Keep characters that Markdown would take for its own."""
    return re.sub(r"([\\*<])", r"\\\1", text)


def _config_schema() -> str:
    """Describe the configuration as JSON Schema."""
    return json.dumps(config.json_schema(), indent=2, ensure_ascii=False) + "\n"


_CAUSES_HEAD = """# Causes

Generated from `analysis/causes/` by `./dev docs`; do not edit.

Several anomalies often have one cause. Each pattern below is a cause that may be
behind them: it is suspected when one of the rules that show it is active and all
that must hold does. Its confidence is the weight of the clues that speak for it
by the weight of all that could be looked at: what is seen and what must hold
weigh 2, what speaks for it 1, what speaks against it 2 when it holds; a clue that
nothing could tell of is left out. Ranked first is what explains most of the
deductions, times its confidence. What a cause explains is not charged to the
score a second time. A finding that no pattern knows stands for itself, at 50 %.
"""


def causes() -> str:
    """
    Describe the patterns of the diagnosis.

    Returns:
        The page as Markdown: per resource its causes with their clues.

    """
    found = discover_patterns()
    parts = [_causes_of(r, [p for p in found if p.resource == r]) for r in RESOURCES]
    return f"{_CAUSES_HEAD}\nThere are {len(found)} causes.\n{''.join(parts)}"


def _causes_of(resource: str, found: Iterable[Pattern]) -> str:
    """Describe the causes that lie in a resource."""
    told = "".join(map(_cause, found))
    return f"\n## {_heading(resource)}\n{told}" if told else ""


def _cause(pattern: Pattern) -> str:
    """Describe a cause."""
    title = pattern.title[:1].upper() + pattern.title[1:]
    clues = (
        ("Seen when", (pattern.seen,)),
        ("Must hold", pattern.must),
        ("Speaks for it", pattern.speaks_for),
        ("Speaks against it", pattern.speaks_against),
    )
    lines = [
        f"- {name}: {_plain(c.text)}{_rule_links(c.rules)}\n" for name, of in clues for c in of
    ]
    explained = _rule_links(pattern.explains, " {}")
    lines += [f"- Explains:{explained}\n"] if explained else []
    return f"\n### {pattern.id}\n\n{_plain(title)}.\n\n{''.join(lines)}"


def _rule_links(rules: Iterable[str], form: str = " ({})") -> str:
    """Write rules as links to their descriptions."""
    links = ", ".join(f"[`{name}`](rules.md#{name})" for name in rules)
    return form.format(links) if links else ""


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/metrics.md": metrics,
    "docs/rules.md": rules,
    "docs/causes.md": causes,
    "docs/config.schema.json": _config_schema,
    "docs/report.schema.json": lambda: report_schema.text().decode(),
}


def main() -> None:
    """Write every document below the current directory."""
    for name, make in DOCUMENTS.items():
        Path(name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
