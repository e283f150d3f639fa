"""What surrounds the panels: variables, links, annotations, and the JSON itself."""

from __future__ import annotations

import json
from typing import Any

from grafana.source.sdk import JSONEncoder, dashboard, kinds, model

DATASOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")
TITLES = {
    "sysdx-fleet": "sysdx / Fleet",
    "sysdx-host": "sysdx / Host",
    "sysdx-latency": "sysdx / Latency",
    "sysdx-exporter": "sysdx / Exporter health",
}
# One host is chosen there, so what was chosen for many must not be carried over.
_FLEET = "sysdx-fleet"
_CARRIED = "${datasource:queryparam}&${job:queryparam}"
_TAGS = ["sysdx"]


def board(uid: str, text: str, hours: int) -> dashboard.Dashboard:
    """
    Begin a dashboard.

    Args:
        uid: Its identity, which never changes.
        text: What it shows.
        hours: How far back it looks at first [h].

    Returns:
        The builder, with data source, job, links to the other dashboards and the alerts.

    """
    begun = (
        dashboard.Dashboard(TITLES[uid])
        .uid(uid)
        .tags(_TAGS)
        .description(text)
        .readonly()
        .refresh("1m")
        .time(f"now-{hours}h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Source").type("prometheus")
        )
        .with_variable(_jobs())
        .with_variable(_hosts(many=uid == _FLEET))
        .annotation(_alerts())
    )
    for other, title in TITLES.items():
        if other != uid:
            begun.link(_to(other, title, from_fleet=uid == _FLEET))
    return begun if uid == _FLEET else _of_one_host(begun)


def _of_one_host(begun: dashboard.Dashboard) -> dashboard.Dashboard:
    """Add what the host itself serves, and what happened to its exporter."""
    return (
        begun.link(_out("Status page", "http://${instance}/", "the newest report, for people"))
        .link(_out("Report", "http://${instance}/report", "the newest report as JSON"))
        .annotation(_failed_sweeps())
        .annotation(_starts())
    )


def _jobs() -> dashboard.QueryVariable:
    """
    Ask which jobs there are.

    "All" is the list of them and not a pattern: `up` exists for everything that is scraped.
    """
    return (
        dashboard.QueryVariable("job")
        .label("Job")
        .datasource(DATASOURCE)
        .query({"query": "label_values(sysdx_build_info, job)", "refId": "job"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )


def _hosts(*, many: bool) -> dashboard.QueryVariable:
    """Ask which hosts the jobs have; a list of five hundred would be a slow query."""
    variable = (
        dashboard.QueryVariable("instance")
        .label("Host")
        .datasource(DATASOURCE)
        .query(
            {
                "query": 'label_values(sysdx_build_info{job=~"$job"}, instance)',
                "refId": "instance",
            }
        )
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    if not many:
        return variable
    return (
        variable.multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )


def _to(uid: str, title: str, *, from_fleet: bool) -> dashboard.DashboardLink:
    """Link to another dashboard, with what is chosen here where it can be chosen there."""
    link = (
        dashboard.DashboardLink(title.removeprefix("sysdx / "))
        .type(model.DashboardLinkType.LINK)
        .icon("dashboard")
        .tooltip(title)
        .keep_time(True)
    )
    if from_fleet or uid == _FLEET:
        return link.url(f"/d/{uid}?{_CARRIED}")
    return link.url(f"/d/{uid}").include_vars(True)


def _out(title: str, url: str, text: str) -> dashboard.DashboardLink:
    """Link to the host."""
    return (
        dashboard.DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .icon("external link")
        .tooltip(text)
        .url(url)
        .target_blank(True)
    )


def _note(name: str, color: str, expr: str) -> dashboard.AnnotationQuery:
    """Begin an annotation."""
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color(color)
        .expr(expr)
    )


def _alerts() -> dashboard.AnnotationQuery:
    """Show when alerts fired; the watchdog always does."""
    chosen = (
        'ALERTS{alertname=~"Sysdx.*", alertname!="SysdxWatchdog", alertstate="firing", '
        'job=~"$job", instance=~"$instance"}'
    )
    return (
        _note("Alerts", "red", chosen)
        .title_format("{{alertname}}")
        .text_format("{{instance}}: {{severity}}")
        .tag_keys("severity")
        .step("60s")
    )


def _failed_sweeps() -> dashboard.AnnotationQuery:
    """Show when sweeps did not come to their end."""
    chosen = (
        'sum by (profile, outcome) (increase(sysdx_sweeps_total{job=~"$job", '
        'instance=~"$instance", outcome=~"partial|cancelled|failed"}[2m15s])) > 0'
    )
    return (
        _note("Incomplete sweeps", "orange", chosen)
        .title_format("{{profile}} sweep {{outcome}}")
        .step("120s")
    )


def _starts() -> dashboard.AnnotationQuery:
    """Show when the exporter was started."""
    chosen = (
        'max by (instance) (process_start_time_seconds{job=~"$job", instance=~"$instance"}) * 1000'
    )
    return (
        _note("Exporter started", "blue", chosen)
        .title_format("exporter started")
        .use_value_for_time(True)
        .step("600s")
    )


def written(begun: dashboard.Dashboard) -> str:
    """
    Write a dashboard down.

    Args:
        begun: The builder.

    Returns:
        Its JSON, the same text for the same dashboard.

    """
    body: dict[str, Any] = json.loads(JSONEncoder().encode(begun.build()))
    for note in body["annotations"]["list"]:
        note.pop("placement", None)  # by default the SDK hides the switch in a menu
    for variable in body["templating"]["list"]:
        _plain(variable)
    return json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(variable: dict[str, Any]) -> None:
    """Take out what the SDK fills in for other kinds of variables."""
    for name in ("auto", "auto_count", "auto_min"):
        variable.pop(name, None)
