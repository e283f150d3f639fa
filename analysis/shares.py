"""A counter as a share of another: what rules on damaged and late packets have in common."""

from __future__ import annotations

from analysis.model import Evidence, Facts, Signal
from analysis.text import number, percent
from collectors.tcp import TcpSample

Counters = tuple[str, ...]


def share(
    facts: Facts,
    part: tuple[str, Counters],
    whole: tuple[str, Counters],
    least: float,
    sentence: str,
    *,
    apart: bool = False,
) -> Signal | None:
    """
    Read what share one rate has of another.

    Args:
        facts: What is known of the host.
        part: What is counted, and the counters, such as "Tcp.InErrs".
        whole: The same for all.
        least: Rate of the part below which the share is 0 [1/s].
        sentence: The message; {share} and {rate} stand for the numbers.
        apart: Whether the part is counted apart, and not within the whole.

    Returns:
        The share as a signal [ratio]; None when a rate is unknown.

    Source:
        /proc/net/snmp, /proc/net/netstat.

    """
    sample = facts.sample(TcpSample)
    some = sample.per_second(*part[1]) if sample else None
    every = sample.per_second(*whole[1]) if sample else None
    if some is None or every is None:
        return None
    every_one = every + some if apart else max(every, some)
    value = some / every_one if some >= least else 0.0
    return Signal(
        value=value,
        message=sentence.format(share=percent(value), rate=number(some)),
        evidence=(
            Evidence(part[0], some, "1/s", _source(part[1])),
            Evidence(whole[0], every, "1/s", _source(whole[1])),
        ),
    )


def _source(names: Counters) -> str:
    """Say where counters are."""
    file = "netstat" if names[0].startswith("TcpExt.") else "snmp"
    return f"/proc/net/{file} {', '.join(name.replace('.', ' ') for name in names)}"
