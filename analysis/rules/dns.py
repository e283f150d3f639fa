"""Rules on name servers, as an eBPF probe sees programs wait for them."""

from __future__ import annotations

from collections import Counter

from analysis.model import Culprit, Evidence, Facts, Kind, Scale, Signal
from analysis.probed import by_probe, quantiles
from analysis.registry import rule
from analysis.text import duration, number, percent
from collectors.bpf.model import ProbeSample

_LEAST_ANSWERS = 50
_LEAST_IN_VAIN = 5
_SERVERS = 3
_SOURCE = "sock_send_length, sock_recv_length"


@rule(
    resource="network",
    cause="name_resolution",
    kind=Kind.SATURATION,
    unit="s",
    warning=0.1,
    critical=1.0,
    scale=Scale.LOG,
    probe="dnslat",
    at_once=True,
    source="light takes 5 us for a kilometre of fibre (ITU-T G.114): a name server answers from "
    "its cache over 10,000 km within 0.1 s, so where one answer in ten takes longer it is "
    "overloaded, very far, or has to ask others too often. After 1 s, the shortest timeout of "
    "resolv.conf(5), programs ask again or give up",
    gate="50 answers in the window: the slowest tenth of fewer may be names that nobody has asked "
    "for before",
    explanation="Programs wait long until a name server has told them an address: whatever they "
    "connect to is late by that, although the connections themselves are fast.",
    next_steps=(
        "dig @SERVER NAME, twice: the second answer comes from the server's cache.",
        "cat /etc/resolv.conf: is the nearest server the first? resolvectl statistics",
    ),
)
def dns_latency(facts: Facts) -> Signal | None:
    """Watch how long the slowest tenth of answers from name servers took."""
    sample = facts.probe("dnslat")
    if sample is None:
        return None
    known = [h for h in sample.histograms if h.p90 is not None and h.count >= _LEAST_ANSWERS]
    worst = max(known, key=lambda h: h.p90 or 0.0, default=None)
    if worst is None:
        return Signal(0.0, "There were too few answers from name servers to judge")
    server = next((row["server"] for row in sample.tops.get("server", ())), "several servers")
    return Signal(
        value=worst.p90 or 0.0,
        message=f"One in ten answers from name servers, most of the wait for {server}, took "
        f"{duration(worst.p90)} or longer",
        evidence=(
            Evidence("90 % of answers took at most", worst.p90, "s", _SOURCE),
            *quantiles(worst, "answers", _SOURCE),
        ),
        culprits=(*_slow(sample), *by_probe(sample)),
    )


@rule(
    resource="network",
    cause="name_resolution",
    kind=Kind.ERRORS,
    unit="ratio",
    warning=0.01,
    critical=0.10,
    scale=Scale.LOG,
    probe="dnslat",
    at_once=True,
    source="resolv.conf(5): a program waits 5 s before it asks again. One question in a hundred "
    "that gets lost costs 0.05 s on average, as much as an answer over half the earth; one in ten "
    "costs 0.5 s",
    gate="5 such questions in the window. What is refused costs no time and counts only beyond "
    "the number of answers: a program that is refused by one server asks the next",
    explanation="Questions to name servers are lost or not answered: programs wait for seconds, "
    "ask again, or fail because they cannot find an address.",
    next_steps=(
        "dig @SERVER NAME, with each server in /etc/resolv.conf",
        "The servers and programs are in the report: probe dnslat, silent.",
    ),
)
def dns_unanswered(facts: Facts) -> Signal | None:
    """Watch questions to name servers that got no answer in time as a share of all."""
    sample = facts.probe("dnslat")
    if sample is None:
        return None
    asked, in_vain = _asked(sample), _in_vain(sample)
    share = in_vain / asked if in_vain >= _LEAST_IN_VAIN else 0.0
    return Signal(
        value=share,
        message=f"{percent(share)} of questions to name servers, {number(in_vain)} of "
        f"{number(asked)}, got no answer in time",
        evidence=tuple(
            Evidence(text, sample.values.get(name), "questions", _SOURCE)
            for name, text in (
                ("unanswered", "never answered"),
                ("repeated", "asked again"),
                ("failed", "refused or not sent"),
                ("questions", "asked"),
            )
        ),
        culprits=_silent(sample) if share else (),
    )


def _asked(sample: ProbeSample) -> float:
    """Count the questions that were sent, also those that were sent again."""
    return sample.values.get("questions", 0.0) + sample.values.get("repeated", 0.0)


def _in_vain(sample: ProbeSample) -> float:
    """Count the questions that were sent for nothing."""
    refused = max(sample.values.get("failed", 0.0) - sample.events, 0.0)
    lost = sample.values.get("unanswered", 0.0) + sample.values.get("repeated", 0.0)
    return lost + refused


def _slow(sample: ProbeSample) -> tuple[Culprit, ...]:
    """Name the servers that programs waited longest for."""
    whole = sum(h.sum for h in sample.histograms)
    return tuple(
        Culprit("remote", row["server"], value=round(row["seconds"], 4), unit="s",
                share=min(row["seconds"] / whole, 1.0) if whole else None,
                detail=f"{row['count']} answers, {row['max_seconds']:.3g} s at most")
        for row in sample.tops.get("server", ())[:_SERVERS]
    )  # fmt: skip


def _silent(sample: ProbeSample) -> tuple[Culprit, ...]:
    """Name the servers that did not answer, and the program that asked each most."""
    rows = sample.tops.get("silent", ())
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row["server"]] += row["count"]
    return tuple(
        Culprit("remote", server, value=count, unit="questions", share=count / counts.total(),
                detail=next(f"asked by {r['comm']} ({r['pid']})" for r in rows
                            if r["server"] == server))
        for server, count in counts.most_common(_SERVERS)
    )  # fmt: skip
