"""The table of tracked connections, nearly full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Fault, Scenario
from tests.faults.tools.conntrack import tracked
from tests.faults.tools.settings import sysctl

_MANY = 1900
_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")


@contextmanager
def _induce(_: Path) -> Iterator[Fault]:
    others = int(_COUNT.read_text()) if _COUNT.exists() else 0
    with tracked(_MANY), sysctl("net.netfilter.nf_conntrack_max", others + 2000):
        yield Fault()


SCENARIO = Scenario(
    name="conntrack_full",
    title="1,900 connections in a table that is lowered to 2,000",
    induce=_induce,
    expect=frozenset({"conntrack_capacity"}),
    cause="conntrack_full",
    culprit=("remote", "192.0.2.1"),
    advice="sysctl:net.netfilter.nf_conntrack_max",
    score_below=90,
)
