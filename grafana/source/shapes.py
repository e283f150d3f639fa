"""The kinds of panels, as they look in all dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grafana.source.parts import PLAIN, Steps, asked_now, or_unknown, panel, stepped
from grafana.source.sdk import (
    PromQueryFormat,
    bargauge,
    dashboard,
    heatmap,
    heatmap_kinds,
    kinds,
    model,
    options,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)


def number(
    panel_id: int,
    title: str,
    text: str,
    expr: str,
    steps: Steps = PLAIN,
    unit: str = "none",
    nothing: str = "unknown",
    width: int = 4,
    decimals: int = 0,
) -> stat.Panel:
    """
    Make a panel of one number.

    Args:
        panel_id: Its id.
        title: What it shows.
        text: How to read it.
        expr: PromQL with one series.
        steps: Its colours.
        unit: As Grafana calls it.
        nothing: What an absent value means.
        width: Of 24 columns.
        decimals: How many are shown.

    Returns:
        The panel.

    """
    begun = asked_now(panel(stat.Panel(), panel_id, title, text, width, 4), (expr, title))
    return (
        stepped(begun, PLAIN if steps == PLAIN else or_unknown(steps))
        .unit(unit)
        .decimals(decimals)
        .no_value(nothing)
        .reduce_options(last())
        .color_mode(
            kinds.BigValueColorMode.VALUE if steps == PLAIN else kinds.BigValueColorMode.BACKGROUND
        )
        .graph_mode(kinds.BigValueGraphMode.NONE)
    )


def last() -> options.ReduceDataOptions:
    """
    Show the newest value of each series.

    Returns:
        The option.

    """
    return options.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def lines(
    panel_id: int, title: str, text: str, width: int = 8, height: int = 7
) -> timeseries.Panel:
    """
    Begin a panel of lines.

    Args:
        panel_id: Its id.
        title: What it shows.
        text: How to read it.
        width: Of 24 columns.
        height: In rows of the grid.

    Returns:
        The panel without queries.

    """
    return (
        panel(timeseries.Panel(), panel_id, title, text, width, height)
        .min(0)
        .line_width(1)
        .fill_opacity(8)
        .show_points(kinds.VisibilityMode.AUTO)
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
        .tooltip(
            options.VizTooltipOptions()
            .mode(kinds.TooltipDisplayMode.MULTI)
            .sort(kinds.SortOrder.DESCENDING)
        )
        .legend(
            options.VizLegendOptions()
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )


def bars(begun: timeseries.Panel) -> timeseries.Panel:
    """
    Draw counts as stacked bars.

    Args:
        begun: A panel of lines.

    Returns:
        The panel.

    """
    return (
        begun.draw_style(kinds.GraphDrawStyle.BARS)
        .fill_opacity(80)
        .line_width(0)
        .axis_soft_max(1)
        .stacking(options.StackingConfig().mode(kinds.StackingMode.NORMAL))
    )


def stacked(begun: timeseries.Panel) -> timeseries.Panel:
    """
    Draw parts of a sum on top of each other.

    Args:
        begun: A panel of lines.

    Returns:
        The panel.

    """
    return begun.fill_opacity(40).stacking(options.StackingConfig().mode(kinds.StackingMode.NORMAL))


def logarithmic(begun: timeseries.Panel) -> timeseries.Panel:
    """
    Draw each doubling as far apart as the next one.

    Args:
        begun: A panel of lines.

    Returns:
        The panel.

    """
    return begun.decimals(1).scale_distribution(
        options.ScaleDistributionConfig().type(kinds.ScaleDistribution.LOG).log(2)
    )


def ranking(
    panel_id: int, title: str, text: str, width: int = 12, height: int = 9
) -> bargauge.Panel:
    """
    Begin a panel of bars with names, one per series.

    Args:
        panel_id: Its id.
        title: What it shows.
        text: How to read it.
        width: Of 24 columns.
        height: In rows of the grid.

    Returns:
        The panel without queries.

    """
    # Beside the bars, names get the width of the one with the most letters, and others are cut.
    return (
        panel(bargauge.Panel(), panel_id, title, text, width, height)
        .min(0)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .value_mode(kinds.BarGaugeValueMode.TEXT)
        .sizing(kinds.BarGaugeSizing.MANUAL)
        .name_placement(kinds.BarGaugeNamePlacement.TOP)
        .min_viz_height(32)
        .max_viz_height(40)
        .text(options.VizTextDisplayOptions().title_size(12).value_size(15))
        .reduce_options(last())
    )


def rows(panel_id: int, title: str, text: str, width: int = 12, height: int = 9) -> table.Panel:
    """
    Begin a table.

    Args:
        panel_id: Its id.
        title: What it shows.
        text: How to read it.
        width: Of 24 columns.
        height: In rows of the grid.

    Returns:
        The panel without queries.

    """
    return panel(table.Panel(), panel_id, title, text, width, height).filterable(False)


def tabled(begun: table.Panel, *exprs: str) -> table.Panel:
    """
    Give a table queries; each must aggregate, so that its columns do not depend on the host.

    Args:
        begun: The table.
        exprs: PromQL, one column of values each.

    Returns:
        The table.

    """
    for place, expr in enumerate(exprs):
        query = prometheus.Dataquery().expr(expr).instant().format(PromQueryFormat.TABLE)
        begun = begun.with_target(query.ref_id(chr(ord("A") + place)))
    return begun


def arranged(
    begun: table.Panel, columns: Mapping[str, str], hidden: tuple[str, ...], sort: tuple[str, bool]
) -> table.Panel:
    """
    Join a table's queries and put its columns in order.

    Args:
        begun: The table.
        columns: Field to heading, in order.
        hidden: Fields that are not shown.
        sort: A heading, and whether its largest value comes first.

    Returns:
        The table.

    """
    order = {field: place for place, field in enumerate(columns)}
    organized = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": order,
        "renameByName": dict(columns),
    }
    sorting = {"fields": {}, "sort": [{"field": sort[0], "desc": sort[1]}]}
    steps: list[tuple[str, dict[str, Any]]] = [("organize", organized), ("sortBy", sorting)]
    if any("#" in field for field in columns):
        steps.insert(0, ("merge", {}))
    for name, settings in steps:
        begun.with_transformation(model.DataTransformerConfig(id_val=name, options=settings))
    return begun


def timeline(
    panel_id: int, title: str, text: str, width: int = 24, height: int = 9
) -> statetimeline.Panel:
    """
    Begin a panel of states over time.

    Args:
        panel_id: Its id.
        title: What it shows.
        text: How to read it.
        width: Of 24 columns.
        height: In rows of the grid.

    Returns:
        The panel without queries.

    """
    return (
        panel(statetimeline.Panel(), panel_id, title, text, width, height)
        .show_value(kinds.VisibilityMode.NEVER)
        .merge_values(True)
        .fill_opacity(80)
        .row_height(0.85)
        .line_width(0)
    )


def density(
    panel_id: int, title: str, text: str, expr: str, unit: str, interval: str, width: int = 12
) -> heatmap.Panel:
    """
    Make a heatmap of a histogram.

    Args:
        panel_id: Its id.
        title: What it shows.
        text: How to read it.
        expr: PromQL with one series per bucket.
        unit: Of the buckets' edges.
        interval: The shortest step.
        width: Of 24 columns.

    Returns:
        The panel.

    """
    query = prometheus.Dataquery().expr(expr).legend_format("{{le}}").range().ref_id("A")
    return (
        panel(heatmap.Panel(), panel_id, title, text, width, 8)
        .with_target(query.format(PromQueryFormat.HEATMAP))
        .interval(interval)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(kinds.AxisPlacement.LEFT))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(kinds.HeatmapCellLayout.AUTO))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_kinds.HeatmapColorMode.SCHEME)
            .scheme("Spectral")
            .scale(heatmap_kinds.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
            .reverse(True)
        )
        .cell_values(heatmap.CellValues().unit("cps"))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .cell_gap(1)
        .show_legend()
        .tooltip(
            heatmap.HeatmapTooltip()
            .mode(kinds.TooltipDisplayMode.SINGLE)
            .y_histogram(True)
            .show_color_scale(True)
        )
    )
