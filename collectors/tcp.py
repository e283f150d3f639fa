"""The protocols' counters in full: IP, ICMP, TCP and UDP, both address families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collectors import net_tables
from collectors.base import Context, collector
from collectors.model import Unavailable
from collectors.rates import Track
from collectors.text import integer, key_values, label
from collectors.udp_losses import UdpLoser, UdpLosses

# Not counters: settings and present numbers, some of them negative.
_GAUGES = (
    "Tcp.CurrEstab", "Tcp.RtoAlgorithm", "Tcp.RtoMin", "Tcp.RtoMax", "Tcp.MaxConn",
    "Ip.Forwarding", "Ip.DefaultTTL",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TcpSample:
    """
    The protocols during the window.

    Attributes:
        window_seconds: Observed time [s].
        increases: "Tcp.RetransSegs", "TcpExt.ListenDrops", "Ip6.InReceives" and so on to
            the increase in the window; None when it went back.
        totals: The same since the network namespace was made.
        established: TCP connections now.
        udp_losers: UDP sockets that dropped most datagrams in the window, most first;
            looked for when at least 50 found a full socket.

    """

    window_seconds: float
    increases: Mapping[str, int | None] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    established: int | None = None
    udp_losers: tuple[UdpLoser, ...] = ()

    def per_second(self, *names: str) -> float | None:
        """
        Give the summed rate of counters.

        Args:
            names: The counters; those that this kernel does not have are left out.

        Returns:
            Their rate over the window [1/s]; None when none is known.

        """
        known = [self.increases[n] for n in names if n in self.increases]
        if not known or None in known or self.window_seconds <= 0:
            return None
        return sum(k or 0 for k in known) / self.window_seconds


def parse(raw: bytes) -> dict[str, int]:
    """
    Parse a table of pairs of lines, names above values.

    Args:
        raw: Content of /proc/net/snmp or /proc/net/netstat.

    Returns:
        dict "Protocol.Counter" -> value.

    Raises:
        ValueError: When a pair does not match or a value is no number.

    Source:
        /proc/net/snmp, /proc/net/netstat, Documentation/networking/snmp_counter.rst.

    """
    table: dict[str, int] = {}
    lines = [line for line in raw.split(b"\n") if line]
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        protocol, *counters = names.split()
        other, *numbers = values.split() or [b""]
        if protocol != other or len(counters) != len(numbers):
            raise ValueError(f"names and values do not match: {names[:40]!r}")
        prefix = label(protocol.rstrip(b":"))
        for counter, number in zip(counters, numbers, strict=True):
            table[f"{prefix}.{label(counter)}"] = integer(number)
    return table


def parse_six(raw: bytes) -> dict[str, int]:
    """
    Parse the table of the second address family.

    Args:
        raw: Content of /proc/net/snmp6.

    Returns:
        dict "Ip6.InReceives" and so on -> value.

    Source:
        /proc/net/snmp6.

    """
    table: dict[str, int] = {}
    for key, value in key_values(raw.replace(b"\t", b" ")).items():
        protocol, six, counter = key.partition("6")
        if six:
            table[f"{label(protocol)}6.{label(counter)}"] = value
    return table


@collector(category="network", essential=True)
def collect(ctx: Context) -> TcpSample:
    """
    Read all counters at the window's ends.

    Args:
        ctx: Paths and window.

    Returns:
        The counters.

    Raises:
        Unavailable: When /proc/net/snmp cannot be read.

    Source:
        /proc/net/{snmp,snmp6,netstat} of the host's network namespace, see `net_tables`;
        /proc/net/{udp,udp6} and /proc/PID/fd when UDP sockets lose datagrams.

    """
    track: Track[str] = Track()
    losses = UdpLosses(ctx)
    for at in ctx.ends():
        net = net_tables.folder(ctx)
        track.add(at, _read(ctx, net))
        losses.look(net, track.rows[-1])
    last = track.rows[-1]
    counters = {n: v for n, v in last.items() if n not in _GAUGES and v >= 0}
    return TcpSample(
        window_seconds=track.seconds,
        increases={n: track.increase(n) for n in counters},
        totals=counters,
        established=last.get("Tcp.CurrEstab"),
        udp_losers=losses.losers(),
    )


def _read(ctx: Context, net: Path) -> dict[str, int]:
    """Read the three tables."""
    table = parse(ctx.read(net / "snmp"))
    if not table:
        raise Unavailable(f"{net}/snmp is empty")
    table |= parse(ctx.try_read(net / "netstat") or b"")
    return table | parse_six(ctx.try_read(net / "snmp6") or b"")
