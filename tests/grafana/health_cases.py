"""What the alerts on a host's health must do; see alert_cases.py for the notation."""

from __future__ import annotations

from tests.grafana.promtool import HOST, Case, Firing, series

SCORE, UP = series("sysdx_health_score"), series("up")
_LOST = "sysdx_health_deduction_points"
# Four causes, of which an alert names the three dearest.
_DEDUCTIONS = {
    series(_LOST, resource="memory", cause="memory_stall"): 12.5,
    series(_LOST, resource="cpu", cause="cpu_saturation"): 37.5,
    series(_LOST, resource="network", cause="retransmits"): 5,
    series(_LOST, resource="disk", cause="disk_latency"): 25,
}
_REASONS = (
    "Points lost to: cpu_saturation (cpu) 37.5, disk_latency (disk) 25.0, memory_stall (memory) "
    "12.5."
)
_NAMES = " The report names the culprits and what to do."


def _page(
    times: str, score: str, reasons: str = "What it lost points to is unknown by now."
) -> Firing:
    labels = HOST | {"severity": "critical"}
    return Firing(times, labels, f"Health of h1:10987 is critical: {score}", reasons + _NAMES)


def _critical(
    name: str, values: str, quiet: str, *pages: Firing, up: str = "1x60", interval: str = "1m",
    **more: str,
) -> Case:  # fmt: skip
    rows = {SCORE: values, UP: up} | more
    return Case("SysdxHealthCritical", name, rows, quiet, pages, interval=interval)


def _criticals() -> list[Case]:
    known = {row: f"{points}x60" for row, points in _DEDUCTIONS.items()}
    missed = {row: f"{points}x11 stale {points}x40" for row, points in _DEDUCTIONS.items()}
    return [
        _critical("it falls, eases, recovers", "95x4 35x9 55x9 65x20", "4m 9m 25m",
                  _page("10m 14m", "35.0 of 100", _REASONS),
                  _page("15m 24m", "55.0 of 100", _REASONS), **known),
        _critical("one missed scrape in each phase", "95x4 35x2 stale 35x3 stale 35x2 stale 55x3 "
                  "stale 55x3 65x9", "9m 27m", _page("10m 13m 16m 17m", "35.0 of 100"),
                  _page("18m 22m 26m", "55.0 of 100")),
        _critical("the reasons outlive a missed scrape", "35x11 stale 35x20", "4m",
                  _page("12m", "35.0 of 100", _REASONS), **missed),
        _critical("the reasons are not those of long ago", "35x30", "4m",
                  _page("14m", "35.0 of 100"),
                  **{row: f"{points}x9 stale" for row, points in _DEDUCTIONS.items()}),
        _critical("the score does not last", "35x9 stale", "4m", _page("9m 13m", "35.0 of 100"),
                  _page("16m", "unknown by now")),
        _critical("between the thresholds without a page", "95x4 55x30", "12m 30m"),
        _critical("50 is not critical", "50x30", "5m 12m 29m"),
        _critical("a little less than 50 is", "49x30", "4m", _page("5m 29m", "49.0 of 100")),
        _critical("60 ends it", "35x9 60x20", "4m 10m 20m", _page("9m", "35.0 of 100")),
        _critical("59 does not", "35x9 59x20", "4m", _page("29m", "59.0 of 100")),
        _critical("a short dip", "95x9 20x3 95x20", "12m 14m 16m 20m"),
        _critical("a dip, then unknown", "_ 35 stale", "4m 6m 10m 20m", interval="30s"),
        _critical("no score without a page", "95x4 stale", "9m 15m 40m"),
        _critical("the score is lost, and returns good", "35x9 stale _x19 80x9", "4m 30m",
                  _page("9m", "35.0 of 100"), _page("20m 29m", "unknown by now")),
        _critical("the host dies", "35x9 stale", "4m", _page("20m 58m", "unknown by now"),
                  up="1x9 0x60", **{series("sysdx_health_score", instance="h2:10987"): "95x60"}),
        _critical("the host is taken away", "35x9 stale", "4m 33m 40m",
                  _page("29m", "unknown by now"), up="1x29 stale"),
        _critical("long after the end, near it again", "35x9 80x9 55x20", "4m 12m 20m 25m 35m",
                  _page("9m", "35.0 of 100")),
        _critical("two missed scrapes", "35x2 stale _ 35x4 stale _ 55x2 stale _ 55x5 70x9",
                  "4m 23m", _page("5m 8m 9m 10m 11m", "35.0 of 100"),
                  _page("12m 15m 16m 22m", "55.0 of 100")),
        _critical("near it, with another alert", "55x20", "6m 15m",
                  **{series("ALERTS", alertname="Other", alertstate="firing"): "1x20"}),
        _critical("another host is near it", "35x20", "4m", _page("15m 20m", "35.0 of 100"),
                  **{series("sysdx_health_score", instance="h2:10987"): "55x20"}),
    ]  # fmt: skip


def _degraded(name: str, values: str, quiet: str, firing: str = "", **more: str) -> Case:
    lasting = any(values.endswith("x200") for values in more.values())
    reasons = _REASONS if lasting else "Nothing costs points right now."
    text = f"{reasons} The score has averaged less than 80, the edge of the healthy band."
    labels = HOST | {"severity": "warning"}
    fires = [Firing(firing, labels, "Health of h1:10987 stays degraded", text)] if firing else []
    return Case("SysdxHealthDegraded", name, {SCORE: values} | more, quiet, fires)


def _degradeds() -> list[Case]:
    known = {row: f"{points}x200" for row, points in _DEDUCTIONS.items()}
    return [
        _degraded("an hour long", "95x10 60x120 95x60", "18m 28m 154m", "30m 130m 150m"),
        _degraded("with its reasons", "60x200", "9m", "11m 200m", **known),
        _degraded("its reasons are over", "60x60", "9m", "24m 60m",
                  **{row: f"{points}x19 stale" for row, points in _DEDUCTIONS.items()}),
        _degraded("two missed scrapes", "60x20 stale 60x20 stale 60x9", "9m", "21m 42m"),
        _degraded("recovering", "50x60 90x60", "100m", "75m"),
        _degraded("only just now", "100x60 60x25", "70m 84m"),
        _degraded("an hour after a good day", "100x180 60x90", "190m", "260m"),
        _degraded("it comes and goes", " ".join(["60x5 95x3"] * 9), "9m", "40m 85m"),
        _degraded("80 is healthy", "80x120", "60m 119m"),
        _degraded("79 is not", "79x120", "9m", "60m 119m"),
    ]  # fmt: skip


def _anomaly(name: str, rows: dict[str, str], quiet: str, *firing: Firing) -> Case:
    return Case("SysdxAnomaly", name, rows, quiet, firing)


def _critically(times: str, since: str, count: str) -> Firing:
    labels = HOST | {"severity": "warning", "resource": "disk", "rule": "disk_latency"}
    text = (
        f"{since} Critical anomalies on this host: {count}. docs/rules.md explains the rule, the "
        "report gives evidence, culprits and advice."
    )
    return Firing(times, labels, "disk_latency (disk) is critical on h1:10987", text)


def _anomalies() -> list[Case]:
    def active(severity: str) -> str:
        more = {"severity": severity, "resource": "disk", "rule": "disk_latency"}
        return series("sysdx_anomaly_active", **more)

    since = series("sysdx_anomaly_since_timestamp_seconds", rule="disk_latency")
    count = {
        series("sysdx_anomalies", resource=resource, severity=severity): f"{number}x60"
        for resource, severity, number in
        [("disk", "critical", 1), ("cpu", "critical", 2), ("cpu", "warning", 4)]
    }  # fmt: skip
    began, over = "It began at 1970-01-01 00:05:00 +0000 UTC.", "It is over by now, or unknown."
    known = {since: "_x5 300x19 stale"} | count
    return [
        _anomaly("it comes and goes", {active("critical"): "0x4 1x20 0x40"} | known, "4m 14m 37m",
                 _critically("15m 25m 34m", began, "3")),
        _anomaly("one missed scrape on the way and one later",
                 {active("critical"): "0x4 1x4 stale 1x9 stale 1x9"}, "14m",
                 _critically("15m 20m 21m", over, "unknown")),
        _anomaly("it eases to a warning", {active("critical"): "1x19 stale",
                                           active("warning"): "_x20 1x40"}, "9m 36m",
                 _critically("10m 19m 32m", over, "unknown")),
        _anomaly("the rest is not known any more",
                 {active("critical"): "1x40", since: "300x9 stale"}
                 | dict.fromkeys(count, "1x9 stale"), "9m",
                 _critically("18m 40m", over, "unknown")),
        _anomaly("a warning", {active("warning"): "1x60"}, "15m 59m"),
        _anomaly("a short one", {active("critical"): "0x4 1x7 0x40"}, "14m 16m 30m"),
    ]  # fmt: skip


HEALTH: tuple[Case, ...] = (*_criticals(), *_degradeds(), *_anomalies())
