"""Advice on interfaces and tables: a setting has one proposal, whichever rule asks for it."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import investigate, sysctl
from analysis.model import Facts, Recommendation, Signal
from analysis.use.network import setting
from collectors.conntrack import ConntrackSample
from collectors.memory import MemorySample

_ENTRY_BYTES = 320  # of a tracked connection, struct nf_conn with its extensions
_MOST_NEIGHBOURS = 65_536


def part_of_memory(facts: Facts, divisor: int) -> int:
    """
    Give a part of memory.

    Args:
        facts: What is known of the host.
        divisor: How many parts there are.

    Returns:
        The part [bytes]; 0 when the size is unknown, so that nothing is proposed.

    """
    memory = facts.sample(MemorySample)
    return (memory.total_bytes or 0) // divisor if memory else 0


def more_connections(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise twice as many tracked connections, as far as a 64th of memory holds them.

    Args:
        facts: What is known of the host.

    Yields:
        A setting.

    """
    track = facts.sample(ConntrackSample)
    affordable = part_of_memory(facts, 64 * _ENTRY_BYTES)
    if track is not None and track.max and affordable > track.max:
        yield from sysctl(
            facts,
            "net.netfilter.nf_conntrack_max",
            min(2 * track.max, affordable),
            rule="conntrack_capacity",
            resource="network",
            direction="raise",
            why="New connections are dropped when the table is full.",
            risk=f"up to {_ENTRY_BYTES} bytes of kernel memory per connection",
            source="Documentation/networking/nf_conntrack-sysctl.rst",
        )


def longer_backlog(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise a longer backlog per CPU.

    Args:
        facts: What is known of the host.

    Yields:
        A setting.

    """
    yield from sysctl(
        facts,
        "net.core.netdev_max_backlog",
        10_000,
        rule="backlog_drops",
        resource="network",
        direction="raise",
        why="Bursts then wait in the CPU's backlog instead of being dropped.",
        risk="adds delay when the CPU is too slow in the long run",
        source="Documentation/admin-guide/sysctl/net.rst, netdev_max_backlog",
    )


def larger_budget(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """
    Advise more packets and more time per turn: either ends it.

    Args:
        facts: What is known of the host.

    Yields:
        Two settings.

    """
    for name, proposed, what in (
        ("netdev_budget", 600, "600 packets"),
        ("netdev_budget_usecs", 8_000, "8 ms"),
    ):
        yield from sysctl(
            facts,
            f"net.core.{name}",
            proposed,
            rule="backlog_squeezed",
            resource="network",
            direction="raise",
            why=f"A CPU then takes up to {what} before it yields to other work.",
            risk="other work on that CPU waits a little longer",
            source=f"Documentation/admin-guide/sysctl/net.rst, {name}",
        )


def larger_neighbour_table(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise twice as many neighbours, with the earlier thresholds in proportion.

    Args:
        facts: What is known of the host.
        signal: What was seen, of which address family.

    Yields:
        Three settings.

    """
    table = f"net.{signal.subject or 'ipv4'}.neigh.default"
    limit = setting(facts, f"{table}.gc_thresh3")
    for number, divisor in ((3, 1), (2, 2), (1, 8)):
        if limit is not None and limit < _MOST_NEIGHBOURS:
            yield from sysctl(
                facts,
                f"{table}.gc_thresh{number}",
                min(2 * limit, _MOST_NEIGHBOURS) // divisor,
                rule="neighbour_table",
                resource="network",
                direction="raise",
                why="New neighbours cannot be reached when the table is full.",
                risk="about 400 bytes of kernel memory for each neighbour",
                source="Documentation/networking/ip-sysctl.rst, neigh/default/gc_thresh3",
            )


def larger_ring(_: Facts, signal: Signal) -> Iterable[Recommendation]:
    """
    Advise to compare a device's ring with what it can have.

    Args:
        signal: What was seen, of which device.

    Yields:
        What to look at.

    """
    if signal.subject is not None:
        yield investigate(
            f"ring:{signal.subject}",
            resource="network",
            rule="receive_overruns",
            title=f"See whether the receive ring of {signal.subject} can be larger",
            why="A larger ring takes longer bursts; a CPU that is always too slow fills any.",
            commands=(f"ethtool -g {signal.subject}", f"ethtool -S {signal.subject}"),
        )
