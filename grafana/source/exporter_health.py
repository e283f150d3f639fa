"""The exporter itself: whether it does its work, what it cannot see, and what it costs."""

from __future__ import annotations

from grafana.source.frame import board
from grafana.source.parts import (
    ALL_IS_GOOD,
    GREEN,
    HOST,
    ORANGE,
    QUICK,
    RED,
    STANDARD,
    WINDOW,
    asked,
    coloured,
    named,
    of,
    prop,
)
from grafana.source.sdk import (
    dashboard,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana.source.shapes import (
    arranged,
    bars,
    lines,
    logarithmic,
    number,
    rows,
    tabled,
    timeline,
)

_WORKS = [
    {"type": "value", "options": {
        "0": {"text": "no", "color": ORANGE, "index": 0},
        "1": {"text": "yes", "color": GREEN, "index": 1},
    }},
]  # fmt: skip


def _numbers() -> list[stat.Panel | table.Panel]:
    """Show what one wants to know first."""
    return [
        number(1, "Answers", "Whether Prometheus's last scrape succeeded.",
               f"min({of(HOST, 'up')})", ALL_IS_GOOD)
        .mappings(named({"0": ("no", RED), "1": ("yes", GREEN)})),
        number(2, "Runs since", "When the exporter was started.",
               f"1000 * max({of(HOST, 'process_start_time_seconds')})", unit="dateTimeFromNow"),
        number(3, "Configuration", "Whether the newest configuration is in force; if not, the log "
               "says what is wrong with it, and the old one still is.",
               f"min({of(HOST, 'sysdx_config_last_reload_successful')})", ALL_IS_GOOD)
        .mappings(named({"0": ("refused", RED), "1": ("in force", GREEN)})),
        number(4, "Configuration read", "When the configuration in force was read.",
               f"1000 * max({of(HOST, 'sysdx_config_last_reload_success_timestamp_seconds')})",
               unit="dateTimeFromNow"),
        number(5, "Series", "Series on the page of metrics; at most 1,500 unless configured.",
               f"max({of(HOST, 'sysdx_series')})",
               ((None, GREEN), (1000.0, ORANGE), (1500.0, RED))),
        _version(),
    ]  # fmt: skip


def _version() -> table.Panel:
    """Name the version; a table, because a stat of a name is blank without one."""
    begun = tabled(
        rows(6, "Version", "The running version, and its Python.", 4, 4),
        f"max by (version, python) ({of(HOST, 'sysdx_build_info')})",
    )
    columns = {"version": "sysdx", "python": "Python"}
    return arranged(begun, columns, ("Value",), ("sysdx", False)).no_value("unknown")


def _durations() -> timeseries.Panel:
    """Show how long sweeps took, against the time between two."""
    text = (
        "How long the sweeps of each profile took, from initializing to publishing, as the mean "
        "of those that ended in a step; dashed, the time between two. A sweep that takes as long "
        "as its interval lets the next one be skipped."
    )
    total, count = (
        f"sum by (profile) (increase({of(HOST, f'sysdx_sweep_duration_seconds_{part}')}{WINDOW}))"
        for part in ("sum", "count")
    )
    dashed = [
        prop("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
        prop("custom.fillOpacity", 0),
        prop("custom.showPoints", "never"),
    ]
    begun = asked(
        lines(10, "Sweeps: duration and interval", text, 12, 8),
        (f"{total} / ({count} > 0)", "{{profile}}"),
        (f"max by (profile) ({of(HOST, 'sysdx_sweep_interval_seconds')})", "{{profile}}: interval"),
    )
    # A profile that runs rarely has no value in most steps.
    return (
        logarithmic(begun)
        .unit("s")
        .interval(QUICK)
        .span_nulls(True)
        .override_by_query("B", dashed)
        .no_value("no sweep has ended yet")
    )


def _outcomes() -> timeseries.Panel:
    """Count sweeps by how they ended."""
    text = (
        "How many sweeps ended how, per minute. Partial: something was late. Skipped: another "
        "one was running. Failed: there is no report, and the log says why."
    )
    chosen = of(HOST, "sysdx_sweeps_total")
    begun = asked(
        lines(11, "Sweeps: how they ended", text, 12, 8),
        (f"60 * sum by (outcome) (rate({chosen}{WINDOW}))", "{{outcome}}"),
    )
    colors = {"complete": GREEN, "partial": ORANGE, "failed": RED}
    for outcome, color in colors.items():
        fixed = prop("color", {"mode": "fixed", "fixedColor": color})
        begun = begun.override_by_name(outcome, [fixed])
    return bars(begun).unit("cpm").interval(QUICK).no_value("no sweep has ended yet")


def _ages() -> timeseries.Panel:
    """Show how old the last sweep of each profile is."""
    text = (
        "Time since the last complete sweep of each profile: a saw whose teeth are as high as the "
        "interval. A profile that has not ended a sweep since the exporter's start is absent."
    )
    last_success = of(HOST, "sysdx_sweep_last_success_timestamp_seconds")
    begun = asked(
        lines(12, "Age of the last complete sweep", text, 12),
        (f"time() - max by (profile) ({last_success})", "{{profile}}"),
    )
    return logarithmic(begun).unit("s").no_value("no sweep has ended yet")


def _report() -> timeseries.Panel:
    """Show how large reports are."""
    text = "Size of the newest report as JSON; all that are kept have a limit of their own."
    size = f"max({of(HOST, 'sysdx_report_size_bytes')})"
    begun = asked(lines(13, "Size of the report", text, 12), (size, "report"))
    return begun.unit("bytes").no_value("no sweep is fresh enough")


def _collectors() -> statetimeline.Panel:
    """Show which collectors brought something."""
    text = (
        "Whether each collector brought its sample. What this host does not have, such as a GPU, "
        "is not listed here but in the table of what is missing."
    )
    begun = asked(
        timeline(20, "Collectors", text, 14, 12),
        (f"min by (collector) ({of(HOST, 'sysdx_collector_success')})", "{{collector}}"),
    )
    return (
        begun.mappings(named({"0": ("failed", RED), "1": ("ok", GREEN)}))
        .no_value("no sweep has ended yet")
        .per_page(30)
    )


def _turns() -> timeseries.Panel:
    """Show how long collectors took."""
    text = (
        "How long each collector's turn took in the latest sweep, its window included; one that "
        "stands out from the others holds the sweep up."
    )
    begun = asked(
        lines(21, "Collectors: how long they took", text, 10, 12),
        (f"max by (collector) ({of(HOST, 'sysdx_collector_duration_seconds')})", "{{collector}}"),
    )
    return logarithmic(begun).unit("s").no_value("no sweep has ended yet")


def _errors() -> table.Panel:
    """List what could not be read."""
    text = (
        "In how many turns since the exporter's start a collector could not read something, by "
        "reason. The report says what, and what to do about it."
    )
    begun = tabled(
        rows(22, "What could not be read", text, 8, 9),
        f"max by (collector, reason) ({of(HOST, 'sysdx_collector_errors_total')})",
    )
    columns = {"collector": "Collector", "reason": "Reason", "Value": "Turns"}
    return arranged(begun, columns, (), ("Turns", True)).no_value("none known")


def _absent() -> table.Panel:
    """List what this host does not have."""
    text = "Collectors whose subject this host does not have. Nothing is wrong with them."
    begun = tabled(
        rows(23, "What this host does not have", text, 8, 9),
        f"max by (collector) ({of(HOST, 'sysdx_collector_supported')} == 0)",
    )
    columns = {"collector": "Collector"}
    return arranged(begun, columns, ("Value",), ("Collector", False)).no_value("none known")


def _dropped() -> table.Panel:
    """List values that were not exposed."""
    text = (
        "Values that were not exposed since the exporter's start, by metric and reason: no "
        "number, written twice, or beyond a limit."
    )
    begun = tabled(
        rows(24, "What was not exposed", text, 8, 9),
        f"max by (collector, reason) ({of(HOST, 'sysdx_samples_dropped_total')})",
    )
    columns = {"collector": "Metric", "reason": "Reason", "Value": "Values"}
    return arranged(begun, columns, (), ("Values", True)).no_value("none known")


def _probes() -> table.Panel:
    """List the probes."""
    text = (
        "Whether each eBPF probe works on this host, and why not: disabled is one that no profile "
        "names. `sysdx doctor` says what to do about the other reasons."
    )
    begun = tabled(
        rows(30, "eBPF probes", text, 8, 10),
        f"max by (probe, reason) ({of(HOST, 'sysdx_probe_available')})",
    )
    columns = {"probe": "Probe", "Value": "Works", "reason": "Reason"}
    lamp = [
        prop("mappings", _WORKS),
        prop("custom.cellOptions", {"type": "color-text"}),
        prop("thresholds", coloured(((None, ORANGE), (1.0, GREEN)))),
    ]
    return (
        arranged(begun, columns, (), ("Works", True))
        .no_value("no probe has been tried yet")
        .override_by_name("Works", lamp)
    )


def _lost() -> timeseries.Panel:
    """Show what probes lost."""
    text = (
        "Which share of the events a probe did not count, because a buffer or a table was full, or "
        "another probe was at work on that CPU."
    )
    lost, seen = (
        f"sum by (probe) (increase({of(HOST, f'sysdx_probe_{name}_total')}{WINDOW}))"
        for name in ("lost_events", "events")
    )
    begun = asked(
        lines(31, "eBPF probes: lost events", text, 8, 10),
        (f"{lost} / (({lost} + {seen}) > 0)", "{{probe}}"),
    )
    return (
        begun.unit("percentunit")
        .axis_soft_max(0.01)
        .interval(STANDARD)
        .no_value("no probe has seen an event yet")
    )


def _memory() -> timeseries.Panel:
    """Show the memory that the program and its children take."""
    text = (
        "What the exporter has in memory; the largest that any child process ever was, which is "
        "gone after its sweep; and what the probes' maps took in the kernel in the last window."
    )
    begun = asked(
        lines(32, "Memory", text, 8, 10),
        (f"max({of(HOST, 'process_resident_memory_bytes')})", "exporter"),
        (f"max({of(HOST, 'sysdx_worker_peak_memory_bytes')})", "largest child, at its peak"),
        (f"max({of(HOST, 'sysdx_probe_map_memory_bytes')})", "maps of probes"),
    )
    return begun.unit("bytes").no_value("unknown")


def _cpu() -> timeseries.Panel:
    """Show the CPU time that it takes."""
    text = (
        "Share of one CPU that the exporter and its child processes, mostly the worker that "
        "compiles eBPF probes, take on average."
    )
    begun = asked(
        lines(33, "CPU", text, 8),
        (f"max(rate({of(HOST, 'process_cpu_seconds_total')}{WINDOW}))", "exporter"),
        (f"max(rate({of(HOST, 'sysdx_worker_cpu_seconds_total')}{WINDOW}))", "children"),
    )
    return begun.unit("percentunit").interval(STANDARD).no_value("unknown")


def _files() -> timeseries.Panel:
    """Show its open files."""
    text = "Open files and connections of the exporter; a number that only rises is a leak."
    begun = asked(
        lines(34, "Open files", text, 8),
        (f"max({of(HOST, 'process_open_fds')})", "open"),
    )
    return begun.unit("none").no_value("unknown")


def _scrapes() -> timeseries.Panel:
    """Show what a scrape costs."""
    text = (
        "How long Prometheus's scrapes took; a scrape collects nothing and only fetches what is "
        "ready. On the right axis the number of samples in one."
    )
    right = [prop("unit", "none"), prop("custom.axisPlacement", "right")]
    begun = asked(
        lines(35, "Scrapes", text, 8),
        (f"max({of(HOST, 'scrape_duration_seconds')})", "duration"),
        (f"max({of(HOST, 'scrape_samples_scraped')})", "samples"),
    )
    return begun.unit("s").override_by_query("B", right).no_value("unknown")


def exporter() -> dashboard.Dashboard:
    """
    Build the dashboard.

    Returns:
        The builder.

    """
    begun = board("sysdx-exporter", "Whether sysdx does its work on a host, and its cost.", 6)
    for each in _numbers():
        begun.with_panel(each)
    begun.with_panel(_durations()).with_panel(_outcomes())
    begun.with_panel(_ages()).with_panel(_report())
    begun.with_row(dashboard.Row("What is collected").id(100))
    begun.with_panel(_collectors()).with_panel(_turns())
    begun.with_panel(_errors()).with_panel(_absent()).with_panel(_dropped())
    begun.with_row(dashboard.Row("eBPF probes and cost").id(200))
    begun.with_panel(_probes()).with_panel(_lost()).with_panel(_memory())
    return begun.with_panel(_cpu()).with_panel(_files()).with_panel(_scrapes())
