"""Latencies as eBPF probes see them: how they are spread, not what their mean is."""

from __future__ import annotations

from dataclasses import dataclass

from grafana.source.frame import DATASOURCE, board
from grafana.source.parts import (
    DEEP,
    HOST,
    STANDARD,
    WINDOW,
    YESTERDAY,
    asked,
    asked_now,
    of,
    panel,
    prop,
)
from grafana.source.sdk import dashboard, heatmap, kinds, model, stat, timeseries
from grafana.source.shapes import (
    density,
    last,
    lines,
    logarithmic,
)

_OBSERVED = "sysdx_probe_observed_seconds_total"
_EVENTS = "sysdx_probe_events_total"
_LOST = "sysdx_probe_lost_events_total"
_FACTOR = "Estimated from power-of-two buckets: true within a factor of two."
_QUANTILES = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))


@dataclass(frozen=True, slots=True)
class Spread:
    """
    A histogram that a probe fills.

    Attributes:
        family: The metric.
        probe: Who fills it.
        title: What it is called here.
        what: What is measured, as the end of a sentence.
        unit: Of its values.
        by: The label that it is split by, if any.
        limit: Variable that holds the limit one may choose; empty for none.
        first_limit: Its first value, which is one of the edges.

    """

    family: str
    probe: str
    title: str
    what: str
    unit: str = "s"
    by: str = ""
    limit: str = ""
    first_limit: str = ""


# What the default configuration looks at every quarter of an hour.
STANDARD_SPREADS = (
    Spread("sysdx_block_io_latency_seconds", "biolatency", "Block I/O",
           "how long a device had a request", by="operation", limit="io_limit",
           first_limit="0.033554432"),
    Spread("sysdx_run_queue_latency_seconds", "runqlat", "Run queue",
           "how long tasks that could run waited for a CPU", limit="run_limit",
           first_limit="0.016777216"),
    Spread("sysdx_tcp_connect_latency_seconds", "tcpconnlat", "TCP connect",
           "how long connections that this host opened took to be established", by="family",
           limit="connect_limit", first_limit="0.268435456"),
    Spread("sysdx_dns_latency_seconds", "dnslat", "DNS",
           "how long programs waited for a name server's answer over UDP", by="family",
           limit="dns_limit", first_limit="0.134217728"),
)  # fmt: skip
# Only in deep sweeps, of which there are four a day.
DEEP_SPREADS = (
    Spread("sysdx_block_io_queue_seconds", "biosnoop", "Block I/O queue",
           "how long requests waited before a device got them"),
    Spread("sysdx_tcp_round_trip_time_seconds", "tcprtt", "TCP round trip",
           "the kernel's smoothed round trip time at each segment that came in"),
    Spread("sysdx_off_cpu_seconds", "offcputime", "Off CPU",
           "how long tasks that went to sleep were off the CPU"),
    Spread("sysdx_run_queue_length", "runqlen", "Run queue length",
           "tasks that stood in line at a CPU behind the running one", unit="none"),
)  # fmt: skip
# No profile of the default configuration names these.
OPTIONAL_SPREADS = (
    Spread("sysdx_fsync_latency_seconds", "fsync", "fsync",
           "how long programs waited for written data to be on the disk"),
    Spread("sysdx_block_io_size_bytes", "bitesize", "Block I/O size",
           "how many bytes each request asked a device for", unit="bytes"),
    Spread("sysdx_softirq_delay_seconds", "softirqs", "Softirq delay",
           "from the moment a softirq was raised until a CPU handled it"),
    Spread("sysdx_softirq_seconds", "softirqs", "Softirqs", "how long softirqs took"),
    Spread("sysdx_hardirq_seconds", "hardirqs", "Interrupts",
           "how long handlers of device interrupts took"),
    Spread("sysdx_lock_contention_seconds", "contention", "Kernel locks",
           "how long tasks waited for one of the kernel's own locks"),
    Spread("sysdx_direct_reclaim_latency_seconds", "drsnoop", "Direct reclaim",
           "how long tasks that wanted memory had to free some"),
    Spread("sysdx_compaction_latency_seconds", "compaction", "Compaction",
           "how long the kernel moved pages to get large pieces of memory"),
    Spread("sysdx_cpu_on_time_seconds", "cpudist", "On CPU",
           "how long tasks ran each time before they gave up or lost their CPU"),
    Spread("sysdx_process_lifetime_seconds", "exitsnoop", "Process lifetime",
           "how old processes were when they ended"),
    Spread("sysdx_tcp_connection_duration_seconds", "tcplife", "TCP connections",
           "how long connections that ended had been established"),
)  # fmt: skip


def _matchers(spread: Spread) -> tuple[str, ...]:
    """Select what the variables choose."""
    if spread.probe == "biolatency":
        return ('device=~"$device"', 'operation=~"$operation"')
    return ()


def _bucket(spread: Spread, more: tuple[str, ...] = ()) -> str:
    return of(HOST, f"{spread.family}_bucket", *_matchers(spread), *more)


def _looked(spread: Spread) -> str:
    """Select the time in which the probe looked."""
    return of(HOST, _OBSERVED, f'probe="{spread.probe}"')


def _observed(spread: Spread) -> str:
    """Count the seconds in which the probe looked."""
    return f"sum(increase({_looked(spread)}{WINDOW}))"


def _heat(panel_id: int, spread: Spread) -> heatmap.Panel:
    """Show the whole distribution."""
    text = (
        f"The spread of {spread.what}. Colours are events per second in which the probe looked. "
        "Buckets are powers of two."
    )
    buckets = f"sum by (le) (increase({_bucket(spread)}{WINDOW}))"
    expr = f"{buckets} / on () group_left () {_observed(spread)}"
    title = f"{spread.title}: distribution"
    return density(panel_id, title, text, expr, spread.unit, STANDARD).no_value("nothing was seen")


def _quantiles(spread: Spread, shares: tuple[tuple[float, str], ...]) -> list[tuple[str, str]]:
    """Ask for quantiles, split by the spread's label."""
    by = f"le, {spread.by}" if spread.by else "le"
    more = f" {{{{{spread.by}}}}}" if spread.by else ""
    return [
        (
            f"histogram_quantile({share}, sum by ({by}) (rate({_bucket(spread)}{WINDOW})))",
            f"{name}{more}",
        )
        for share, name in shares
    ]


def _curves(panel_id: int, spread: Spread) -> timeseries.Panel:
    """Show quantiles, and the slowest hundredth of yesterday."""
    by = f"le, {spread.by}" if spread.by else "le"
    more = f" {{{{{spread.by}}}}}" if spread.by else ""
    before = f"sum by ({by}) (rate({_bucket(spread)}{WINDOW} {YESTERDAY}))"
    text = (
        f"Quantiles of {spread.what}; dashed, the slowest hundredth at the same time yesterday. "
        f"{_FACTOR} With less than a hundred events in a window, p99 is hardly more than the "
        "slowest single one."
    )
    dashed = [
        prop("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
        prop("custom.fillOpacity", 0),
    ]
    begun = asked(
        lines(panel_id, f"{spread.title}: quantiles", text, 12, 8),
        *_quantiles(spread, _QUANTILES),
        (f"histogram_quantile(0.99, {before})", f"p99{more} yesterday"),
    )
    return (
        logarithmic(begun)
        .unit(spread.unit)
        .interval(STANDARD)
        .no_value("nothing was seen")
        .override_by_query("D", dashed)
    )


def _ratio(part: str, whole: str, when: str = "") -> str:
    """Divide the increase of one counter by that of another."""
    return f"sum(increase({part}{WINDOW}{when})) / sum(increase({whole}{WINDOW}{when}))"


def _rate(panel_id: int, spread: Spread) -> timeseries.Panel:
    """Show how many events there were."""
    count = of(HOST, f"{spread.family}_count", *_matchers(spread))
    observed = _looked(spread)
    text = (
        "Events per second in which the probe looked, which is only a part of the time; beside "
        "it the same time yesterday."
    )
    begun = asked(
        lines(panel_id, f"{spread.title}: events", text, 12, 6),
        (_ratio(count, observed), "today"),
        (_ratio(count, observed, f" {YESTERDAY}"), "yesterday"),
    )
    return begun.unit("cps").interval(STANDARD).no_value("nothing was seen")


def _above(panel_id: int, spread: Spread) -> timeseries.Panel:
    """Show which share was above a limit, which is an edge of a bucket and thus exact."""
    count = of(HOST, f"{spread.family}_count", *_matchers(spread))
    below = _bucket(spread, (f'le="${spread.limit}"',))
    text = (
        f"Share of events above ${spread.limit} s, which is chosen above from the edges of the "
        "buckets: no estimate, a count. Beside it the same time yesterday."
    )
    begun = asked(
        lines(panel_id, f"{spread.title}: share above ${spread.limit} s", text, 12, 6),
        (f"1 - {_ratio(below, count)}", "today"),
        (f"1 - {_ratio(below, count, f' {YESTERDAY}')}", "yesterday"),
    )
    return (
        begun.unit("percentunit")
        .axis_soft_max(0.01)
        .interval(STANDARD)
        .no_value("nothing was seen")
    )


def _section(begun: dashboard.Dashboard, spread: Spread, first_id: int, top: int) -> None:
    """Add a row for one histogram: spread, quantiles, events, share above the limit."""
    row = dashboard.Row(f"{spread.title}: {spread.what}").id(first_id)
    begun.with_row(row.grid_pos(model.GridPos(h=1, w=24, x=0, y=top)))
    heat = model.GridPos(h=8, w=12, x=0, y=top + 1)
    begun.with_panel(_heat(first_id + 1, spread).grid_pos(heat))
    places = ((_curves, 12, 1, 8), (_rate, 0, 9, 6), (_above, 12, 9, 6))
    for place, (make, x, y, height) in enumerate(places, 2):
        where = model.GridPos(h=height, w=12, x=x, y=top + y)
        begun.with_panel(make(first_id + place, spread).grid_pos(where))


def _per_probe(panel_id: int, title: str, text: str, counter: str, unit: str) -> timeseries.Panel:
    """Show a counter of all probes, per second in which they looked."""
    counted, looked = (
        f"sum by (probe) (increase({of(HOST, name)}{WINDOW}))" for name in (counter, _OBSERVED)
    )
    begun = asked(lines(panel_id, title, text, 8), (f"{counted} / {looked}", "{{probe}}"))
    return begun.unit(unit).interval(STANDARD).no_value("no probe has looked yet")


def _probes(begun: dashboard.Dashboard) -> None:
    """Add what is true of all probes."""
    begun.with_panel(logarithmic(_per_probe(
        1, "Events", "Events per second in which each probe looked. Retransmits (tcpretrans) have "
        "no duration and are shown only here.", _EVENTS, "cps",
    )))  # fmt: skip
    begun.with_panel(_per_probe(
        2, "Lost events", "Events per second that a probe did not count, because a buffer or a "
        "table was full, or another probe was at work on that CPU. They are missing in all panels "
        "below.", _LOST, "cps",
    ).axis_soft_max(1))  # fmt: skip
    text = (
        "Which share of the time each probe looked: 30 s in every quarter of an hour are 3 %. "
        "Whatever happened between the windows is not in these panels."
    )
    watched = f"sum by (probe) (rate({of(HOST, _OBSERVED)}{WINDOW}))"
    begun.with_panel(
        asked(lines(3, "Watched", text), (watched, "{{probe}}"))
        .unit("percentunit")
        .interval(STANDARD)
        .no_value("no probe has looked yet")
    )


def _since_start(panel_id: int, spread: Spread) -> stat.Panel:
    """Show quantiles of everything that was seen since the exporter's start."""
    text = (
        f"Quantiles of {spread.what}, of everything seen since the exporter started. {_FACTOR} "
        f"The probe {spread.probe} runs in deep sweeps only."
    )
    queries = [
        (f"histogram_quantile({share}, sum by (le) ({_bucket(spread)}))", name)
        for share, name in _QUANTILES
    ]
    begun = asked_now(
        panel(stat.Panel(), panel_id, f"{spread.title} since start", text, 6, 6), *queries
    )
    return (
        begun.unit(spread.unit)
        .reduce_options(last())
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .color_mode(kinds.BigValueColorMode.NONE)
        .text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .no_value("no deep sweep yet")
    )


def _deep(begun: dashboard.Dashboard, top: int) -> None:
    """Add what only deep sweeps see."""
    row = dashboard.Row("Only in deep sweeps: four a day").id(600)
    begun.with_row(row.grid_pos(model.GridPos(h=1, w=24, x=0, y=top)))
    for place, spread in enumerate(DEEP_SPREADS):
        where = model.GridPos(h=6, w=6, x=6 * place, y=top + 1)
        begun.with_panel(_since_start(601 + place, spread).grid_pos(where))
    text = (
        "The slowest hundredth over a week; each point is of the two deep sweeps before it, so "
        f"there is none before the second one. {_FACTOR}"
    )
    timed = [spread for spread in DEEP_SPREADS if spread.unit == "s"]
    queries = [(_quantiles(s, ((0.99, ""),))[0][0], s.title) for s in timed]
    week = logarithmic(asked(lines(605, "p99 over a week", text, 24), *queries))
    week.unit("s").interval(DEEP).time_from("7d").no_value("no second deep sweep yet")
    week.show_points(kinds.VisibilityMode.ALWAYS)
    begun.with_panel(week.grid_pos(model.GridPos(h=7, w=24, x=0, y=top + 7)))


def _optional(begun: dashboard.Dashboard, top: int) -> None:
    """Add what somebody may switch on."""
    row = dashboard.Row("Probes that are off by default").id(700)
    for place, spread in enumerate(OPTIONAL_SPREADS):
        text = (
            f"Quantiles of {spread.what}. {_FACTOR} Name the probe {spread.probe} in the standard "
            "profile of the configuration to see them."
        )
        each = asked(
            lines(701 + place, spread.title, text, 8), *_quantiles(spread, _QUANTILES)
        ).interval(STANDARD)
        where = model.GridPos(h=7, w=8, x=8 * (place % 3), y=top + 1 + 7 * (place // 3))
        each.unit(spread.unit).no_value(f"the probe {spread.probe} has seen nothing, or is off")
        row.with_panel(logarithmic(each).grid_pos(where))
    begun.with_row(row.grid_pos(model.GridPos(h=1, w=24, x=0, y=top)))


def _choices(begun: dashboard.Dashboard) -> None:
    """Let the reader choose devices, operations, and limits among the edges of the buckets."""
    family = f"{STANDARD_SPREADS[0].family}_count"
    for name, label in (("device", "Device"), ("operation", "Operation")):
        every = model.VariableOption(selected=True, text="All", value="$__all")
        begun.with_variable(
            _choice(name, label, of(HOST, family), name)
            .sort(model.VariableSort.NATURAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(every)
        )
    for spread in STANDARD_SPREADS:
        first = model.VariableOption(
            selected=True, text=spread.first_limit, value=spread.first_limit
        )
        chosen = of(HOST, f"{spread.family}_bucket")
        begun.with_variable(
            _choice(spread.limit, f"{spread.title}: limit [s]", chosen, "le")
            .regex(r"/^(?!\+Inf$)(.+)$/")
            .sort(model.VariableSort.NUMERICAL_ASC)
            .current(first)
        )


def _choice(name: str, label: str, series: str, values_of: str) -> dashboard.QueryVariable:
    """Ask which values a label has."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": f"label_values({series}, {values_of})", "refId": name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def latency() -> dashboard.Dashboard:
    """
    Build the dashboard.

    Returns:
        The builder.

    """
    begun = board(
        "sysdx-latency",
        "How latencies are spread, seen by eBPF probes. "
        "Points are half an hour apart, because most probes look every quarter of an hour.",
        24,
    )
    _choices(begun)
    _probes(begun)
    for place, spread in enumerate(STANDARD_SPREADS):
        _section(begun, spread, 100 * (place + 1), 7 + 15 * place)
    top = 7 + 15 * len(STANDARD_SPREADS)
    _deep(begun, top)
    _optional(begun, top + 14)
    return begun
