"""Differences and rates of kernel counters over measured time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import pairwise
from typing import Generic, TypeVar

from collectors.model import UNKNOWN, Distribution

K = TypeVar("K", bound=Hashable)


def delta(old: int | None, new: int | None) -> int | None:
    """
    Return how far a counter advanced.

    Args:
        old: The earlier reading.
        new: The later reading.

    Returns:
        The difference; None when a reading is unknown or the counter went back
        (reset, replaced device, hotplug): that is never a spike and never 0.

    """
    if old is None or new is None or new < old:
        return None
    return new - old


def rate(old: int | None, new: int | None, seconds: float) -> float | None:
    """
    Return a counter's rate over measured time.

    Args:
        old: The earlier reading.
        new: The later reading.
        seconds: Time between them on the monotonic clock [s].

    Returns:
        The rate [1/s]; None when unknown.

    """
    change = delta(old, new)
    return None if change is None or seconds <= 0 else change / seconds


def ratio(part: float | None, whole: float | None) -> float | None:
    """
    Return part of whole.

    Args:
        part: The numerator.
        whole: The denominator.

    Returns:
        The quotient [ratio]; None when a side is unknown or the whole is 0.

    """
    if part is None or whole is None or whole <= 0:
        return None
    return part / whole


def distribution(samples: Iterable[float | None], mean: float | None = None) -> Distribution:
    """
    Gather values that were read one after another.

    Args:
        samples: The values, oldest first; unknown ones are left out.
        mean: Their mean when it is known better than by averaging them.

    Returns:
        Mean, peak and samples; all unknown when there is no value.

    """
    known = tuple(s for s in samples if s is not None)
    if not known:
        return UNKNOWN if mean is None else Distribution(mean=mean)
    return Distribution(sum(known) / len(known) if mean is None else mean, max(known), known)


class Track(Generic[K]):
    """
    Readings of a set of counters over the ticks of one window.

    A key may come and go (hotplug): it is unknown for the window unless it is
    in the first and the last reading and never went back between them.
    """

    def __init__(self) -> None:
        self.times: list[float] = []
        self.rows: list[Mapping[K, int]] = []

    def add(self, at: float, row: Mapping[K, int]) -> None:
        """
        Append a reading.

        Args:
            at: Time of the reading on the monotonic clock [s].
            row: Counter name to value.

        """
        self.times.append(at)
        self.rows.append(row)

    @property
    def seconds(self) -> float:
        """Time between the first and the last reading [s]."""
        return self.times[-1] - self.times[0] if self.times else 0.0

    def names(self) -> tuple[K, ...]:
        """
        Return the counters of the last reading.

        Returns:
            Their names, in the kernel's order.

        """
        return tuple(self.rows[-1]) if self.rows else ()

    def last(self, key: K) -> int | None:
        """
        Return a counter's newest value.

        Args:
            key: The counter.

        Returns:
            The value of the last reading; None when it is not in it.

        """
        return self.rows[-1].get(key) if self.rows else None

    def increase(self, key: K) -> int | None:
        """
        Return how far a counter advanced over the window.

        Args:
            key: The counter.

        Returns:
            The difference; None with fewer than two readings, when the counter
            is not in the first or the last of them, or when it went back anywhere.

        """
        values = [row[key] for row in self.rows if key in row]
        if len(self.rows) < 2 or key not in self.rows[0] or key not in self.rows[-1]:  # noqa: PLR2004
            return None
        # A counter that fell and overtook its first value again would pass a
        # comparison of the two ends alone.
        if any(new < old for old, new in pairwise(values)):
            return None
        return values[-1] - values[0]

    def steps(self, key: K) -> list[float | None]:
        """
        Return a counter's rate in each interval.

        Args:
            key: The counter.

        Returns:
            One rate per interval, oldest first [1/s]; None where unknown.

        """
        pairs = zip(self.times, self.rows, self.times[1:], self.rows[1:], strict=False)
        return [rate(a.get(key), b.get(key), tb - ta) for ta, a, tb, b in pairs]

    def rate(self, key: K) -> Distribution:
        """
        Return a counter's rate over the window.

        Args:
            key: The counter.

        Returns:
            Mean over the window, peak and one value per interval [1/s].

        """
        change = self.increase(key)
        if change is None or self.seconds <= 0:
            return UNKNOWN
        return distribution(self.steps(key), mean=change / self.seconds)
