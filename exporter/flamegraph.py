"""Flame graphs: where programs were, as one picture that can be searched and zoomed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from exporter.flamegraph_style import SCRIPT, STYLE

PROBES = ("profile", "offcputime", "wakeuptime")
_TITLES = {
    "profile": "On CPU",
    "offcputime": "Off CPU: waiting",
    "wakeuptime": "Who woke those that waited",
}
_WIDTH, _ROW, _LEFT, _TOP, _BOTTOM = 1180, 18, 10, 56, 16  # [px]
_LETTER = 6.9  # [px] of the fonts in use
_LEAST = 0.3  # narrower frames are not drawn [px]
_SPEEDSCOPE = "https://www.speedscope.app/file-format-schema.json"


@dataclass(slots=True)
class Frame:
    """
    A function with everything that was below it; equal ones are one.

    Attributes:
        name: Of the function, or of the process.
        value: Samples or microseconds, what is above it included.
        inner: Name to what it called.

    """

    name: str
    value: int = 0
    inner: dict[str, Frame] = field(default_factory=dict)

    def add(self, frames: Sequence[str], value: int) -> None:
        """
        Add a stack.

        Args:
            frames: Outermost first.
            value: Its weight.

        """
        place = self
        place.value += value
        for name in frames:
            place = place.inner.setdefault(name, Frame(name))
            place.value += value

    def depth(self) -> int:
        """
        Measure the longest stack.

        Returns:
            Frames above this one.

        """
        return 1 + max((frame.depth() for frame in self.inner.values()), default=-1)


@dataclass(frozen=True, slots=True)
class Stacks:
    """
    A probe's stacks, as a report has them.

    Attributes:
        probe: Its name.
        unit: Of the weights: "samples" or "microseconds".
        stacks: Pairs of frames, outermost first, and weight.
        where: Host, time and length of the window, for the title.

    """

    probe: str
    unit: str
    stacks: tuple[tuple[tuple[str, ...], int], ...]
    where: str


def read(report: Mapping[str, Any], probe: str) -> Stacks:
    """
    Find a probe's stacks in a report.

    Args:
        report: The parsed JSON.
        probe: One of PROBES.

    Returns:
        The stacks.

    Raises:
        ValueError: When it has none, saying why.

    """
    entries = [e for part in report.get("categories", {}).values() for e in part]
    entry = next((e for e in entries if e["collector"] == probe), None)
    if entry is None:
        profile = report.get("metadata", {}).get("profile", "unknown")
        raise ValueError(
            f"the report has no {probe}: a {profile} sweep does not run it; "
            "take a report of a deep sweep (/report?profile=deep)"
        )
    if not entry["stacks"]:
        raise ValueError(f"{probe} saw no stacks: {entry['reason'] or 'nothing happened'}")
    metadata, data = report["metadata"], entry["data"]
    where = f"{metadata['hostname']}, {metadata['started_at']}, {data['window_seconds']:.0f} s"
    stacks = tuple((tuple(s["frames"]), int(s["value"])) for s in entry["stacks"])
    return Stacks(probe, data["stack_unit"], stacks, where)


def folded(stacks: Stacks) -> str:
    """
    Write stacks as text, one a line, as other tools read them.

    Args:
        stacks: The stacks.

    Returns:
        Lines of frames joined by semicolons, a blank and the weight.

    """
    return "".join(
        f"{';'.join(frame.replace(';', ':') for frame in frames)} {value}\n"
        for frames, value in stacks.stacks
    )


def speedscope(stacks: Stacks) -> str:
    """
    Write stacks for the viewer speedscope.

    Args:
        stacks: The stacks.

    Returns:
        JSON of its file format.

    """
    names = list(dict.fromkeys(name for frames, _ in stacks.stacks for name in frames))
    places = {name: number for number, name in enumerate(names)}
    weights = [value for _, value in stacks.stacks]
    profile = {
        "type": "sampled",
        "name": f"{_TITLES[stacks.probe]} ({stacks.where})",
        "unit": "microseconds" if stacks.unit == "microseconds" else "none",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": [[places[name] for name in frames] for frames, _ in stacks.stacks],
        "weights": weights,
    }
    file = {
        "$schema": _SPEEDSCOPE,
        "name": stacks.where,
        "shared": {"frames": [{"name": name} for name in names]},
        "profiles": [profile],
    }
    return json.dumps(file, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A frame with its place: start and width as shares of the whole, and its row."""

    frame: Frame
    start: float
    width: float
    row: int


def svg(stacks: Stacks) -> str:
    """
    Draw a flame graph.

    Args:
        stacks: The stacks.

    Returns:
        One SVG that needs no other file: click to zoom, search, hover for numbers.

    """
    root = Frame("all")
    for frames, value in stacks.stacks:
        root.add(frames, value)
    rows = root.depth() + 1
    height = _TOP + rows * _ROW + _BOTTOM
    placed = [p for p in _place(root, 0.0, root.value, 0) if p.width * _WIDTH >= _LEAST]
    drawn = "\n".join(_draw(p, root, stacks.unit, height) for p in placed)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 2 * _LEFT} {height}" '
        f'width="{_WIDTH + 2 * _LEFT}" height="{height}" data-width="{_WIDTH}" '
        f'data-left="{_LEFT}">\n<style>{STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="#f7f8fa"/>\n{_head(stacks, root)}\n{drawn}\n'
        f"<script><![CDATA[{SCRIPT}]]></script>\n</svg>\n"
    )


def _head(stacks: Stacks, root: Frame) -> str:
    """Write the title and what can be done."""
    title = escape(f"{_TITLES[stacks.probe]} · {stacks.where}")
    total = escape(f"{_amount(root.value, stacks.unit)} in {len(stacks.stacks)} stacks")
    right = _LEFT + _WIDTH
    return (
        f'<text class="title" x="{_LEFT}" y="24">{title}</text>\n'
        f'<text class="note" x="{_LEFT}" y="44">{total}</text>\n'
        f'<text id="told" class="note" x="{right - 140}" y="44" text-anchor="end"></text>\n'
        f'<text id="back" class="action hidden" x="{right - 60}" y="44" text-anchor="end" '
        f'tabindex="0">whole</text>\n'
        f'<text id="search" class="action" x="{right}" y="44" text-anchor="end" '
        f'tabindex="0">search</text>'
    )


def _place(frame: Frame, start: float, whole: int, row: int) -> Iterator[_Placed]:
    """Place a frame and what is above it, in the order of names so that pictures compare."""
    yield _Placed(frame, start, frame.value / whole, row)
    for name in sorted(frame.inner):
        yield from _place(frame.inner[name], start, whole, row + 1)
        start += frame.inner[name].value / whole


def _draw(placed: _Placed, root: Frame, unit: str, height: int) -> str:
    """Draw one frame."""
    frame = placed.frame
    left, width = _LEFT + placed.start * _WIDTH, placed.width * _WIDTH
    top = height - _BOTTOM - (placed.row + 1) * _ROW
    share = 100 * frame.value / root.value
    tip = escape(f"{frame.name}: {_amount(frame.value, unit)}, {share:.2f} %")
    return (
        f'<g class="frame" tabindex="0" data-name={quoteattr(frame.name)} '
        f'data-x="{placed.start:.9g}" data-w="{placed.width:.9g}" data-depth="{placed.row}">'
        f"<title>{tip}</title>"
        f'<rect x="{left:.2f}" y="{top}" width="{width:.2f}" height="{_ROW - 1}" rx="2" '
        f'fill="{_color(frame.name)}"/>'
        f'<text x="{left + 3:.2f}" y="{top + 13}">{escape(_fit(frame.name, width))}</text></g>'
    )


def _fit(name: str, width: float) -> str:
    """Shorten a name to its room."""
    room = int((width - 6) / _LETTER)
    if room < 3:  # noqa: PLR2004  nothing readable fits
        return ""
    return name if len(name) <= room else name[: room - 1] + "…"


def _color(name: str) -> str:
    """Give a function a color: the same in every picture; the kernel's are blue."""
    shade = zlib.crc32(name.encode()) % 24
    if name.endswith("_[k]"):
        return f"hsl({200 + shade} 55% {66 + shade // 3}%)"
    if name in ("all", "other", "[unknown]"):
        return "#c9d0d9"
    return f"hsl({18 + shade} 85% {64 + shade // 3}%)"


def _amount(value: int, unit: str) -> str:
    """Write a weight for people."""
    if unit != "microseconds":
        return f"{value:,} {unit}"
    return f"{value / 1e6:,.3f} s" if value >= 1_000_000 else f"{value / 1e3:,.3f} ms"  # noqa: PLR2004


FORMS: Mapping[str, Callable[[Stacks], str]] = {
    "svg": svg,
    "speedscope": speedscope,
    "folded": folded,
}


def write(stacks: Stacks, form: str) -> str:
    """
    Write stacks in one of the forms.

    Args:
        stacks: The stacks.
        form: One of FORMS.

    Returns:
        The file's content.

    """
    return FORMS[form](stacks)
