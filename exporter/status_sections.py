"""The parts of the status page that a report fills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.text import percent
from exporter.status_diagnosis import diagnosis
from exporter.status_format import (
    UNKNOWN,
    bar,
    items,
    mapping,
    moment,
    number,
    quantity,
    sparkline,
    text,
)

_BANDS = ("healthy", "degraded", "critical")
_SEVERITIES = ("critical", "warning", "info")
_MOST_DEVICES = 8
_CIRCLE = 339.292  # circumference of a circle of radius 54
_FULL_SCORE = 100.0
_COMMAND = 4000  # [characters] a command cut short would be another command


def band_of(summary: Mapping[str, Any]) -> str:
    """Return the band, "unknown" when there is no known one."""
    band = summary.get("band")
    return band if band in _BANDS else "unknown"


def report_body(report: Mapping[str, Any]) -> str:
    """
    Render everything that a report says.

    Args:
        report: The report; any key may be missing or odd.

    Returns:
        HTML.

    """
    summary, metadata = mapping(report.get("summary")), mapping(report.get("metadata"))
    return "".join(
        (
            _hero(summary, metadata),
            _partial(metadata),
            card("Diagnosis", diagnosis(items(summary.get("hypotheses")))),
            _anomalies(items(summary.get("anomalies"))),
            _deductions(summary),
            _advice(items(summary.get("recommendations"))),
            _use(summary),
        )
    )


def card(title: str, content: str) -> str:
    """Return a section with a title, nothing when it has no content."""
    return f'<section class="card"><h2>{title}</h2>{content}</section>' if content else ""


def tag(word: object, kind: str) -> str:
    """Return a word in a coloured capsule; `kind` must be a class of the style sheet."""
    return f'<span class="tag {kind}">{text(word)}</span>'


def _hero(summary: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Render score, band, verdict and what was looked at."""
    band = band_of(summary)
    facts = [
        f"{text(metadata.get('profile'))} sweep",
        f"window {quantity(metadata.get('window_seconds'), 's')}",
        f"coverage {quantity(summary.get('coverage'), 'ratio')}",
        f"kernel {text(metadata.get('kernel'))}",
    ]
    return (
        f'<section class="card hero"><div class="{band}">{_ring(summary)}</div><div>'
        f'{tag(band, band)}<p class="verdict">{text(summary.get("verdict"))}</p>'
        f'<p class="muted">{" · ".join(facts)}</p></div></section>'
    )


def _ring(summary: Mapping[str, Any]) -> str:
    """Draw the score as an arc; no score draws no arc."""
    score = number(summary.get("health_score"))
    shown = "?" if score is None else f"{score:.0f}"
    arc = ""
    if score is not None and score > 0:
        length = min(1.0, score / _FULL_SCORE) * _CIRCLE
        arc = (
            '<circle class="arc" cx="64" cy="64" r="54" transform="rotate(-90 64 64)" '
            f'stroke-dasharray="{length:.1f} {_CIRCLE}"/>'
        )
    return (
        f'<svg viewBox="0 0 128 128" role="img" aria-label="health score {shown}">'
        f'<circle class="ring" cx="64" cy="64" r="54"/>{arc}'
        f'<text class="score" x="64" y="72" text-anchor="middle">{shown}</text>'
        '<text class="of" x="64" y="92" text-anchor="middle">of 100</text></svg>'
    )


def _partial(metadata: Mapping[str, Any]) -> str:
    """Say what a partial report lacks."""
    if metadata.get("complete") is not False:
        return ""
    reasons = "".join(f"<li>{text(r)}</li>" for r in items(metadata.get("partial_reasons"), 10))
    return (
        '<section class="card note"><h3>This report is partial</h3>'
        f'<ul class="muted">{reasons}</ul></section>'
    )


def _anomalies(anomalies: Sequence[Any]) -> str:
    """Render the active anomalies, worst first."""
    known = [mapping(anomaly) for anomaly in anomalies]
    known.sort(key=lambda a: _SEVERITIES.index(_severity(a)))
    if not known:
        return card("Anomalies", '<p class="muted">None is active.</p>')
    return card("Active anomalies", "".join(_anomaly(anomaly) for anomaly in known))


def _severity(anomaly: Mapping[str, Any]) -> str:
    """Return the severity, "info" for an unknown one."""
    severity = anomaly.get("severity")
    return severity if severity in _SEVERITIES else "info"


def _anomaly(anomaly: Mapping[str, Any]) -> str:
    """Render one anomaly: what, how bad, since when, who, and by which numbers."""
    severity, unit = _severity(anomaly), anomaly.get("unit")
    facts = [
        f"{text(anomaly.get('resource'))} / <code>{text(anomaly.get('rule'))}</code>",
        f"<b>{quantity(anomaly.get('value'), unit)}</b>",
        *(
            f"{word} from {quantity(anomaly[word], unit)}"
            for word in ("warning", "critical")
            if anomaly.get(word) is not None
        ),
        f"since {moment(anomaly.get('since'))}",
    ]
    explanation = anomaly.get("explanation")
    return (
        f'<article class="finding {severity}"><h3>{tag(severity, severity)} '
        f'{text(anomaly.get("message"))}</h3><p class="muted">{" · ".join(facts)}</p>'
        + (f"<p>{text(explanation)}</p>" if explanation else "")
        + _pairs("Culprit", [_culprit(mapping(c)) for c in items(anomaly.get("culprits"), 10)])
        + _pairs("Evidence", [_evidence(mapping(e)) for e in items(anomaly.get("evidence"), 20)])
        + _pairs("Next", [_step(step) for step in items(anomaly.get("next_steps"), 10)])
        + "</article>"
    )


def _pairs(title: str, rows: list[str]) -> str:
    """Return a small table, nothing without rows."""
    if not rows:
        return ""
    head = f"<tr><th>{title}</th><th></th><th></th></tr>"
    return f'<div class="wide"><table class="pairs">{head}{"".join(rows)}</table></div>'


def _culprit(culprit: Mapping[str, Any]) -> str:
    """Render who does it."""
    name = f"<b>{text(culprit.get('name'))}</b>"
    if culprit.get("id") is not None:
        name += f" <small>{text(culprit['id'])}</small>"
    more = " · ".join(text(culprit[key]) for key in ("kind", "detail") if culprit.get(key))
    share = number(culprit.get("share"))
    value = "" if culprit.get("value") is None else quantity(culprit["value"], culprit.get("unit"))
    part = "" if share is None else f'<span class="nb">{bar(share)}{percent(share)}</span>'
    return f"<tr><td>{name} <small>{more}</small></td><td>{value}</td><td>{part}</td></tr>"


def _step(step: object) -> str:
    """Render what to look at next."""
    return f'<tr><td colspan="3">{text(step)}</td></tr>'


def _evidence(evidence: Mapping[str, Any]) -> str:
    """Render a number and where it comes from."""
    value = quantity(evidence.get("value"), evidence.get("unit"))
    source = f" <small>{text(evidence['source'])}</small>" if evidence.get("source") else ""
    return f"<tr><td>{text(evidence.get('text'))}{source}</td><td>{value}</td><td></td></tr>"


def _deductions(summary: Mapping[str, Any]) -> str:
    """Render why the score is not 100."""
    rows, total = [], 0.0
    for deduction in map(mapping, items(summary.get("deductions"))):
        points = number(deduction.get("points"))
        total += points or 0.0
        share = None if points is None else points / _FULL_SCORE
        rows.append(
            f"<tr><td>{text(deduction.get('cause'))}</td><td>{text(deduction.get('resource'))}</td>"
            f"<td><code>{text(deduction.get('rule'))}</code></td>"
            f'<td class="n"><span class="nb">{bar(share, kind="cost")}'
            f"&minus;{_points(points)}</span></td></tr>"
        )
    if not rows:
        return ""
    head = '<tr><th>Cause</th><th>Resource</th><th>Rule</th><th class="n">Points</th></tr>'
    score = _points(number(summary.get("health_score")))
    floor = ", the floor" if total > _FULL_SCORE else ""
    result = f'<p class="muted">100 &minus; {_points(total)} = {score}{floor}</p>'
    return card(
        "Why not 100", f'<div class="wide"><table>{head}{"".join(rows)}</table></div>{result}'
    )


def _points(points: float | None) -> str:
    """Write points as the score is written."""
    return UNKNOWN if points is None else f"{points:.1f}"


def _advice(recommendations: Sequence[Any]) -> str:
    """Render what can be done."""
    return card("What to do", "".join(_one_advice(mapping(r)) for r in recommendations))


def _one_advice(advice: Mapping[str, Any]) -> str:
    """Render one recommendation with its commands, risk and way back."""
    kind = f'<span class="tag info">{text(advice.get("kind"))}</span>'
    lines = [
        f"<dt>{title}</dt><dd>{text(advice[key])}</dd>"
        for title, key in (("Now", "current"), ("Proposed", "proposed"), ("Risk", "risk"))
        if advice.get(key)
    ]
    details = f"<dl>{''.join(lines)}</dl>" if lines else ""
    blocks = (
        _commands("", advice.get("commands")),
        _commands("To keep it over a reboot", advice.get("persistent")),
        _commands("To take it back", advice.get("undo")),
    )
    return (
        f'<article class="advice"><h3>{kind} {text(advice.get("title"))}</h3>'
        f"<p>{text(advice.get('why') or '')}</p>{details}{''.join(blocks)}</article>"
    )


def _commands(title: str, commands: object) -> str:
    """Return commands to copy, nothing without any."""
    lines = "\n".join(text(command, _COMMAND) for command in items(commands, 20))
    if not lines:
        return ""
    return (f'<p class="muted">{title}</p>' if title else "") + f"<pre>{lines}</pre>"


def _use(summary: Mapping[str, Any]) -> str:
    """Render utilization, saturation and errors of each resource and its devices."""
    resources = mapping(summary.get("resources"))
    alarms = {
        str(mapping(a).get("resource")): _severity(mapping(a))
        for a in reversed(items(summary.get("anomalies")))
    }
    rows = []
    for name, use in resources.items():
        alarm = alarms.get(name)
        flag = f" {tag(alarm, alarm)}" if alarm else ""
        rows.append(_use_row(f"<b>{text(name)}</b>{flag}", mapping(use), ""))
        rows += _device_rows(mapping(mapping(use).get("devices")))
    if not rows:
        return ""
    head = "<tr><th>Resource</th><th>Utilization</th><th>Saturation</th><th>Errors</th></tr>"
    legend = (
        f'<p class="muted">The bar is the mean of the window, the tick its peak; '
        f"{UNKNOWN} is unknown, never zero.</p>"
    )
    return card(
        "Utilization, saturation, errors",
        f'<div class="wide"><table class="use">{head}{"".join(rows)}</table></div>{legend}',
    )


def _device_rows(devices: Mapping[str, Any]) -> list[str]:
    """Render the devices that have something to tell, those with errors and then the busiest."""
    known = {name: mapping(use) for name, use in devices.items() if _tells(mapping(use))}

    def order(name: str) -> tuple[bool, float]:
        use = known[name]
        return not _fresh(use.get("errors")), -(_mean(use.get("utilization")) or 0.0)

    shown = sorted(known, key=order)[:_MOST_DEVICES]
    rows = [_use_row(text(name), known[name], "device") for name in shown]
    if len(devices) > len(shown):
        more = f"{'and ' if shown else ''}{len(devices) - len(shown)} more in the report"
        rows.append(f'<tr class="device"><td colspan="4" class="muted">{more}</td></tr>')
    return rows


def _tells(use: Mapping[str, Any]) -> bool:
    """Tell whether anything but the absence of errors is known of a device."""
    known = _mean(use.get("utilization")) is not None or _saturation(use) != UNKNOWN
    return known or bool(_fresh(use.get("errors")))


def _use_row(name: str, use: Mapping[str, Any], kind: str) -> str:
    """Render one line of the table; `name` is HTML already."""
    cells = (_utilization(use.get("utilization")), _saturation(use), _errors(use.get("errors")))
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr class="{kind}"><td>{name}</td>{row}</tr>'


def _utilization(value: object) -> str:
    """Render a utilization, given as a ratio or as mean, peak and samples."""
    spread, mean = mapping(value), _mean(value)
    if mean is None:
        return UNKNOWN
    peak = number(spread.get("peak"))
    line = sparkline(spread.get("samples"))
    return f'<span class="nb">{bar(mean, peak)}{percent(mean)}{line}</span>'


def _mean(value: object) -> float | None:
    """Return a utilization, given as a ratio or as mean, peak and samples."""
    spread = mapping(value)
    return number(spread.get("mean")) if spread else number(value)


def _saturation(use: Mapping[str, Any]) -> str:
    """Render queue, saturation signals and pressure; what is unknown is left out."""
    parts = []
    queue = number(use.get("queue_length"))
    if queue is not None:
        parts.append(f"queue {quantity(queue, '')}")
    saturation = use.get("saturation")
    signals = mapping(saturation) if isinstance(saturation, Mapping) else {"": saturation}
    shares = [(str(name), value) for name, value in signals.items()]
    shares += [(f"stalled ({k})", v) for k, v in mapping(use.get("pressure")).items()]
    for name, value in shares[:6]:
        share = number(value)
        if share is not None:
            parts.append(f"{text(name, 40)} {percent(share)}".strip())
    return " · ".join(parts) or UNKNOWN


def _errors(value: object) -> str:
    """Render the errors that came up in the window."""
    if not isinstance(value, Mapping):
        return quantity(value, "")
    if fresh := _fresh(value):
        return " · ".join(fresh[:6])
    known = (number(mapping(count).get("increase")) for count in value.values())
    return "0" if any(count is not None for count in known) else UNKNOWN


def _fresh(value: object) -> list[str]:
    """Return the kinds of errors that came up in the window, with their counts."""
    known = {k: number(mapping(count).get("increase")) for k, count in mapping(value).items()}
    return [f"{text(kind, 40)} +{count:,.0f}" for kind, count in known.items() if count]
