"""The USE grid: utilization, saturation and errors of every resource."""

from __future__ import annotations

from collections.abc import Sequence

from grafana.source.parts import (
    HOST,
    QUICK,
    WINDOW,
    asked,
    of,
    prop,
)
from grafana.source.sdk import dashboard, heatmap, model, timeseries
from grafana.source.shapes import (
    bars,
    density,
    lines,
)

_UTILIZATION = "sysdx_resource_utilization_ratio"
_PEAK = "sysdx_resource_utilization_peak_ratio"
_SATURATION = "sysdx_resource_saturation_ratio"
_QUEUE = "sysdx_resource_queue_length"
_PRESSURE = "sysdx_resource_pressure_ratio"
_ERRORS = "sysdx_resource_errors_total"
_HEIGHT = 7

_MEANING = {
    "cpu": "Share of CPU time that was not idle",
    "memory": "Share of memory that is not available to programs",
    "disk": "Share of the window in which the busiest disk had requests under way",
    "network": "Share of the busiest link's speed that was used; unknown without a speed",
    "filesystem": "How full the file systems are",
    "container": "CPU and memory of groups of processes, as shares of their limits",
    "kernel": "Open files, tasks and other things, as shares of the kernel's limits for them",
}
_TITLES = {
    "cpu": "CPU",
    "memory": "Memory",
    "disk": "Disk",
    "network": "Network",
    "filesystem": "File systems",
    "container": "Containers",
    "kernel": "Kernel limits",
}
# What tells that work waits for each resource.
_WAITS = {
    "cpu": {"pressure", "shares", "queue"},
    "memory": {"pressure", "shares"},
    "disk": {"pressure", "shares", "queue"},
    "network": {"shares"},
    "filesystem": {"shares", "parts"},
    "container": {"shares", "parts"},
}
_RIGHT = [
    prop("unit", "none"),
    prop("custom.axisPlacement", "right"),
    prop("custom.axisSoftMax", 1),
    prop("custom.lineStyle", {"fill": "dash", "dash": [6, 4]}),
    prop("custom.fillOpacity", 0),
]
# Those whose devices are worth a line each in the utilization panel.
_DEVICES = {"disk", "network", "filesystem", "container", "kernel"}


def _max(by: str, selector: str) -> str:
    """Reduce to some labels: one host may be scraped by two jobs."""
    return f"max by ({by}) ({selector})" if by else f"max({selector})"


def _utilization(panel_id: int, resource: str) -> timeseries.Panel:
    """Show how busy a resource is."""
    whole = (f'resource="{resource}"', 'device=""')
    queries = [
        (_max("", of(HOST, _UTILIZATION, *whole)), "mean"),
        (_max("", of(HOST, _PEAK, *whole)), "peak"),
    ]
    parts = of(HOST, _UTILIZATION, f'resource="{resource}"', 'device!=""')
    if resource in _DEVICES:
        queries.append((f"topk(8, {_max('device', parts)})", "{{device}}"))
    elif resource == "cpu":
        queries.append((_max("", parts), "busiest CPU"))
    if resource in ("container", "kernel"):
        queries = queries[2:]  # these have no whole
    text = f"{_MEANING[resource]}. Mean and peak are of one sweep's window."
    begun = asked(lines(panel_id, f"{_TITLES[resource]}: utilization", text), *queries)
    return begun.unit("percentunit").max(1).no_value("unknown on this host")


def _saturation(panel_id: int, resource: str) -> timeseries.Panel:
    """Show how much work waits for a resource."""
    whole = (f'resource="{resource}"', 'device=""')
    has = _WAITS[resource]
    queries = []
    if "pressure" in has:
        stalled = _max("kind", of(HOST, _PRESSURE, f'resource="{resource}"'))
        queries.append((stalled, "{{kind}} tasks stalled"))
    if "shares" in has:
        queries.append((_max("signal", of(HOST, _SATURATION, *whole)), "{{signal}}"))
    if "parts" in has:
        parts = of(HOST, _SATURATION, f'resource="{resource}"', 'device!=""')
        queries.append((f"topk(8, {_max('device, signal', parts)})", "{{signal}} of {{device}}"))
    if "queue" in has:
        queries.append((_max("", of(HOST, _QUEUE, *whole)), "queue"))
    text = f"Work that waited: {_waited(has)}."
    begun = asked(lines(panel_id, f"{_TITLES[resource]}: saturation", text), *queries)
    begun = begun.unit("percentunit").axis_soft_max(0.01).no_value("unknown on this host")
    return begun.override_by_name("queue", _RIGHT) if "queue" in has else begun


def _waited(has: set[str]) -> str:
    """Say what a saturation panel consists of."""
    told = {
        "pressure": "the share of time in which tasks stalled",
        "shares": "how full queues, tables and other limits are",
        "parts": "how much single devices or groups are held back",
        "queue": "on the right axis, the mean length of the queue",
    }
    return "; ".join(text for name, text in told.items() if name in has)


def _errors(panel_id: int, resource: str) -> timeseries.Panel:
    """Show what went wrong, as counts in each step."""
    # A disk's or file system's errors are also in the sum of all, which has no device.
    whole = () if resource == "network" else ('device=""',)
    chosen = of(HOST, _ERRORS, f'resource="{resource}"', *whole)
    text = (
        "What the kernel counted as errors, per step of the graph. Without any error the bars "
        "have no height; kinds that this host's kernel does not count are absent."
    )
    begun = asked(
        lines(panel_id, f"{_TITLES[resource]}: errors", text),
        (f"sum by (kind, device) (increase({chosen}{WINDOW}))", "{{kind}} {{device}}"),
    )
    return bars(begun).unit("short").interval(QUICK).no_value("none known")


def grid(begun: dashboard.Dashboard, top: int) -> dashboard.Dashboard:
    """
    Add the rows of the four resources that every host has.

    Args:
        begun: The dashboard.
        top: The first free row of the grid.

    Returns:
        The dashboard.

    """
    row = dashboard.Row("Utilization, saturation, errors").id(100)
    begun.with_row(row.grid_pos(model.GridPos(h=1, w=24, x=0, y=top)))
    _resources(begun, ("cpu", "memory", "disk", "network"), 110, top + 1)
    return begun


def _resources(
    begun: dashboard.Dashboard | dashboard.Row, names: Sequence[str], first_id: int, top: int
) -> None:
    """Add three panels for each resource; their ids end in 0, 1 and 2."""
    makers = (_utilization, _saturation, _errors)
    for line, resource in enumerate(names):
        for column, make in enumerate(makers if resource in _WAITS else makers[:1]):
            place = model.GridPos(h=_HEIGHT, w=8, x=8 * column, y=top + _HEIGHT * line)
            begun.with_panel(make(first_id + 10 * line + column, resource).grid_pos(place))


def _seconds(panel_id: int, resource: str, what: str) -> heatmap.Panel:
    """Show how utilization was spread over single sample intervals."""
    chosen = of(HOST, "sysdx_resource_utilization_sample_ratio_bucket", f'resource="{resource}"')
    text = (
        f"How busy {what} was in each second that a sweep watched: a mean of half may be half all "
        "the time, or all for half of the time. Colours are seconds per second of the graph."
    )
    expr = f"sum by (le) (rate({chosen}{WINDOW}))"
    title = f"{_TITLES[resource]}: single seconds"
    return density(panel_id, title, text, expr, "percentunit", QUICK).no_value("unknown")


def details(begun: dashboard.Dashboard) -> dashboard.Dashboard:
    """
    Add collapsed rows with what is looked at less often.

    Args:
        begun: The dashboard, which ends with the grid.

    Returns:
        The dashboard.

    """
    top = 29 + 1 + 4 * _HEIGHT
    more = dashboard.Row("File systems, containers, kernel limits").id(200)
    _resources(more, ("filesystem", "container", "kernel"), 210, top + 1)
    begun.with_row(more.grid_pos(model.GridPos(h=1, w=24, x=0, y=top)))
    seconds = dashboard.Row("Within a sweep: single seconds").id(300)
    for column, (resource, what) in enumerate((("cpu", "all CPUs"), ("disk", "the busiest disk"))):
        place = model.GridPos(h=8, w=12, x=12 * column, y=top + 2)
        seconds.with_panel(_seconds(310 + column, resource, what).grid_pos(place))
    return begun.with_row(seconds.grid_pos(model.GridPos(h=1, w=24, x=0, y=top + 1)))
