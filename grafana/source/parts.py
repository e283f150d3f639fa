"""What all panels have: a name, an explanation, queries, colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import ascii_uppercase
from typing import Any, TypeVar

from grafana.source.frame import DATASOURCE
from grafana.source.sdk import (
    bargauge,
    dashboard,
    gauge,
    heatmap,
    model,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)

P = TypeVar(
    "P",
    bargauge.Panel,
    gauge.Panel,
    heatmap.Panel,
    stat.Panel,
    statetimeline.Panel,
    table.Panel,
    timeseries.Panel,
)

FLEET = 'job=~"$job", instance=~"$instance"'
HOST = 'job=~"$job", instance="$instance"'
# Values change once per sweep. A window of two sweep intervals and one scrape
# interval is exact, and that is what Grafana makes of these intervals.
QUICK, STANDARD, DEEP = "2m", "30m", "12h"
WINDOW = "[$__rate_interval]"
YESTERDAY = "offset 1d"

GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"
UNKNOWN = "#6e7681"  # grey: neither good nor bad
BANDS = ((None, RED), (50.0, ORANGE), (80.0, GREEN))
NONE_IS_GOOD = ((None, GREEN), (1.0, RED))
SOME_IS_WARNING = ((None, GREEN), (1.0, ORANGE))
ALL_IS_GOOD = ((None, RED), (1.0, GREEN))
PLAIN = ((None, "text"),)

Steps = tuple[tuple[float | None, str], ...]


def of(chosen: str, metric: str, *matchers: str) -> str:
    """
    Select series of the chosen hosts.

    Args:
        chosen: FLEET or HOST.
        metric: Its name.
        matchers: Further ones.

    Returns:
        A selector.

    """
    return f"{metric}{{{', '.join((chosen, *matchers))}}}"


def panel(begun: P, number: int, title: str, text: str, width: int, height: int) -> P:
    """
    Give a panel what every panel has.

    Args:
        begun: The panel.
        number: Its id, which never changes: links lead to it.
        title: What it shows.
        text: How to read it.
        width: Of 24 columns.
        height: In rows of the grid.

    Returns:
        The panel.

    """
    return (
        begun.id(number)
        .title(title)
        .description(text)
        .datasource(DATASOURCE)
        .span(width)
        .height(height)
    )


def asked(begun: P, *queries: tuple[str, str]) -> P:
    """
    Give a panel queries over the time it shows.

    Args:
        begun: The panel.
        queries: Pairs of PromQL and legend.

    Returns:
        The panel; its queries are called A, B, C and so on.

    """
    return _lettered(begun, (_query(*each).range() for each in queries))


def asked_now(begun: P, *queries: tuple[str, str]) -> P:
    """
    Give a panel queries at the end of the time it shows.

    Args:
        begun: The panel.
        queries: Pairs of PromQL and legend.

    Returns:
        The panel; its queries are called A, B, C and so on.

    """
    return _lettered(begun, (_query(*each).instant() for each in queries))


def _query(expr: str, legend: str) -> prometheus.Dataquery:
    """Begin a query."""
    return prometheus.Dataquery().expr(expr).legend_format(legend)


def _lettered(begun: P, queries: Iterable[prometheus.Dataquery]) -> P:
    """Give a panel queries by the names A, B, C and so on."""
    for name, query in zip(ascii_uppercase, queries, strict=False):
        begun = begun.with_target(query.ref_id(name))
    return begun


def stepped(begun: P, steps: Steps) -> P:
    """
    Give a panel colours by value.

    Args:
        begun: The panel.
        steps: Pairs of the lowest value and the colour, lowest first, which has None.

    Returns:
        The panel.

    """
    return begun.thresholds(
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=color) for value, color in steps])
    )


def or_unknown(steps: Steps) -> Steps:
    """
    Keep the lowest colour from standing for an absent value as well.

    Args:
        steps: As for `stepped`, of values that are never negative.

    Returns:
        The same with a colour of its own where there is no value.

    """
    (_, lowest), *others = steps
    return ((None, UNKNOWN), (0.0, lowest), *others)


def named(values: Mapping[str, tuple[str, str]]) -> list[model.ValueMapping]:
    """
    Give values names and colours.

    Args:
        values: Value to name and colour.

    Returns:
        Mappings for a panel.

    """
    return [
        model.ValueMap(
            options={
                value: model.ValueMappingResult(text=text, color=color, index=number)
                for number, (value, (text, color)) in enumerate(values.items())
            }
        )
    ]


def prop(name: str, value: Any) -> model.DynamicConfigValue:
    """
    Make one setting of an override.

    Args:
        name: Of the setting.
        value: Its value.

    Returns:
        The setting.

    """
    return model.DynamicConfigValue(id_val=name, value=value)


def link(title: str, url: str, *, away: bool = True) -> dict[str, Any]:
    """
    Make a link of a value.

    Args:
        title: Of the link.
        url: Where to.
        away: Whether it opens beside the dashboard.

    Returns:
        As overrides have it.

    """
    return {"title": title, "url": url, "targetBlank": away}


def coloured(steps: Steps) -> dict[str, Any]:
    """
    Write thresholds as overrides have them.

    Args:
        steps: As for `stepped`.

    Returns:
        The value of an override.

    """
    return {"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in steps]}
