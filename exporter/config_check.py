"""Settings that are right alone and impossible together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from exporter.config_model import Config, Known, Profile, RuleConfig, ScheduleTime
from exporter.config_quantity import duration
from exporter.config_value import shown
from exporter.config_yaml import Keys

_SECONDS = duration("0s", "1d").write
_NOTHING = {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True)
class Clash:
    """
    Settings that do not go together.

    Attributes:
        keys: Their paths, the one to change first; the problem is shown at the first written one.
        text: What is wrong, and what would be right.
        certain: Whether it holds even if one of the settings is wrong in itself.

    """

    keys: tuple[Keys, ...]
    text: str
    certain: bool = False


def clashes(config: Config, known: Known, texts: Mapping[Keys, str]) -> Iterator[Clash]:
    """
    Find what does not go together.

    Args:
        config: Settings, each of them right alone.
        known: Has the rules' default thresholds.
        texts: Path of each scalar that is written to what was written.

    Yields:
        One clash after the other.

    """
    for name, profile in config.profiles.items():
        yield from _profile(("profiles", name), profile, texts)
    if not any(profile.enabled for _, profile in config.profiles.items()):
        keys = tuple(("profiles", name, "enabled") for name, _ in config.profiles.items())
        yield Clash(keys, "no profile is enabled, so nothing would ever run; enable at least one")
    yield from _repeated(("collectors", "disabled"), texts)
    yield from _rules(config.rules, known)
    needed, looked = config.analysis.raise_sweeps, config.analysis.of_sweeps
    if needed > looked:
        clash = (("analysis", "raise_sweeps"), ("analysis", "of_sweeps"))
        text = f"{needed} is more than of_sweeps, which is {looked}; use 1 to {looked}"
        yield Clash(clash, text)


def _profile(base: Keys, profile: Profile, texts: Mapping[Keys, str]) -> Iterator[Clash]:
    """Compare the times of a profile."""
    span = (*base, "duration")
    length = f"the duration {_told(profile.duration, span, texts)}"
    limit = (*base, "timeout")
    if profile.timeout <= profile.duration:
        own, least = _told(profile.timeout, limit, texts), _SECONDS(profile.duration + 1)
        text = f"{own} is not longer than {length}; use at least {least}"
        yield Clash((limit, span), text)
    step = (*base, "sample_interval")
    if profile.sample_interval > profile.duration:
        own, most = _told(profile.sample_interval, step, texts), _SECONDS(profile.duration)
        yield Clash((step, span), f"{own} is longer than {length}; use at most {most}")
    yield from _schedule(base, profile, length, texts)
    yield from _repeated((*base, "probes"), texts)
    yield from _repeated((*base, "focus"), texts)


def _schedule(
    base: Keys, profile: Profile, length: str, texts: Mapping[Keys, str]
) -> Iterator[Clash]:
    """Compare a profile's schedule with its duration."""
    when, path = profile.schedule, (*base, "schedule")
    both = all(texts.get((*path, key), "null") not in _NOTHING for key in ("every", "cron"))
    if both or (when.every is None and when.cron is None):
        fault = "both every and cron are given" if both else "neither every nor cron is given"
        text = f'{fault}; use one of them, like {{every: 15m}} or {{cron: "*/15 * * * *"}}'
        yield Clash((path, (*path, "every"), (*path, "cron")), text, certain=both)
        return
    gap, least = _gap(when), _SECONDS(profile.duration)
    if gap >= profile.duration:
        return
    key = (*path, "cron" if when.cron else "every")
    own = f"{shown(when.cron)} comes every {_SECONDS(gap)}, which" if when.cron else ""
    own = own or _told(gap, key, texts)
    text = f"{own} is shorter than {length}; use at least {least}"
    yield Clash((key, (*base, "duration")), text)


def _gap(when: ScheduleTime) -> float:
    """Give the shortest time between two starts [s]."""
    if when.every is not None:
        return when.every
    from exporter.timetable import Crontab

    return Crontab(when.cron or "").smallest_gap()


def _told(value: float, key: Keys, texts: Mapping[Keys, str]) -> str:
    """Write a duration as the file does, or say that it is the default."""
    return texts.get(key) or f"{_SECONDS(value)} (the default)"


def _repeated(path: Keys, texts: Mapping[Keys, str]) -> Iterator[Clash]:
    """Find names that are in a list twice, counting as the file does."""
    seen: set[str] = set()
    for number in count():
        name = texts.get((*path, number))
        if name is None:
            return
        if name in seen:
            yield Clash(((*path, number),), f"{shown(name)} is in the list twice; remove one")
        seen.add(name)


def _rules(rules: Mapping[str, RuleConfig], known: Known) -> Iterator[Clash]:
    """Compare the thresholds of each rule, as they would be in force."""
    for name, rule in rules.items():
        own = known.rules.get(name)
        if own is None:
            continue
        warning, critical = rule.warning or own[0], rule.critical or own[1]
        if critical is None or warning < critical:
            continue
        yield _reversed(name, rule, (warning, critical))


def _reversed(name: str, rule: RuleConfig, in_force: tuple[float, float]) -> Clash:
    """Say which threshold to move, and whither."""
    warning, critical = in_force
    keys: tuple[Keys, ...] = (("rules", name, "warning"), ("rules", name, "critical"))
    law = "(for every rule higher is worse)"
    if rule.warning is None:
        text = f"{critical:g} is not above warning, by default {warning:g}; use more {law}"
        return Clash(keys[::-1], text)
    default = ", by default" if rule.critical is None else ""
    return Clash(keys, f"{warning:g} is not below critical{default} {critical:g}; use less {law}")
