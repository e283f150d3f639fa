"""One host: its score and why, what is wrong now, and the use of every resource."""

from __future__ import annotations

from grafana.source.frame import board
from grafana.source.parts import (
    BANDS,
    GREEN,
    HOST,
    NONE_IS_GOOD,
    ORANGE,
    RED,
    SOME_IS_WARNING,
    asked,
    asked_now,
    coloured,
    link,
    named,
    of,
    or_unknown,
    panel,
    prop,
    stepped,
)
from grafana.source.sdk import (
    bargauge,
    dashboard,
    gauge,
    kinds,
    model,
    options,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana.source.shapes import (
    arranged,
    last,
    lines,
    number,
    ranking,
    rows,
    stacked,
    tabled,
    timeline,
)
from grafana.source.use import details, grid

# Nobody can know where the documents are kept; see the README of this folder.
DOCUMENTS = "https://git.example.org/sysdx/docs"
_REPORT = "http://${instance}/report"
_STATUS = "http://${instance}/"
_DEDUCTIONS = (
    f"max by (cause, resource) ({of(HOST, 'sysdx_health_deduction_points')})",
    "{{cause}} ({{resource}})",
)
_SINCE = of(HOST, "sysdx_anomaly_since_timestamp_seconds")
_ACTIVE = of(HOST, "sysdx_anomaly_active")
_SEVERITIES = [
    {"type": "value", "options": {
        "critical": {"text": "critical", "color": RED, "index": 0},
        "warning": {"text": "warning", "color": ORANGE, "index": 1},
    }},
]  # fmt: skip


def _score() -> gauge.Panel:
    """Show the score."""
    text = (
        "100 less all deductions, from the latest sweep: healthy from 80 on, critical below 50. "
        "Unknown when too little of the host can be read, which is not the same as healthy. "
        "A click opens the report."
    )
    begun = asked_now(
        panel(gauge.Panel(), 1, "Health", text, 5, 8),
        (f"max({of(HOST, 'sysdx_health_score')})", ""),
    )
    opened = dashboard.DashboardLink("Report").url(_REPORT).target_blank(True)
    return (
        stepped(begun, or_unknown(BANDS))
        .unit("none")
        .decimals(0)
        .min(0)
        .max(100)
        .no_value("unknown")
        .reduce_options(last())
        .show_threshold_markers(True)
        .data_links([opened])
    )


def _numbers() -> list[stat.Panel]:
    """Show the numbers beside the score."""
    anomalies = "sum({})".format
    return [
        number(2, "Last complete sweep", "Time since the last sweep that ended with everything it "
               "should have; red when three sweeps of the quick profile are missing.",
               f"time() - max({of(HOST, 'sysdx_sweep_last_success_timestamp_seconds')})",
               ((None, GREEN), (180.0, ORANGE), (300.0, RED)), "s", "none yet"),
        number(3, "Critical anomalies", "Rules that are active and critical.",
               anomalies(of(HOST, "sysdx_anomalies", 'severity="critical"')), NONE_IS_GOOD),
        number(4, "Warnings", "Rules that are active as warnings.",
               anomalies(of(HOST, "sysdx_anomalies", 'severity="warning"')), SOME_IS_WARNING),
        number(5, "Known", "Weighted share of the resources whose essential collectors answered; "
               "below half there is no score.",
               f"max({of(HOST, 'sysdx_health_coverage_ratio')})",
               ((None, RED), (0.5, ORANGE), (1.0, GREEN)), "percentunit"),
        number(6, "Recommendations", "What the report advises to do; each has a finding behind it.",
               anomalies(of(HOST, "sysdx_recommendations")), SOME_IS_WARNING),
        number(7, "Anomalies raised or ended", "How often in the time shown a rule became active "
               "or quiet again; many mean that something comes and goes. A rule's first time since "
               "the exporter's start is not counted.",
               f"sum(increase({of(HOST, 'sysdx_anomaly_transitions_total')}[$__range])) "
               f"or 0 * sum({of(HOST, 'sysdx_health_coverage_ratio')})"),
    ]  # fmt: skip


def _history() -> timeseries.Panel:
    """Show the scores over time."""
    text = (
        "The host's score, and of each resource what is left after its own deductions. Gaps are "
        "times without a score: too little was known, or no sweep ended."
    )
    begun = asked(
        lines(8, "Score", text, 11, 8),
        (f"max({of(HOST, 'sysdx_health_score')})", "host"),
        (f"max by (resource) ({of(HOST, 'sysdx_resource_health_score')})", "{{resource}}"),
    )
    style = options.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
    thick = [prop("custom.lineWidth", 3), prop("custom.fillOpacity", 0)]
    return (
        stepped(begun, BANDS)
        .thresholds_style(style)
        .unit("none")
        .max(100)
        .fill_opacity(0)
        .no_value("unknown")
        .override_by_name("host", thick)
    )


def _why_now() -> bargauge.Panel:
    """Show what the score consists of."""
    text = (
        "Points that each cause costs now; a cause and its consequences are charged once. Their "
        "sum is 100 less the score."
    )
    points, legend = _DEDUCTIONS
    begun = asked_now(
        ranking(9, "Why it is not 100 now", text, 8, 8), (f"sort_desc({points})", legend)
    )
    return (
        stepped(begun, ((None, ORANGE), (25.0, RED)))
        .unit("none")
        .decimals(1)
        .max(100)
        .no_value("no deduction known")
    )


def _why() -> timeseries.Panel:
    """Show what was deducted over time."""
    text = "Points that each cause cost; the height of all of them is 100 less the score."
    begun = asked(lines(10, "Deductions", text, 12, 8), _DEDUCTIONS)
    return stacked(begun).unit("none").no_value("no deduction known in this time")


def _causes() -> table.Panel:
    """Show what is suspected."""
    text = (
        "What may be behind the active anomalies, and how sure the diagnosis is of it; the report "
        "says what speaks for and against each. Its name leads to what it means."
    )
    found = of(HOST, "sysdx_hypothesis_confidence_ratio")
    begun = tabled(rows(11, "Suspected causes", text, 8, 8), f"max by (cause, resource) ({found})")
    columns = {"cause": "Cause", "resource": "Resource", "Value": "Confidence"}
    return (
        arranged(begun, columns, (), ("Confidence", True))
        .no_value("none known")
        .override_by_name("Cause", [prop("links", [
            link("What the cause means", "${docs}/causes.md#${__value.raw}"),
            link("Report", _REPORT),
        ])])
        .override_by_name("Confidence", [
            prop("unit", "percentunit"),
            prop("decimals", 0),
            prop("min", 0),
            prop("max", 1),
            prop("custom.cellOptions", {"type": "gauge", "mode": "basic"}),
            prop("thresholds", coloured(((None, ORANGE),))),
        ])
    )  # fmt: skip


def _anomalies() -> table.Panel:
    """Show which rules are active, and since when."""
    text = (
        "Rules that are active now. The rule's name leads to what it means and where its "
        "thresholds come from, and to the status page with evidence, culprits and advice."
    )
    active = f"max by (rule, resource, severity) ({_ACTIVE} == 1)"
    since = f"max by (rule) ({_SINCE})"
    begun = tabled(
        rows(12, "Anomalies now", text, 12, 8),
        f"1000 * {active} * on (rule) group_left () {since}",
    )
    columns = {"severity": "Severity", "resource": "Resource", "rule": "Rule", "Value": "Since"}
    return (
        arranged(begun, columns, (), ("Severity", False))
        .no_value("none known")
        .override_by_name("Severity", [
            prop("mappings", _SEVERITIES),
            prop("custom.cellOptions", {"type": "color-background"}),
        ])
        .override_by_name("Rule", [prop("links", [
            link("What the rule means", "${docs}/rules.md#${__value.raw}"),
            link("Status page", _STATUS),
            link("Report", _REPORT),
        ])])
        .override_by_name("Since", [prop("unit", "dateTimeFromNow")])
    )  # fmt: skip


def _timeline() -> statetimeline.Panel:
    """Show when which rule was active."""
    text = (
        "Every rule that was active at some moment of the time shown, and how severe it was. "
        "Gaps are times without a sweep."
    )
    critical, warning = (
        of(HOST, "sysdx_anomaly_active", f'severity="{name}"') for name in ("critical", "warning")
    )
    seen = f"count by (rule) (count_over_time({_SINCE}[$__range] @ end()))"
    begun = asked(
        timeline(13, "Rules over time", text, 24, 9),
        (f"max by (rule) (2 * {critical} or {warning}) and on (rule) {seen}", "{{rule}}"),
    )
    states = {"0": ("quiet", GREEN), "1": ("warning", ORANGE), "2": ("critical", RED)}
    return begun.mappings(named(states)).no_value("none known in this time").per_page(20)


def _documents() -> dashboard.TextBoxVariable:
    """Let the reader say where the documents are kept."""
    return (
        dashboard.TextBoxVariable("docs")
        .label("Documents at")
        .description("Where the folder docs/ of sysdx can be read, on a server of yours.")
        .default_value(DOCUMENTS)
        .current(model.VariableOption(selected=True, text=DOCUMENTS, value=DOCUMENTS))
    )


def host() -> dashboard.Dashboard:
    """
    Build the dashboard.

    Returns:
        The builder.

    """
    begun = board("sysdx-host", "One host: its health, why, and the use of every resource.", 6)
    begun.with_variable(_documents())
    begun.with_panel(_score().grid_pos(model.GridPos(h=8, w=5, x=0, y=0)))
    for place, each in enumerate(_numbers()):
        x, y = 5 + 4 * (place % 2), 4 * (place // 2)
        begun.with_panel(each.grid_pos(model.GridPos(h=4, w=4, x=x, y=y)))
    begun.with_panel(_history().grid_pos(model.GridPos(h=12, w=11, x=13, y=0)))
    begun.with_panel(_sweeps().grid_pos(model.GridPos(h=4, w=5, x=0, y=8)))
    begun.with_panel(_why_now().grid_pos(model.GridPos(h=8, w=8, x=0, y=12)))
    begun.with_panel(_causes().grid_pos(model.GridPos(h=8, w=8, x=8, y=12)))
    begun.with_panel(_why().grid_pos(model.GridPos(h=8, w=8, x=16, y=12)))
    begun.with_panel(_anomalies().grid_pos(model.GridPos(h=9, w=10, x=0, y=20)))
    begun.with_panel(_timeline().grid_pos(model.GridPos(h=9, w=14, x=10, y=20)))
    return details(grid(begun, 29))


def _sweeps() -> table.Panel:
    """Name the report behind the values; a table, because a stat of a name is blank without one."""
    text = "The report that these values come from. The host keeps as many as it is told to."
    known = of(HOST, "sysdx_report_info")
    newest = f"max by (report_id) ({known} and topk(1, timestamp({known})))"
    begun = tabled(rows(14, "Report", text, 5, 4), newest)
    return (
        arranged(begun, {"report_id": "Name"}, ("Value",), ("Name", False))
        .no_value("none: no sweep is fresh enough")
        .override_by_name(
            "Name", [prop("links", [link("This report", f"{_REPORT}s/${{__value.raw}}")])]
        )
    )
