"""What the configuration makes of rules, limits and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from analysis import assess
from analysis.model import Rule
from analysis.registry import discover_patterns, discover_rules, discover_uses
from analysis.state import Damping
from collectors.base import discover
from collectors.bpf.probe import discover as discover_probes
from exporter.config import Config


@dataclass(frozen=True, slots=True)
class Policy:
    """
    How sweeps are judged and shown.

    Attributes:
        judging: Rules, thresholds and damping.
        max_series: Most series on the page of metrics.
        stale_after: A sweep's values are withdrawn after so many intervals.
        unused_probes: Those that no profile names.

    """

    judging: assess.Policy
    max_series: int
    stale_after: float
    unused_probes: tuple[str, ...] = ()

    @property
    def rules(self) -> Mapping[str, Rule]:
        """Enabled rules by id."""
        return self.judging.rules


def policy(config: Config) -> Policy:
    """
    Apply a configuration to the rules.

    Args:
        config: The configuration.

    Returns:
        The policy.

    """
    damping = Damping(
        raise_sweeps=config.analysis.raise_sweeps,
        of_sweeps=config.analysis.of_sweeps,
        hold=config.analysis.hold,
        linger=config.analysis.linger,
    )
    judging = assess.Policy(
        rules=_rules(config),
        uses=discover_uses(),
        damping=damping,
        patterns=discover_patterns(),
        min_coverage=config.analysis.min_coverage,
        expected=frozenset(c.category for c in discover().values() if c.essential),
    )
    named = {name for _, profile in config.profiles.items() for name in profile.probes}
    return Policy(
        judging=judging,
        max_series=config.metrics.max_series,
        stale_after=config.metrics.stale_after_intervals,
        unused_probes=tuple(sorted(frozenset(discover_probes()) - named)),
    )


def _rules(config: Config) -> dict[str, Rule]:
    """Give the enabled rules with the thresholds in force."""
    rules: dict[str, Rule] = {}
    for name, rule in discover_rules().items():
        settings = config.rules.get(name)
        if settings is None:
            rules[name] = rule
        elif settings.enabled:
            warning = rule.warning if settings.warning is None else settings.warning
            critical = rule.critical if settings.critical is None else settings.critical
            rules[name] = replace(rule, warning=warning, critical=critical)
    return rules
