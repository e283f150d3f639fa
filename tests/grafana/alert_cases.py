"""
What each alert must do: fire, just not fire, survive a missed scrape, and end.

A scrape that fails marks every series of its target as gone, which promtool writes as "stale".
"1x4" are five values: the first and four more. Times are chosen so that Prometheus 2 and 3 agree,
which differ on a sample that is exactly as old as a window is long.
"""

from __future__ import annotations

from tests.grafana.health_cases import HEALTH
from tests.grafana.promtool import HOST, Case, Firing, counter, series

WARNING = HOST | {"severity": "warning"}
UP = series("up")
ELSEWHERE = 'up{job="node",instance="n1:9100"}'


def _watchdog() -> list[Case]:
    text = (
        "This alert always fires. Whoever receives it should raise the alarm when it stops: then "
        "no other alert would arrive either."
    )
    firing = Firing("0m 30m", {"severity": "none"}, "Alerts reach their receivers", text)
    return [Case("SysdxWatchdog", "always", {}, firing=[firing])]


def _absent() -> list[Case]:
    def case(name: str, values: dict[str, str], quiet: str, firing: str = "") -> Case:
        text = (
            'No target has a job whose name contains "sysdx". Either service discovery lost them, '
            "or the job has another name and the alerts on missing hosts are blind."
        )
        summary = "Prometheus knows no sysdx at all"
        fires = [Firing(firing, {"severity": "warning"}, summary, text)] if firing else []
        return Case("SysdxAbsent", name, values, quiet, fires)

    return [
        case("only others are scraped", {ELSEWHERE: "1x60"}, "9m", "10m 59m"),
        case("a target that is down is there", {UP: "0x60"}, "10m 59m"),
        case("a longer name will do", {series("up", job="eu-sysdx-2"): "1x60"}, "10m 59m"),
        case("a target returns", {UP: "_x30 1x20"}, "9m 31m", "10m 29m"),
    ]


def _down() -> list[Case]:
    text = (
        "Scrapes have failed for five minutes or longer. Nothing is known of this host meanwhile, "
        "which is not the same as healthy."
    )
    firing = Firing("15m 30m", WARNING, "sysdx on h1:10987 cannot be scraped", text)
    return [
        Case("SysdxDown", "an outage", {UP: "1x9 0x20 1x9"}, "9m 14m 31m", [firing]),
        Case("SysdxDown", "one missed scrape", {UP: "1x9 0 1x9"}, "10m 11m 15m"),
        Case("SysdxDown", "another exporter", {ELSEWHERE: "0x40"}, "15m 40m"),
    ]


def _unreliable() -> list[Case]:
    def case(name: str, values: str, quiet: str, firing: str = "") -> Case:
        text = (
            "More than a tenth of the scrapes of the last half hour failed, in more than one piece."
        )
        summary = "Scrapes of h1:10987 keep failing"
        fires = [Firing(firing, WARNING, summary, text)] if firing else []
        return Case("SysdxUnreliable", name, {UP: values}, quiet, fires)

    every_fourth = " ".join(["1 1 1 0"] * 8)
    in_threes = " ".join(["1x11 0x2"] * 6)
    return [
        case("every fourth fails", f"{every_fourth} 1x60", "6m 70m", "7m 31m"),
        case("three in fifteen fail", in_threes, "26m", "41m 56m 71m"),
        case("they begin to fail", f"1x120 {every_fourth}", "120m", "150m"),
        case("two outages with an hour between", "1x9 0x5 1x43 0x5 1x30", "65m 66m 70m"),
        case("one outage is for SysdxDown", "1x30 0x9 1x40", "35m 40m 42m 60m"),
        case("two in thirty are no trouble", "1x20 0 1x12 0 1x40", "21m 34m 40m"),
        Case("SysdxUnreliable", "others", {ELSEWHERE: every_fourth}, "20m 31m"),
    ]


def _sweep(profile: str, successes: str, interval: int, more: str = "x300") -> dict[str, str]:
    return {
        series("sysdx_sweep_last_success_timestamp_seconds", profile=profile): successes,
        series("sysdx_sweep_interval_seconds", profile=profile): f"{interval}{more}",
    }


def _stale() -> list[Case]:
    def case(name: str, values: dict[str, str], quiet: str, **ages: str) -> Case:
        text = (
            "Three in a row are missing. The exporter answers, but sweeps of this profile fail, "
            "are cut off at their timeout, or do not start."
        )
        summary = "No complete quick sweep on h1:10987 for "
        labels = WARNING | {"profile": "quick"}
        fires = [Firing(at.strip("_"), labels, summary + age, text) for at, age in ages.items()]
        return Case("SysdxSweepStale", name, values, quiet, fires)

    beginning = "0 60 120 180 240 300"
    gone = {
        series("sysdx_sweep_last_success_timestamp_seconds", profile="quick"): f"{beginning} stale",
        series("sysdx_sweep_interval_seconds", profile="quick"): "60x5 stale",
    }
    return [
        case("they stop", _sweep("quick", f"{beginning}x15 1260x20", 60), "9m 14m 21m",
             _15m="10m 0s", _20m="15m 0s"),
        case("a little later", _sweep("quick", "0 60 120 180 240 350x30", 60), "10m 14m",
             _15m="9m 10s"),
        case("two missed scrapes",
             _sweep("quick", f"{beginning}x10 stale _ 300x20", 60, "x15 stale _ 60x20"), "14m",
             _15m="10m 0s", _17m="12m 0s", _18m="13m 0s"),
        case("one missed scrape on the way",
             _sweep("quick", f"{beginning}x7 stale 300x9", 60, "x12 stale 60x9"), "14m",
             _15m="10m 0s"),
        case("a long interval", _sweep("quick", "0x60", 600), "31m 36m", _37m="37m 0s"),
        case("a long interval, in time", _sweep("quick", "0x9 600x9 1200x20", 600), "19m 38m"),
        case("a target that is down is not stale", gone, "12m 15m 20m"),
    ]  # fmt: skip


def _no_first() -> list[Case]:
    start = series("process_start_time_seconds")

    def case(name: str, values: dict[str, str], quiet: str, **ages: str) -> Case:
        text = (
            "It started {} ago, and two intervals of its most frequent profile have passed "
            "without a complete sweep."
        )
        summary = "sysdx on h1:10987 has not completed a sweep yet"
        fires = [Firing(t.strip("_"), WARNING, summary, text.format(a)) for t, a in ages.items()]
        return Case("SysdxNoFirstSweep", name, {start: "0x300"} | values, quiet, fires)

    def every(profile: str, seconds: int, values: str = "x300") -> dict[str, str]:
        return {series("sysdx_sweep_interval_seconds", profile=profile): f"{seconds}{values}"}

    both = every("quick", 60) | every("deep", 21_600)
    once = series("sysdx_sweep_last_success_timestamp_seconds", profile="quick")
    elsewhere = series(
        "sysdx_sweep_last_success_timestamp_seconds", profile="quick", instance="h2:10987"
    )
    gone = every("quick", 60, "x14 stale") | {start: "0x14 stale"}
    missed = every("quick", 60, "x14 stale _ 60x9") | {start: "0x14 stale _ 0x9"}
    return [
        case(
            "never, and the next host has",
            both | {elsewhere: "60x60"},
            "12m",
            _13m="13m 0s",
            _40m="40m 0s",
        ),
        case("a rare profile alone", every("deep", 3_600), "40m 130m", _131m="2h 11m 0s"),
        case("two missed scrapes", missed, "12m", _15m="15m 0s", _16m="16m 0s", _17m="17m 0s"),
        case("a late first sweep", both | {once: "_x21 1260x20"}, "12m 21m", _20m="20m 0s"),
        case("swept, then two missed", missed | {once: "60x14 stale _ 60x9"}, "13m 15m 16m 17m"),
        case("a target that is down", gone, "12m 22m 40m", _18m="18m 0s"),
        Case("SysdxNoFirstSweep", "another exporter", {ELSEWHERE: "1x60"}, "13m 40m"),
    ]


def _failing() -> list[Case]:
    def case(name: str, quiet: str, firing: str = "", **sweeps: str) -> Case:
        text = (
            "More than half of the sweeps of the last half hour failed or were cut off at their "
            "timeout. What they say of the host may have gaps."
        )
        summary = "Most sweeps on h1:10987 fail or stay incomplete"
        fires = [Firing(firing, WARNING, summary, text)] if firing else []
        values = {
            series("sysdx_sweeps_total", profile=name.split("_")[0], outcome=name.split("_")[1]): v
            for name, v in sweeps.items()
        }
        return Case("SysdxSweepFailing", name, values, quiet, fires)

    begins, ends = counter([0] * 31 + [1] * 60), counter([0] + [1] * 60 + [0] * 60)
    good = counter([1] * 31 + [0] * 60), counter([0] * 61 + [1] * 60)
    blocks = ([1] * 18 + [0] * 12) * 4
    return [
        case("they begin to fail", "30m 50m", "60m 80m", quick_complete=good[0],
             quick_failed=begins),
        case("they begin to be cut off", "30m 50m", "60m", quick_complete=good[0],
             quick_partial=begins),
        case("they recover", "5m 90m", "40m 60m", quick_complete=good[1], quick_failed=ends),
        case("60 % fail", "9m", "60m", quick_complete="0+4x90", quick_failed="0+3x90",
             quick_partial="0+3x90"),
        case("40 % fail", "60m 89m", quick_complete="0+5x90", quick_failed="0+2x90",
             quick_partial="0+2x90"),
        case("turns that were not swept do not count", "9m", "60m", quick_complete="0+1x90",
             quick_failed="0+3x90", quick_skipped="0+20x90", quick_cancelled="0+20x90"),
        case("a rare profile fails", "60m 80m 89m", quick_complete="0+1x90",
             deep_complete="0x90", deep_failed="0x50 1x40"),
        case("in long blocks", "5m", "60m 88m 100m", quick_failed=counter(blocks),
             quick_complete=counter(1 - step for step in blocks)),
        case("one missed scrape", "9m", "60m 61m", quick_complete="0x90",
             quick_failed="0+1x59 stale 61+1x30"),
    ]  # fmt: skip


def _collector() -> list[Case]:
    def case(name: str, values: str, quiet: str, firing: str = "") -> Case:
        text = (
            "It has not brought a sample for a quarter of an hour. What it would tell is unknown, "
            "and missing from the coverage of the health score."
        )
        summary = "Collector disk keeps failing on h1:10987"
        labels = HOST | {"severity": "info", "collector": "disk"}
        fires = [Firing(firing, labels, summary, text)] if firing else []
        success = series("sysdx_collector_success", collector="disk")
        return Case("SysdxCollectorFailing", name, {success: values}, quiet, fires)

    return [
        case("it fails", "1x20 0x60 1x10", "20m 49m 82m", "52m 79m"),
        case("now and then it works", " ".join(["0x9 1"] * 9), "40m 70m"),
        case("one missed scrape", "1x20 0x38 stale 0x30", "49m", "52m 60m 61m"),
        case("this host does not have it", "1 stale", "30m 40m"),
    ]


def _hard_errors() -> list[Case]:
    text = (
        "The kernel's count of these errors rose within the last quarter of an hour. Each of them "
        "means that data, a program or hardware has been lost."
    )
    name = "sysdx_resource_errors_total"
    rises = "0x10 1x40"

    def fires(resource: str, kind: str, device: str = "") -> Case:
        labels = {"resource": resource, "kind": kind} | ({"device": device} if device else {})
        where = f"{resource} {device}" if device else resource
        firing = Firing("12m 24m", WARNING | labels, f"{where} of h1:10987: {kind}", text)
        total = series(name, resource=resource, kind=kind)
        values = {total: rises, series(name, **labels): rises}
        return Case("SysdxHardError", f"{where} {kind}", values, "10m 30m", [firing])

    def silent(why: str, *values: tuple[dict[str, str], str]) -> Case:
        rows = {series(name, **labels): v for labels, v in values}
        return Case("SysdxHardError", why, rows, "12m 20m 24m")

    taken = {"resource": "disk", "kind": "command"}
    return [
        fires("memory", "oom_kill"),
        fires("memory", "hardware_corrupted"),
        fires("cpu", "machine_check"),
        fires("disk", "command", "sda"),
        fires("disk", "timeout", "sda"),
        fires("filesystem", "metadata", "/var"),
        fires("gpu", "ecc_uncorrected", "gpu0"),
        silent("lost packets", ({"resource": "network", "kind": "rx_dropped", "device": "eth0"},
                                "0+5x40")),
        silent("a kill in a container counts once",
               ({"resource": "container", "kind": "oom_kill"}, rises)),
        silent("errors that were corrected",
               ({"resource": "gpu", "kind": "ecc_corrected", "device": "gpu0"}, rises)),
        silent("a disk is taken away", (taken, "8x10 3x40"), (taken | {"device": "sda"}, "3x50"),
               (taken | {"device": "sdb"}, "5x10 stale")),
        silent("kinds of the same name", ({"resource": "memory", "kind": "corrected"}, rises),
               ({"resource": "network", "kind": "timeout", "device": "eth0"}, rises)),
        silent("the host is started again",
               ({"resource": "memory", "kind": "oom_kill"}, "5x10 0x40"),
               (taken | {"device": "sda"}, "5x10 0x40")),
        silent("old errors of a new exporter", (taken | {"device": "sda"}, "_x10 7x40")),
    ]  # fmt: skip


def _recorded() -> list[Case]:
    def case(rule: str, values: dict[str, str], *recorded: tuple[str, dict[str, float]]) -> Case:
        return Case(rule, "recorded", values, recorded=dict(recorded))

    def counts(severity: str) -> Case:
        rule = f"instance:sysdx_anomalies:{severity}"
        rows = {
            series("sysdx_anomalies", resource=resource, severity=kind): f"{n + 1} 0 {n}x7 stale"
            for resource, kind, n in [
                ("cpu", "critical", 1), ("disk", "critical", 2),
                ("cpu", "warning", 4), ("disk", "warning", 8),
            ]
        }  # fmt: skip
        want = {series(rule): 3.0 if severity == "critical" else 12.0}
        return case(rule, rows, ("2m", want), ("9m", want), ("12m", want), ("16m", {}))

    score, age = "instance:sysdx_health_score:last5m", "instance:sysdx_sweep_age:seconds"
    use, part = "instance:sysdx_resource_utilization:ratio", "sysdx_resource_utilization_ratio"
    ends = series("sysdx_sweep_last_success_timestamp_seconds", profile="quick")
    early = series("sysdx_sweep_last_success_timestamp_seconds", profile="deep")
    used = {series(use, resource="disk"): 0.5, series(use, resource="cpu"): 0.25}
    return [
        case(score, {series("sysdx_health_score"): "95x4 stale _ 90 70 80x6 stale"},
             ("4m", {series(score): 95}), ("6m", {series(score): 95}), ("8m", {series(score): 70}),
             ("9m", {series(score): 80}), ("18m", {series(score): 80}), ("22m", {})),
        counts("critical"),
        counts("warning"),
        case(age, {ends: "0+60x9 stale", early: "0x9 stale"},
             ("9m", {series(age): 0}), ("12m", {series(age): 180}), ("16m", {})),
        case(use, {series(part, resource="disk"): "0.6 0.1 0.5x7 stale",
                   series(part, resource="disk", device="sda"): "0.9x9 stale",
                   series(part, resource="cpu"): "0.25x9 stale"},
             ("2m", used), ("9m", used), ("12m", used), ("16m", {})),
    ]  # fmt: skip


CASES: tuple[Case, ...] = (
    *_watchdog(), *_absent(), *_down(), *_unreliable(), *_stale(), *_no_first(), *_failing(),
    *_collector(), *HEALTH, *_hard_errors(), *_recorded(),
)  # fmt: skip
