"""The command `diff`: what changed between two reports."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.report import SCHEMA_VERSION
from exporter.status_format import items, mapping, number

_GZIP = b"\x1f\x8b"
_LARGEST = 64 << 20  # [bytes]
_SEVERITIES = ("info", "warning", "critical")
_Key = tuple[str, ...]


class NoReportError(ValueError):
    """A file is no report, or none that can be compared."""


@dataclass(frozen=True, slots=True)
class Change:
    """
    A value that is not what it was.

    Attributes:
        of: What it is the value of, from the general to the special.
        unit: ratio, points, tasks or 1/s.
        before: In the first report; None when it was unknown or not there.
        after: In the second.
        kind: new, gone or changed; for values, "new" also says that it was unknown before.

    """

    of: tuple[str, ...]
    unit: str
    before: float | None
    after: float | None
    kind: str


@dataclass(frozen=True, slots=True)
class AnomalyChange:
    """
    An anomaly that is not as it was.

    Attributes:
        rule: Its rule.
        resource: The resource it charges.
        subject: Device, mount or group; None for the whole host.
        kind: new, resolved, worse or better.
        severity: Now, or of a resolved one before.
        message: One sentence with its numbers.

    """

    rule: str
    resource: str
    subject: str | None
    kind: str
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class Side:
    """
    One of the two reports.

    Attributes:
        report_id: Which one.
        hostname: Of what host.
        profile: Of what kind.
        started_at: RFC 3339.
        score: Health score; None when unknown.
        band: Its band.

    """

    report_id: str
    hostname: str
    profile: str
    started_at: str
    score: float | None
    band: str


@dataclass(frozen=True, slots=True)
class Difference:
    """
    Everything that changed from one report to another.

    Attributes:
        before: The first report.
        after: The second.
        warnings: Why they may not be comparable.
        score: Change of the health score [points]; None when one is unknown.
        deductions: Causes that cost something else than before.
        anomalies: Those that came, went or changed their severity.
        use: Utilization, saturation, pressure, queues [tasks] and errors [1/s] that changed.

    """

    before: Side
    after: Side
    warnings: tuple[str, ...]
    score: float | None
    deductions: tuple[Change, ...]
    anomalies: tuple[AnomalyChange, ...]
    use: tuple[Change, ...]


def load(name: str) -> Mapping[str, Any]:
    """
    Read a report, as `sweep` writes it or as the store keeps it.

    Args:
        name: The file; JSON, packed by gzip or not.

    Returns:
        The report.

    Raises:
        OSError: When it cannot be read.
        NoReportError: When it is no report.

    """
    raw = Path(name).read_bytes()
    try:
        # One report is some ten kilobytes; a file that unpacks without end is none.
        body = zlib.decompressobj(31).decompress(raw, _LARGEST) if raw[:2] == _GZIP else raw
        report = json.loads(body)
    except (ValueError, RecursionError, zlib.error) as error:
        raise NoReportError(f"{name}: no report: {error}") from error
    if not isinstance(report, dict) or not mapping(report.get("summary")):
        raise NoReportError(f"{name}: no report: it has no summary")
    return report


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """
    Find what changed.

    Args:
        before: The first report.
        after: The second report.

    Returns:
        The differences; growth from 0 is one, and so is what becomes known or unknown.

    Raises:
        NoReportError: When the reports do not have the same structure.

    """
    versions = [str(report.get("schema_version")) for report in (before, after)]
    if versions[0] != versions[1]:
        raise NoReportError(
            f"schema versions {versions[0]} and {versions[1]} cannot be compared; "
            f"this version writes {SCHEMA_VERSION}"
        )
    sides = _side(before), _side(after)
    scores = [side.score for side in sides]
    known = scores[0] is not None and scores[1] is not None
    return Difference(
        *sides,
        tuple(_warnings(before, after)),
        round(scores[1] - scores[0], 2) if known else None,  # type: ignore[operator]
        _changes(_deductions(before), _deductions(after)),
        tuple(_anomalies(before, after)),
        _changes(dict(_use(before)), dict(_use(after))),
    )


def _side(report: Mapping[str, Any]) -> Side:
    """Tell which report this is."""
    about, summary = mapping(report.get("metadata")), mapping(report.get("summary"))

    def told(name: str) -> str:
        return str(about.get(name, "?"))

    return Side(
        report_id=told("report_id"),
        hostname=told("hostname"),
        profile=told("profile"),
        started_at=told("started_at"),
        score=number(summary.get("health_score")),
        band=str(summary.get("band", "unknown")),
    )


def _warnings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Tell why the reports may not be comparable."""
    a, b = mapping(before.get("metadata")), mapping(after.get("metadata"))
    host = (
        "machine_id_hash" if a.get("machine_id_hash") and b.get("machine_id_hash") else "hostname"
    )
    if a.get(host) != b.get(host):
        yield f"different hosts: {a.get('hostname')} and {b.get('hostname')}"
    if a.get("profile") != b.get("profile"):
        yield f"different profiles: {a.get('profile')} and {b.get('profile')}"
    if a.get("version") != b.get("version"):
        yield f"different versions of sysdx: {a.get('version')} and {b.get('version')}"
    if str(a.get("started_at")) > str(b.get("started_at")):
        yield "the first report is the newer one"
    for word, about in (("first", a), ("second", b)):
        if about.get("complete") is False:
            reasons = "; ".join(map(str, items(about.get("partial_reasons"))))
            yield f"the {word} report is partial: {reasons}"


_Values = Mapping[_Key, tuple[str, float | None]]


def _changes(before: _Values, after: _Values) -> tuple[Change, ...]:
    """Compare values by what they are of."""
    found = []
    for key in [*before, *(k for k in after if k not in before)]:
        unit = (before.get(key) or after[key])[0]
        old, new = (side[key][1] if key in side else None for side in (before, after))
        if old != new:
            kind = "new" if old is None else "gone" if new is None else "changed"
            found.append(Change(key, unit, old, new, kind))
    return tuple(found)


def _deductions(report: Mapping[str, Any]) -> dict[_Key, tuple[str, float | None]]:
    """Gather what each cause costs."""
    rows = map(mapping, items(mapping(report.get("summary")).get("deductions")))
    return {
        (str(row.get("resource")), str(row.get("cause"))): ("points", number(row.get("points")))
        for row in rows
    }


def _anomalies(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[AnomalyChange]:
    """Compare the active anomalies by rule and subject."""
    old, new = _active(before), _active(after)
    for key, anomaly in new.items():
        if key not in old:
            yield _told(anomaly, "new")
        elif (step := _rank(anomaly) - _rank(old[key])) != 0:
            yield _told(anomaly, "worse" if step > 0 else "better")
    yield from (_told(anomaly, "resolved") for key, anomaly in old.items() if key not in new)


def _active(report: Mapping[str, Any]) -> dict[_Key, Mapping[str, Any]]:
    """Gather the active anomalies."""
    rows = map(mapping, items(mapping(report.get("summary")).get("anomalies")))
    return {(str(row.get("rule")), str(row.get("subject"))): row for row in rows}


def _rank(anomaly: Mapping[str, Any]) -> int:
    """Order severities."""
    severity = anomaly.get("severity")
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else 0


def _told(anomaly: Mapping[str, Any], kind: str) -> AnomalyChange:
    """Describe what became of an anomaly."""
    subject = anomaly.get("subject")
    return AnomalyChange(
        str(anomaly.get("rule")),
        str(anomaly.get("resource")),
        None if subject is None else str(subject),
        kind,
        str(anomaly.get("severity")),
        str(anomaly.get("message")),
    )


def _use(report: Mapping[str, Any]) -> Iterator[tuple[_Key, tuple[str, float | None]]]:
    """Gather every number of the use of resources and devices that is known."""
    window = number(mapping(report.get("metadata")).get("window_seconds"))
    for resource, use in mapping(mapping(report.get("summary")).get("resources")).items():
        yield from _numbers((resource,), mapping(use), window)
        for device, part in mapping(mapping(use).get("devices")).items():
            yield from _numbers((resource, device), mapping(part), window)


def _numbers(
    key: _Key, use: Mapping[str, Any], window: float | None
) -> Iterator[tuple[_Key, tuple[str, float | None]]]:
    """Gather the known numbers of one row."""
    told: list[tuple[Sequence[str], str, Any]] = [
        (("utilization",), "ratio", mapping(use.get("utilization")).get("mean")),
        (("queue",), "tasks", use.get("queue_length")),
    ]
    told += [(("saturation", n), "ratio", v) for n, v in mapping(use.get("saturation")).items()]
    told += [(("stalled", n), "ratio", v) for n, v in mapping(use.get("pressure")).items()]
    for kind, count in mapping(use.get("errors")).items():
        increase = number(mapping(count).get("increase"))
        rate = increase / window if increase is not None and window else None
        told.append((("errors", kind), "1/s", rate))
    for name, unit, value in told:
        if (known := number(value)) is not None:
            yield (*key, *name), (unit, known)
