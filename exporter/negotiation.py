"""What a client accepts: media types and codings with their weights (RFC 9110, 12.4 and 12.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)
_MOST_RANGES = 64  # nobody names more; bounds the work for a hostile header


@dataclass(frozen=True, slots=True)
class _Range:
    """
    One element of an Accept or Accept-Encoding header.

    Attributes:
        name: Media type or coding, in lower case.
        version: The `version` parameter, empty when absent.
        weight: The `q` parameter [ratio]; 0 means "not acceptable".

    """

    name: str
    version: str
    weight: float


def wants_openmetrics(accept: str) -> bool:
    """
    Tell whether a client prefers OpenMetrics 1.0 to the Prometheus text format.

    OpenMetrics is sent only to those who name it: a wildcard does not show that
    a client can read it.

    Args:
        accept: The Accept header, empty when absent.

    Returns:
        True for OpenMetrics.

    """
    ranges = _parse(accept)
    openmetrics = _best(
        [r for r in ranges if r.name == OPENMETRICS.partition(";")[0] and _is_version_1(r.version)]
    )
    named = [r for r in ranges if r.name == TEXT.partition(";")[0]]
    text = _best(named or [r for r in ranges if r.name in ("text/*", "*/*")])
    return bool(openmetrics) and (openmetrics or 0.0) >= (text or 0.0)


def wants_gzip(accept_encoding: str) -> bool:
    """
    Tell whether a client takes gzip at least as gladly as plain bytes.

    Args:
        accept_encoding: The Accept-Encoding header, empty when absent.

    Returns:
        True for gzip.

    """
    ranges = _parse(accept_encoding)
    wildcard = _best([r for r in ranges if r.name == "*"])
    gzip = _best([r for r in ranges if r.name in ("gzip", "x-gzip")])
    identity = _best([r for r in ranges if r.name == "identity"])
    gzip = wildcard if gzip is None else gzip
    return bool(gzip) and (gzip or 0.0) >= (identity or 0.0)


def _is_version_1(version: str) -> bool:
    """Tell whether version 1.0.0 answers a request for this version."""
    return version in ("", "1.0.0", "1.0")


def _best(ranges: list[_Range]) -> float | None:
    """Return the greatest weight, None when nothing is named."""
    return max((r.weight for r in ranges), default=None)


def _parse(header: str) -> list[_Range]:
    """Split a header into its elements; one that is malformed is left out."""
    elements = header.lower().split(",", _MOST_RANGES)[:_MOST_RANGES]
    parsed = (_parse_range(element) for element in elements)
    return [r for r in parsed if r is not None]


def _parse_range(element: str) -> _Range | None:
    """Return one element, None when it has no name or an impossible weight."""
    name, *parameters = (part.strip(" \t") for part in element.split(";"))
    values = dict(_parse_parameter(parameter) for parameter in parameters)
    weight = values.get("q", "1")
    if not name or not _WEIGHT.fullmatch(weight):
        return None
    return _Range(name, values.get("version", ""), float(weight))


def _parse_parameter(text: str) -> tuple[str, str]:
    """Split `name=value`, with or without quotes."""
    name, _, value = text.partition("=")
    return name.strip(" \t"), value.strip(" \t").strip('"')
