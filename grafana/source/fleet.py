"""The fleet: which hosts need somebody, and what is wrong with most of them."""

from __future__ import annotations

from grafana.source.frame import board
from grafana.source.parts import (
    BANDS,
    FLEET,
    GREEN,
    NONE_IS_GOOD,
    ORANGE,
    RED,
    SOME_IS_WARNING,
    STANDARD,
    WINDOW,
    asked,
    asked_now,
    coloured,
    link,
    named,
    of,
    prop,
    stepped,
)
from grafana.source.sdk import bargauge, dashboard, model, stat, statetimeline, table, timeseries
from grafana.source.shapes import (
    arranged,
    lines,
    logarithmic,
    number,
    ranking,
    rows,
    tabled,
    timeline,
)

_SCORE = of(FLEET, "instance:sysdx_health_score:last5m")
_CRITICAL = of(FLEET, "instance:sysdx_anomalies:critical")
_WARNING = of(FLEET, "instance:sysdx_anomalies:warning")
_AGE = of(FLEET, "instance:sysdx_sweep_age:seconds")
_BY_HOST = "max by (instance, job)"


def _use(resource: str) -> str:
    """Select the use of a resource."""
    return of(FLEET, "instance:sysdx_resource_utilization:ratio", f'resource="{resource}"')


def _numbers() -> list[stat.Panel]:
    """Count hosts by what they need."""
    return [
        number(1, "Hosts", "Hosts whose exporter is known to Prometheus.",
               f"count({of(FLEET, 'sysdx_build_info')})", width=3, nothing="0"),
        number(2, "Not answering", "Hosts whose last scrape failed: their exporter is down, or the "
               "way to it.", f"sum(1 - {of(FLEET, 'up')})", NONE_IS_GOOD, width=3),
        number(3, "Worst score", "The lowest health score of all hosts; from 80 on healthy, below "
               "50 critical.", f"min({_SCORE})", BANDS, width=3, decimals=1),
        number(4, "Critical hosts", "Hosts with a score below 50; those without a score are not "
               "counted.", f"sum({_SCORE} < bool 50)", NONE_IS_GOOD, width=3),
        number(5, "Degraded hosts", "Hosts with a score from 50 to 80.",
               f"sum(({_SCORE} >= bool 50) * ({_SCORE} < bool 80))", SOME_IS_WARNING, width=3),
        number(6, "With anomalies", "Hosts on which at least one rule is active.",
               f"sum(({_CRITICAL} + {_WARNING}) > bool 0)", SOME_IS_WARNING, width=3),
        number(7, "Stale sweeps", "Hosts whose last complete sweep is older than three intervals "
               "of their most frequent profile: what is shown of them may be old.",
               f"sum({_AGE} > bool on (job, instance) 3 * min by (job, instance) "
               f"({of(FLEET, 'sysdx_sweep_interval_seconds')}))", NONE_IS_GOOD, width=3),
        number(8, "Failing collectors", "Collectors that brought nothing in their last sweep, on "
               "all hosts; what a host does not have is not counted.",
               f"sum(1 - {of(FLEET, 'sysdx_collector_success')})", SOME_IS_WARNING, width=3),
    ]  # fmt: skip


_COLUMNS = {
    "instance": "Host",
    "Value #A": "Health",
    "Value #B": "Critical",
    "Value #C": "Warning",
    "Value #D": "Sweep age",
    "Value #E": "CPU",
    "Value #F": "Memory",
    "Value #G": "Disk",
    "Value #H": "File system",
}
_HOST = "/d/sysdx-host?${datasource:queryparam}&var-instance=${__value.raw}&${__url_time_range}"


def _worst() -> table.Panel:
    """List the hosts, worst first."""
    text = (
        "One row per host, the lowest score first. The host's name leads to its dashboard and its "
        "status page, the score to the report with its reasons. Unknown values are empty."
    )
    counts = (_CRITICAL, _WARNING, _AGE)
    uses = (_use(name) for name in ("cpu", "memory", "disk", "filesystem"))
    asked_for = [f"{_BY_HOST} ({what})" for what in (_SCORE, *counts, *uses)]
    begun = tabled(rows(10, "Hosts, worst first", text, 24, 10), *asked_for)
    arranged(begun, _COLUMNS, ("job",), ("Health", False))
    return (
        begun.no_value("unknown")
        .override_by_name("Host", [prop("links", [
            link("Host dashboard", _HOST, away=False),
            link("Status page", "http://${__value.raw}/"),
        ])])
        .override_by_name("Health", [
            prop("thresholds", coloured(BANDS)),
            prop("custom.cellOptions", {"type": "color-background"}),
            prop("decimals", 1),
            prop("links", [link("Report", "http://${__data.fields.Host}/report")]),
        ])
        .override_by_name("Critical", _lamp(RED))
        .override_by_name("Warning", _lamp(ORANGE))
        .override_by_name("Sweep age", [
            prop("unit", "s"),
            prop("decimals", 0),
            prop("thresholds", coloured(((None, "text"), (180.0, ORANGE), (600.0, RED)))),
            prop("custom.cellOptions", {"type": "color-text"}),
        ])
        .override_by_regexp("/^(CPU|Memory|Disk|File system)$/", [
            prop("unit", "percentunit"),
            prop("decimals", 0),
            prop("min", 0),
            prop("max", 1),
            prop("custom.cellOptions", {"type": "gauge", "mode": "basic"}),
            prop("thresholds", coloured(((None, GREEN), (0.8, ORANGE), (0.95, RED)))),
        ])
    )  # fmt: skip


def _lamp(color: str) -> list[model.DynamicConfigValue]:
    """Colour a count that is not zero."""
    return [
        prop("thresholds", coloured(((None, "transparent"), (1.0, color)))),
        prop("custom.cellOptions", {"type": "color-background"}),
    ]


def _bands() -> statetimeline.Panel:
    """Show each host's band over time."""
    text = (
        "Healthy from 80 on, degraded from 50 on, critical below. Gaps are times in which too "
        "little was known for a score, or nothing was scraped."
    )
    score = f"min by (instance) ({_SCORE})"
    begun = asked(
        timeline(11, "Score bands", text, 24, 10),
        (f"({score} >= bool 50) + ({score} >= bool 80)", "{{instance}}"),
    )
    return (
        begun.no_value("no score is known")
        .per_page(25)
        .mappings(
            named({"0": ("critical", RED), "1": ("degraded", ORANGE), "2": ("healthy", GREEN)})
        )
    )


def _frequent() -> bargauge.Panel:
    """Rank the anomalies."""
    text = (
        "In which share of all hosts' time each rule was active, over the time shown. A rule that "
        "is active on one of ten hosts all the time has 10 %."
    )
    active = f"sum by (rule) (count_over_time({of(FLEET, 'sysdx_anomaly_since_timestamp_seconds')}"
    known = f"sum(count_over_time({of(FLEET, 'sysdx_health_coverage_ratio')}[$__range]))"
    begun = asked_now(
        ranking(12, "Most frequent anomalies", text),
        (f"topk(15, {active}[$__range])) / on () group_left () {known})", "{{rule}}"),
    )
    return stepped(begun, ((None, ORANGE),)).unit("percentunit").no_value("none known").max(1)


def _causes() -> bargauge.Panel:
    """Count the suspected causes."""
    text = (
        "What the diagnosis suspects now, by the number of hosts; on how many of them it is the "
        "same thing."
    )
    found = of(FLEET, "sysdx_hypothesis_confidence_ratio")
    begun = asked_now(
        ranking(13, "Suspected causes now", text),
        (f"topk(15, count by (cause) (max by (instance, cause) ({found})))", "{{cause}}"),
    )
    return stepped(begun, ((None, ORANGE),)).unit("none").decimals(0).no_value("none known")


def _latency(panel_id: int, title: str, what: str, family: str) -> timeseries.Panel:
    """Show the slowest hundredth of the hosts that have it worst."""
    text = (
        f"How long the slowest hundredth of {what} took, on the ten hosts that have it worst. "
        "Estimated from power-of-two buckets: true within a factor of two. Standard and deep "
        "sweeps look at it."
    )
    rate = f"rate({of(FLEET, f'{family}_bucket')}{WINDOW})"
    begun = asked(
        lines(panel_id, title, text, 12),
        (f"topk(10, histogram_quantile(0.99, sum by (le, instance) ({rate})))", "{{instance}}"),
    )
    return logarithmic(begun).unit("s").interval(STANDARD).no_value("nothing was seen")


def _resources() -> timeseries.Panel:
    """Show how the whole fleet is used."""
    text = "Mean utilization of each resource over all hosts, and of the fullest tenth of them."
    use = of(FLEET, "instance:sysdx_resource_utilization:ratio")
    return (
        asked(
            lines(16, "Utilization of the fleet", text, 12),
            (f"avg by (resource) ({use})", "{{resource}}, mean"),
            (f"quantile by (resource) (0.9, {use})", "{{resource}}, p90 of hosts"),
        )
        .unit("percentunit")
        .max(1)
        .no_value("unknown")
    )


def _versions() -> bargauge.Panel:
    """Count the versions."""
    begun = asked_now(
        ranking(17, "Versions", "How many hosts run which version of sysdx.", 6, 7),
        (f"count by (version) ({of(FLEET, 'sysdx_build_info')})", "{{version}}"),
    )
    return stepped(begun, ((None, "blue"),)).unit("none").decimals(0).no_value("none known")


def _answering() -> stat.Panel:
    """Tell which part of the scrapes succeeded."""
    text = "Share of all scrapes in the time shown that succeeded; restarts and lost packets count."
    good = ((None, RED), (0.9, ORANGE), (0.99, GREEN))
    share = f"avg(avg_over_time({of(FLEET, 'up')}[$__range]))"
    return number(
        18, "Scrapes that succeeded", text, share, good, "percentunit", width=6, decimals=1
    )


def fleet() -> dashboard.Dashboard:
    """
    Build the dashboard.

    Returns:
        The builder.

    """
    begun = board("sysdx-fleet", "All hosts: the worst first, and what is wrong with most.", 6)
    for each in _numbers():
        begun.with_panel(each)
    begun.with_panel(_worst()).with_panel(_bands()).with_panel(_frequent()).with_panel(_causes())
    begun.with_panel(
        _latency(14, "Slowest storage", "block I/O", "sysdx_block_io_latency_seconds")
    ).with_panel(
        _latency(
            15, "Longest waits for a CPU", "waits for a CPU", "sysdx_run_queue_latency_seconds"
        )
    )
    begun.with_panel(_resources()).with_panel(_versions().height(7))
    return begun.with_panel(_answering().height(7))
