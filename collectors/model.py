"""The fact model: samples, outcomes and sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


class Status(StrEnum):
    """How a collector's turn in a sweep ended."""

    OK = "ok"
    PARTIAL = "partial"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    ERROR = "error"


class Cause(StrEnum):
    """
    Why a source gave nothing: a closed list, so it can be a label.

    ABSENT says that this host does not have the thing (no GPU, PSI switched
    off): nothing is wrong with the collector and nothing is missing from the
    picture. All others say that something exists which could not be read.
    """

    ABSENT = "absent"
    MISSING = "missing"
    PERMISSION = "permission"
    UNREADABLE = "unreadable"
    GARBLED = "garbled"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    CRASH = "crash"


class Unavailable(Exception):  # noqa: N818  it is an answer, not a failure
    """
    A source cannot be read; the text names the source and the way out.

    Args:
        text: One sentence for people, naming the file or interface.
        cause: The reason from the closed list.

    """

    def __init__(self, text: str, cause: Cause = Cause.MISSING) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Distribution:
    """
    A value observed throughout a window.

    Attributes:
        mean: Over the whole window, from its first and last reading; None when unknown.
        peak: The highest of `samples`; None when unknown.
        samples: One value per sample interval, oldest first; unknown intervals left out.

    """

    mean: float | None = None
    peak: float | None = None
    samples: tuple[float, ...] = ()


UNKNOWN = Distribution()


@dataclass(frozen=True, slots=True)
class Problem:
    """
    A source that a collector wanted and did not get.

    Attributes:
        source: The file or interface.
        cause: The reason from the closed list.
        text: One sentence for people.

    """

    source: str
    cause: Cause
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    One collector's turn in a sweep.

    Attributes:
        collector: Its name.
        category: The resource it tells of.
        tier: The cheapest profile it runs in.
        essential: Whether its resource is unknown without it.
        status: How the turn ended.
        reason: Why it is not "ok", in one sentence; None when it is.
        cause: The same from the closed list; None when it is "ok".
        started_at: Wall time of the start, seconds since the epoch [s].
        seconds: How long the turn took [s].
        data: The sample; None when there is none.
        problems: Single sources that were not readable.

    """

    collector: str
    category: str
    tier: str
    essential: bool
    status: Status
    reason: str | None
    cause: Cause | None
    started_at: float
    seconds: float
    data: Any = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """
    One run of a profile: what every collector said.

    Attributes:
        profile: quick, standard or deep.
        started_at: Wall time of the start, seconds since the epoch [s].
        started_monotonic: The same on the monotonic clock [s].
        seconds: How long the sweep took [s].
        window_seconds: How long the host was observed [s].
        complete: False when a collector was late or the sweep was cancelled.
        partial_reasons: Why it is not complete.
        outcomes: Collector name to outcome.

    """

    profile: str
    started_at: float
    started_monotonic: float
    seconds: float
    window_seconds: float
    complete: bool = True
    partial_reasons: tuple[str, ...] = ()
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)

    def sample(self, kind: type[T]) -> T | None:
        """
        Return the sample of a type.

        Args:
            kind: The collector's sample class.

        Returns:
            The sample, or None when its collector gave none.

        """
        for outcome in self.outcomes.values():
            if isinstance(outcome.data, kind):
                return outcome.data
        return None
