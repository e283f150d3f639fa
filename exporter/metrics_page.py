"""A page of metrics that nothing can poison: every value passes one gate."""

from __future__ import annotations

import gzip
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from collectors.bpf.model import Histogram
from collectors.text import label
from exporter.metrics_catalog import BY_NAME, COUNTER, HISTOGRAM, INFO, Family

OTHER = "other"
_GZIP_LEVEL = 1


@dataclass(slots=True)
class Distribution:
    """
    A cumulative histogram.

    Attributes:
        edges: Upper edges of the buckets, without the infinite one.
        counts: Values per bucket, the last one beyond all edges.
        total: Their sum.

    """

    edges: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        """Begin empty."""
        self.counts = self.counts or [0] * (len(self.edges) + 1)

    def observe(self, value: float) -> None:
        """
        Count a value.

        Args:
            value: The value; one that equals an edge belongs below it.

        """
        place = next((i for i, edge in enumerate(self.edges) if value <= edge), len(self.edges))
        self.counts[place] += 1
        self.total += value

    def merge(self, histogram: Histogram) -> None:
        """
        Add the values of a probe's window.

        Args:
            histogram: Its buckets are powers of two, as are the edges here; one that ends
                above all edges counts as beyond them.

        """
        for bucket in histogram.buckets:
            # A little less, because the same edge may have been computed in another way.
            place = bisect_left(self.edges, bucket.le * (1 - 1e-9))
            self.counts[place] += bucket.count
        self.total += histogram.sum

    def buckets(self) -> list[tuple[str, float]]:
        """
        Return the cumulative buckets.

        Returns:
            Pairs of upper edge and number of values up to it.

        """
        edges = [str(float(e)) for e in self.edges] + ["+Inf"]
        running = 0
        pairs: list[tuple[str, float]] = []
        for edge, count in zip(edges, self.counts, strict=True):
            running += count
            pairs.append((edge, float(running)))
        return pairs


@dataclass(slots=True, eq=False)
class Page:
    """
    Values on their way to exposition.

    Labels become safe text, numbers that are none are dropped, a series exists
    once, and a family that outgrows its limit is cut: its smallest series are
    folded away and counted.

    Attributes:
        dropped: (family, reason) to values that were not taken.

    """

    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    _values: dict[str, dict[tuple[str, ...], float]] = field(default_factory=dict)
    _histograms: dict[str, dict[tuple[str, ...], Distribution]] = field(default_factory=dict)

    def add(self, name: str, value: float | None, *labels: str) -> None:
        """
        Add a value.

        Args:
            name: A family of the contract.
            value: The number; None is unknown and stays absent.
            labels: One text per label of the family.

        """
        if value is None:
            return
        family = BY_NAME[name]
        if not math.isfinite(value):
            self.dropped[name, "not_finite"] += 1
            return
        key = tuple(label(text) for text in labels)
        if len(key) != len(family.labels):
            raise ValueError(f"{name} has the labels {family.labels}, not {key}")
        series = self._values.setdefault(name, {})
        if key in series:
            self.dropped[name, "duplicate"] += 1
            return
        series[key] = float(value)

    def add_histogram(self, name: str, distribution: Distribution, *labels: str) -> None:
        """
        Add a histogram.

        Args:
            name: A family of the contract.
            distribution: Its values.
            labels: One text per label of the family.

        """
        key = tuple(label(text) for text in labels)
        # A copy: the totals go on counting while this page is served.
        self._histograms.setdefault(name, {})[key] = replace(
            distribution, counts=[*distribution.counts]
        )

    def cut(self, most: int) -> None:
        """
        Keep within the limits of each family and of the page.

        Args:
            most: Most series of the whole page.

        """
        for family in BY_NAME.values():
            if family.name in self._values:
                series = self._values[family.name]
                self._values[family.name] = self._cut(family, series, family.limit)
        while self.series() > most and (name := self._longest()):
            series = self._values[name]
            half = max(len(series) - (self.series() - most), len(series) // 2, 1)
            self._values[name] = self._cut(BY_NAME[name], series, half)
            if len(self._values[name]) >= len(series):
                return

    def _longest(self) -> str | None:
        """Name the family with most series among those with a device."""
        sizes = {n: len(s) for n, s in self._values.items() if "device" in BY_NAME[n].labels}
        return max(sizes, key=lambda n: sizes[n]) if sizes else None

    def _cut(
        self, family: Family, series: dict[tuple[str, ...], float], limit: int
    ) -> dict[tuple[str, ...], float]:
        """Keep the largest series; a counter's overflow is summed up as "other"."""
        if len(series) <= limit:
            return series
        place = family.labels.index("device") if "device" in family.labels else None
        # Whole-resource series come first; then by size, with the name to break ties.
        ranked = sorted(series, key=lambda k: (place is None or k[place] != "", -series[k], k))
        kept = {key: series[key] for key in ranked[: limit - 1]}
        rest = ranked[limit - 1 :]
        self.dropped[family.name, "limit"] += len(rest)
        if place is not None and family.type != COUNTER:
            # The worst of the rest: "other" never looks better than what it hides.
            other = (*rest[0][:place], OTHER, *rest[0][place + 1 :])
            kept[other] = max(series[key] for key in rest)
        return kept

    def series(self) -> int:
        """
        Count the series.

        Returns:
            How many lines of values the page has.

        """
        plain = sum(len(series) for series in self._values.values())
        return plain + sum(
            len(d.edges) + 3 for group in self._histograms.values() for d in group.values()
        )

    def collect(self) -> Iterator[Metric]:
        """
        Hand the families to the renderer.

        Yields:
            One family after another, in the order of the contract.

        """
        for name, family in BY_NAME.items():
            if name in self._values:
                yield _family(family, self._values[name])
            elif name in self._histograms:
                yield _histogram(family, self._histograms[name])


def _family(family: Family, series: dict[tuple[str, ...], float]) -> Metric:
    """Build a family of plain values."""
    if family.type == INFO:
        info = InfoMetricFamily(family.name.removesuffix("_info"), family.help)
        for key in series:
            info.add_metric((), dict(zip(family.labels, key, strict=True)))
        return info
    kind = CounterMetricFamily if family.type == COUNTER else GaugeMetricFamily
    metric: CounterMetricFamily | GaugeMetricFamily = kind(
        family.name, family.help, labels=family.labels
    )
    for key, value in series.items():
        metric.add_metric(key, value)
    return metric


def _histogram(family: Family, group: dict[tuple[str, ...], Distribution]) -> Metric:
    """Build a family of histograms."""
    if family.type != HISTOGRAM:
        raise ValueError(f"{family.name} is no histogram")
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for key, distribution in group.items():
        metric.add_metric(key, distribution.buckets(), distribution.total)
    return metric


class Pages:
    """
    A page of metrics, written in each form once, when it is first asked for.

    Prometheus asks for one form only, so the others cost nothing.

    Args:
        parts: Objects with a `collect` method that give the same whenever they are asked.
        marks: Pairs of bytes and what stands in their place.

    """

    def __init__(self, parts: Sequence[object], marks: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._parts = parts
        self._marks = marks

    def marked(self, old: bytes, new: bytes) -> Pages:
        """
        Give the same page with one change.

        Args:
            old: What is replaced, such as a line.
            new: What stands in its place.

        Returns:
            The new page.

        """
        return Pages(self._parts, (*self._marks, (old, new)))

    @cached_property
    def text(self) -> bytes:
        """The Prometheus text format."""
        return self._with_marks(generate_latest(self._registry()))

    @cached_property
    def text_gzip(self) -> bytes:
        """The same, packed."""
        return _pack(self.text)

    @cached_property
    def openmetrics(self) -> bytes:
        """OpenMetrics."""
        # All names are plain, so that there is nothing to escape; checking each took half the time.
        written = generate_openmetrics(self._registry(), escaping="allow-utf-8")  # type: ignore[no-untyped-call]
        return self._with_marks(written)

    @cached_property
    def openmetrics_gzip(self) -> bytes:
        """The same, packed."""
        return _pack(self.openmetrics)

    def _registry(self) -> CollectorRegistry:
        registry = CollectorRegistry(auto_describe=False)
        for part in self._parts:
            registry.register(part)  # type: ignore[arg-type]
        return registry

    def _with_marks(self, written: bytes) -> bytes:
        for old, new in self._marks:
            written = written.replace(old, new)
        return written


def _pack(body: bytes) -> bytes:
    """Compress a page, the same bytes for the same page."""
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)
