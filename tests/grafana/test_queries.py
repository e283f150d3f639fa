"""Every query of the dashboards gives what it should, from a Prometheus with a day's history."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import pytest

from tests.grafana import filled, history, panels, recorded, replay
from tests.grafana.prometheus import QueryError, instant, ranged, running

DISK, CPU, MEMORY, NETWORK = replay.IN_TROUBLE

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    data = filled.database(tmp_path_factory.mktemp("history"))
    with running(data) as address:
        yield address


@pytest.fixture(scope="module", params=panels.NAMES)
def board(request):
    return request.param, panels.load(request.param)


@cache
def said(name, url, state):
    """Give the answers to a dashboard by panel and letter."""
    found = replay.answers(panels.load(name), url, state)
    return {(a.panel, a.ref): a for a in found}


def newest(name, url, state, title, ref="A"):
    return said(name, url, state)[title, ref].last()


def test_every_panel_has_what_it_should_in_every_state(board, url):
    name, body = board
    complaints = list(replay.complaints(name, body, url))
    assert not complaints, "\n".join(complaints)


def test_what_may_be_empty_says_what_that_means(board):
    name, body = board
    texts = replay.titles_without_hosts(body)
    off = {"latency": replay.optional(), "exporter": replay.NEVER}.get(name, set())
    assert all(texts[title] for title, _ in replay.NOTHING_WRONG[name] | off)


def test_when_sweeps_hang_the_values_of_hosts_are_gone_and_the_exporter_is_there(url):
    found = said("host", url, replay.STALE)
    assert found["Health", "A"].last() == {}
    assert found["Critical anomalies", "A"].last() == {}
    (age,) = found["Last complete sweep", "A"].last().values()
    assert 14 * 60 < age < 17 * 60
    assert newest("exporter", url, replay.STALE, "Answers")["Answers"] == 1
    assert newest("fleet", url, replay.STALE, "Stale sweeps")["Stale sweeps"] == 1
    assert newest("fleet", url, replay.NOW, "Stale sweeps")["Stale sweeps"] == 0


@pytest.mark.parametrize("state", replay.IN_TROUBLE, ids=lambda s: s.name)
def test_the_deductions_explain_the_score(state, url):
    found = said("host", url, state)
    (score,) = found["Health", "A"].last().values()
    points = found["Why it is not 100 now", "A"].last()
    assert score == pytest.approx(100 - sum(points.values()))
    assert score < 80
    assert newest("fleet", url, state, "Worst score")["Worst score"] == pytest.approx(score)


CAUSES = {"disk": "disk", "cpu": "cpu", "memory": "memory", "network": "network"}


@pytest.mark.parametrize("state", replay.IN_TROUBLE, ids=lambda s: s.name)
def test_anomalies_and_causes_are_of_the_resource_in_trouble(state, url):
    found = said("host", url, state)
    active = [s["metric"] for s in found["Anomalies now", "A"].series]
    assert CAUSES[state.name] in {row["resource"] for row in active}
    suspected = [s["metric"]["resource"] for s in found["Suspected causes", "A"].series]
    assert CAUSES[state.name] in suspected
    counted = sum(found[t, "A"].last()[t] for t in ("Critical anomalies", "Warnings"))
    assert counted == len(active) > 0


@pytest.mark.parametrize("state", replay.IN_TROUBLE, ids=lambda s: s.name)
def test_alerts_are_annotations_of_the_host_they_fired_for(state, url):
    board = panels.load("host")
    assert replay.annotations(board, url, state)["Alerts"] > 0
    assert replay.annotations(board, url, replay.HEALTHY)["Alerts"] == 0


def test_an_anomaly_is_known_since_its_incident(url):
    found = said("host", url, DISK)["Anomalies now", "A"]
    since = {s["metric"]["rule"]: float(s["value"][1]) for s in found.series}
    begun = history.INCIDENTS[0].start * 1000
    assert {begun, begun + 60_000} & set(since.values())
    assert min(since.values()) >= begun


def test_the_rules_over_time_show_when_it_began_and_that_it_is_over(url):
    found = said("host", url, replay.NOW)["Rules over time", "A"]
    values = {s["metric"]["rule"]: dict(s["values"]) for s in found.series}
    waits = {float(when): value for when, value in values["io_pressure"].items()}
    begun, ended = history.INCIDENTS[0].start, history.INCIDENTS[0].end
    assert {v for w, v in waits.items() if w < begun} == {"0"}
    assert "2" in {v for w, v in waits.items() if begun + 600 < w < ended}
    assert {v for w, v in waits.items() if w > ended + 1800} == {"0"}


def test_use_is_what_the_facts_were(url):
    found = said("host", url, CPU)
    assert found["CPU: utilization", "A"].last() == {"mean": 0.97}
    assert found["CPU: utilization", "B"].last() == {"peak": 1.0}
    assert found["CPU: saturation", "A"].last()["some tasks stalled"] == 0.9
    assert found["CPU: saturation", "C"].last() == {"queue": 8.0}
    assert said("host", url, DISK)["Disk: utilization", "C"].last() == {"sda": 0.99}


def test_an_error_is_counted_once(url):
    kill = history.INCIDENTS[2].start + 20 * 60
    answer = said("host", url, replay.State("kill", DISK.host, kill + 180))["Memory: errors", "A"]
    (series,) = (s for s, text in zip(answer.series, answer.legends, strict=True)
                 if text.startswith("oom_kill"))  # fmt: skip
    counts = [float(v) for w, v in series["values"] if kill - 600 < float(w)]
    assert max(counts) == pytest.approx(1, abs=0.3)
    assert sum(c > 0 for c in counts) <= 2


def test_the_fleet_shows_who_is_worst(url):
    table = said("fleet", url, DISK)["Hosts, worst first", "A"]
    scores = {s["metric"]["instance"]: float(s["value"][1]) for s in table.series}
    assert min(scores, key=scores.get) == DISK.host
    assert len(scores) == 3
    assert newest("fleet", url, DISK, "Hosts")["Hosts"] == 3
    assert newest("fleet", url, DISK, "Not answering")["Not answering"] == 0
    bands = said("fleet", url, DISK)["Score bands", "A"].last()
    worst = 0 if scores[DISK.host] < 50 else 1
    assert bands == {h: worst if h == DISK.host else 2 for h in history.HOSTS}
    sums = [newest("fleet", url, DISK, t)[t] for t in ("Critical hosts", "Degraded hosts")]
    assert sums == [1 - worst, worst]


def test_frequent_anomalies_are_a_share_of_the_hosts_time(url):
    shares = newest("fleet", url, replay.NOW, "Most frequent anomalies")
    # Three quarters of an hour, and how long it is held, of three hosts' six hours.
    assert 0.75 / 18 * 0.9 < shares["io_pressure"] < 1.4 / 18
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_events_are_per_second_in_which_the_probe_looked(url):
    for state in (replay.HEALTHY, DISK, CPU):
        found = said("latency", url, state)
        assert found["Block I/O: events", "A"].last()["today"] == pytest.approx(
            recorded.READS + recorded.WRITES
        )
        assert found["Run queue: events", "A"].last()["today"] == pytest.approx(recorded.WAITS)
        assert found["Events", "A"].last()["runqlat"] == pytest.approx(recorded.WAITS)
    watched = said("latency", url, replay.HEALTHY)["Watched", "A"].last()
    # Thirty seconds in every quarter of an hour, now and then a minute more.
    assert watched["runqlat"] == pytest.approx(30 / 900, rel=0.05)


def test_a_heatmap_adds_up_to_all_events(url):
    answer = said("latency", url, CPU)["Run queue: distribution", "A"]
    edges = {text: s["values"][-1][1] for text, s in zip(answer.legends, answer.series,
                                                         strict=True)}  # fmt: skip
    ordered = sorted(edges, key=float)
    assert ordered[-1] == "+Inf"
    counts = [float(edges[e]) for e in ordered]
    assert all(a <= b + 1e-9 for a, b in pairwise(counts))
    assert counts[-1] == pytest.approx(recorded.WAITS)


def test_quantiles_are_right_within_a_factor_of_two(url):
    for state, median in ((replay.HEALTHY, 14.0), (CPU, 23.0)):
        found = said("latency", url, state)
        (p50,) = found["Run queue: quantiles", "A"].last().values()
        (p99,) = found["Run queue: quantiles", "C"].last().values()
        assert abs(math.log2(p50 * 1e9) - median) < 1
        assert abs(math.log2(p99 * 1e9) - (median + 2.326 * recorded.OCTAVES)) < 1


def test_the_share_above_a_limit_is_a_count(url):
    slots = recorded.lognormal(recorded.WAITS * 30, 23.0)
    above = sum(n for slot, n in slots.items() if slot > 24) / sum(slots.values())
    found = said("latency", url, CPU)
    (title,) = {t for t, _ in found if t.startswith("Run queue: share")}
    assert found[title, "A"].last()["today"] == pytest.approx(above, rel=1e-3)
    assert found[title, "B"].last()["yesterday"] == pytest.approx(0, abs=1e-4)


def test_yesterday_stands_beside_today(url):
    found = said("latency", url, CPU)
    today, before = (next(iter(found["Run queue: quantiles", r].last().values())) for r in "CD")
    assert today > 100 * before
    assert found["Run queue: events", "B"].last()["yesterday"] == pytest.approx(recorded.WAITS)


def test_a_limit_is_chosen_among_the_edges_in_order(url):
    body = panels.load("latency")
    end = replay.NOW.end
    values = panels.chosen(body, url, end - 86_400, end, instance=replay.NOW.host)
    (variable,) = (v for v in body["templating"]["list"] if v["name"] == "run_limit")
    found = panels.options(variable, values, url, end - 86_400, end)
    assert values["run_limit"] == "0.016777216"
    assert [float(e) for e in found] == [2.0**n * 1e-9 for n in range(13, 27)]


def test_sweeps_are_counted_exactly(url):
    """The window that the panels get is exact at every moment; half of it jumps."""
    chosen = (
        f'sysdx_sweeps_total{{instance="{replay.NOW.host}", profile="quick", outcome="complete"}}'
    )
    wide, narrow = (
        [
            60 * float(v)
            for s in ranged(url, f"rate({chosen}[{length}])", history.FINE + 300, history.END, 15)
            for _, v in s["values"]
        ]
        for length in ("135s", "60s")
    )
    # Every quarter of an hour a standard sweep takes the place of a quick one.
    full = [v for v in wide if v > 0.9]
    assert len(full) > 0.7 * len(wide)
    assert all(v == pytest.approx(1, abs=1e-6) for v in full)
    assert min(narrow) == 0
    assert max(narrow) > 1.3
    panel = panels.panel(panels.load("exporter"), "Sweeps: how they ended")
    assert panels.window(panels.step(6 * history.HOUR, panel)) == 135


def test_an_incomplete_sweep_is_seen(url):
    state = replay.State("late", history.LATE.host, history.LATE.end + 600)
    found = said("exporter", url, state)
    late = found["Sweeps: how they ended", "A"]
    (partial,) = (s for s, t in zip(late.series, late.legends, strict=True) if t == "partial")
    # One in the window of two minutes and a bit.
    assert max(float(v) for _, v in partial["values"]) == pytest.approx(0.5, abs=0.1)
    rows = [s["metric"] for s in found["What could not be read", "A"].series]
    assert {"collector": "process", "reason": "timeout"} in rows
    notes = replay.annotations(panels.load("exporter"), url, state)
    assert notes == {"Alerts": 0, "Incomplete sweeps": 1, "Exporter started": 1}


def test_durations_are_those_of_the_profiles(url):
    found = said("exporter", url, replay.NOW)["Sweeps: duration and interval", "A"]
    highest = {
        text: max(float(v) for _, v in s["values"] if v != "NaN")
        for text, s in zip(found.legends, found.series, strict=True)
    }
    assert highest["quick"] == pytest.approx(10.4)
    assert highest["standard"] == pytest.approx(30.4)


def _replace(title, old, new):
    def fault(body):
        query = panels.panel(body, title)["targets"][0]
        assert old in query["expr"]
        query["expr"] = query["expr"].replace(old, new)

    return fault


BROKEN = {
    "a wrong metric": _replace("Warnings", "sysdx_anomalies", "sysdx_anomaly"),
    "broken PromQL": _replace("Warnings", "sum(", "sum(("),
    "an undefined variable": _replace("Warnings", "$instance", "$host"),
    "a label that is not there": _replace("Warnings", "severity", "level"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_dashboard_is_found(what, url):
    body = panels.load("host")
    BROKEN[what](body)
    assert list(replay.complaints("host", body, url, [DISK]))


def test_one_legend_for_two_series_is_found(url):
    body = panels.load("host")
    panels.panel(body, "Score")["targets"][1]["legendFormat"] = "one"
    assert any("one legend" in text for text in replay.complaints("host", body, url, [DISK]))


def test_a_panel_without_its_interval_is_off(url):
    body = panels.load("latency")
    panel = panels.panel(body, "Run queue: events")
    del panel["interval"]
    values = panels.chosen(body, url, CPU.end - 3600, CPU.end, instance=CPU.host)
    today, _ = panels.ask(panel, values, url, CPU.end - 3600, CPU.end)
    points = [v for s in today.series for _, v in s["values"]]
    assert points.count("NaN") > len(points) / 2, "most windows hold no sweep at all"


def test_the_history_is_that_of_three_hosts_and_of_a_day_and_a_quarter(url):
    found = instant(url, "count_over_time(up[2d])", history.END)
    assert {s["metric"]["instance"] for s in found} == set(history.HOSTS)
    assert instant(url, "min(last_over_time(sysdx_health_score[5m]))",
                   replay.HEALTHY.end)[0]["value"][1] == "100"  # fmt: skip


def test_prometheus_is_gone_afterwards(tmp_path):
    with running(tmp_path / "data") as address:
        assert instant(address, "vector(1)", 0)[0]["value"][1] == "1"
        with pytest.raises(QueryError, match="parse error"):
            instant(address, "vector((1)", 0)
    with pytest.raises(OSError, match="refused"):
        instant(address, "vector(1)", 0)


def test_a_prometheus_that_cannot_start_says_why(tmp_path):
    with (
        pytest.raises(RuntimeError, match="field globe not found"),
        running(tmp_path / "data", "globe: {}\n"),
    ):
        pass
