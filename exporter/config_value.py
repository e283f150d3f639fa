"""Values as people write them in a configuration: durations, sizes, addresses, names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

_NUMBER = re.compile(r"([0-9]{1,9})[ ]?([A-Za-z]*)", re.ASCII)
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", re.ASCII)
_LAST_PORT = 65_535
_LISTED = 24  # a longer list of allowed names hides the message


def nearest(word: str, options: Iterable[str]) -> str:
    """
    Offer the option that looks most like a word.

    Args:
        word: What was written.
        options: What may be written.

    Returns:
        "; did you mean X?", or nothing when none is like it.

    """
    import difflib

    known = {option.casefold(): option for option in options}
    found = difflib.get_close_matches(word.casefold(), known, n=1, cutoff=0.6)
    return f"; did you mean {known[found[0]]}?" if found else ""


def listed(options: Iterable[str], more: str = "") -> str:
    """
    List what may be written.

    Args:
        options: In the order to show.
        more: Where the whole list is, for when it is long.

    Returns:
        One line.

    """
    names = list(options)
    shown = ", ".join(names[:_LISTED]) or "nothing"
    return shown if len(names) <= _LISTED else f"{shown}, and {len(names) - _LISTED} more{more}"


@dataclass(frozen=True)
class Quantity:
    """
    A whole number with a unit, for use in `Annotated`.

    Attributes:
        low: The least value, as written.
        high: The greatest value, as written.
        what: What it is called in messages.
        units: Unit to its factor, smallest first.
        divisor: Of the factors, so that parts of a second stay exact.

    """

    low: str
    high: str
    what: str
    units: tuple[tuple[str, int], ...]
    divisor: int = 1

    @property
    def example(self) -> str:
        """How such a value is written."""
        return "10s" if self.what == "duration" else "64MiB"

    @property
    def span(self) -> str:
        """The allowed values, in words."""
        return f"{self.low} to {self.high}"

    def accept(self, raw: object, info: ValidationInfo) -> float | int:
        """
        Read a value; from code, which gives no context, a plain number will do.

        Args:
            raw: What the file or the code holds.
            info: Carries the context.

        Returns:
            In seconds or bytes.

        """
        if info.context is None and isinstance(raw, (int, float)):
            return raw
        return self.read(raw)

    def read(self, raw: object) -> float | int:
        """
        Read a value.

        Args:
            raw: What the file holds.

        Returns:
            In seconds or bytes.

        Raises:
            ValueError: With the way to write it.

        """
        if isinstance(raw, (int, float)) and not isinstance(raw, bool):
            raise ValueError(f"{raw} has no unit; {self._way(raw)}")
        match = _NUMBER.fullmatch(raw) if isinstance(raw, str) else None
        if match is None:
            raise ValueError(f"{shown(raw)} is no {self.what}; {self._way()}")
        number, unit = match.groups()
        if unit not in dict(self.units):
            raise ValueError(f"{shown(raw)} {self._wrong(unit)}; {self._way(number, unit)}")
        value = self._value(raw)
        if not self._value(self.low) <= value <= self._value(self.high):
            raise ValueError(f"{raw} is out of range; use {self.span}")
        return value

    def write(self, value: float) -> str:
        """
        Write a value in the largest unit that needs no fraction.

        Args:
            value: In seconds or bytes.

        Returns:
            The text that `read` turns into the value.

        """
        scaled = round(value * self.divisor)
        fits = [(u, f) for u, f in self.units if scaled % f == 0 and scaled >= f]
        unit, factor = fits[-1] if fits else self.units[0]
        return f"{scaled // factor}{unit}"

    def _value(self, text: str) -> float | int:
        """Turn a text that is known to be well-formed into seconds or bytes."""
        match = _NUMBER.fullmatch(text)
        assert match is not None
        scaled = int(match[1]) * dict(self.units)[match[2]]
        return scaled if self.divisor == 1 else scaled / self.divisor

    def _wrong(self, unit: str) -> str:
        """Say what is wrong with a unit."""
        return f'has the unknown unit "{unit}"' if unit else "has no unit"

    def _way(self, number: object = None, unit: str = "") -> str:
        """Say how it is written, and what may have been meant."""
        way = f"write a whole number and one of {', '.join(dict(self.units))}, like {self.example}"
        meant = self._meant(unit)
        return f"{way}; did you mean {number}{meant}?" if number is not None and meant else way

    def _meant(self, unit: str) -> str | None:
        """Guess the unit by its first letter: seconds, min, hours, MB, gb."""
        if not unit:
            return None
        same = [u for u, _ in self.units if u.casefold() == unit.casefold()]
        milli = [u for u, _ in self.units if u == "ms" and unit.casefold().startswith(("ms", "mil"))]
        first = [u for u, _ in self.units if u != "ms" and u[0].casefold() == unit[0].casefold()]
        return next(iter([*same, *milli, *first]), None)

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:  # noqa: PLW3201
        """Tell pydantic to read and write it this way."""
        return core_schema.with_info_plain_validator_function(
            self.accept, serialization=core_schema.plain_serializer_function_ser_schema(self.write)
        )

    def __get_pydantic_json_schema__(  # noqa: PLW3201
        self, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Tell editors what is allowed."""
        return {"type": "string", "pattern": f"^[0-9]{{1,9}} ?({'|'.join(dict(self.units))})$"}


def duration(low: str, high: str) -> Quantity:
    """
    Allow a duration, read as seconds.

    Args:
        low: The least one.
        high: The greatest one.

    Returns:
        For use in `Annotated[float, …]`.

    """
    units = (("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000))
    return Quantity(low, high, "duration", units, divisor=1_000)


def size(low: str, high: str) -> Quantity:
    """
    Allow a size, read as bytes.

    Args:
        low: The least one.
        high: The greatest one.

    Returns:
        For use in `Annotated[int, …]`.

    """
    units = (("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30))
    return Quantity(low, high, "size", units)


def shown(raw: object) -> str:
    """
    Show what was written, short and harmless.

    Args:
        raw: A value from the file.

    Returns:
        Text in quotes, or the kind of a longer thing.

    """
    from collectors.text import label

    if raw is None or isinstance(raw, bool):
        return {None: "null", True: "true", False: "false"}[raw]
    if isinstance(raw, (dict, list, tuple)):
        return "a mapping" if isinstance(raw, dict) else "a list"
    return f'"{label(raw)}"' if isinstance(raw, str) else label(str(raw))


@dataclass(frozen=True)
class OneOf:
    """
    A name from a list, for use in `Annotated[str, …]`.

    The list comes with the validation's context, as it is known only when the
    modules that define the names are loaded; without any list every name will do.

    Attributes:
        what: What the name stands for.
        attribute: The list's name in the context.
        fixed: The list itself, where it is known beforehand.
        more: Where the whole list can be seen.

    """

    what: str
    attribute: str = ""
    fixed: tuple[str, ...] = ()
    more: str = ""

    def check(self, name: str, info: ValidationInfo) -> str:
        """
        Refuse an unknown name.

        Args:
            name: What was written.
            info: Carries the context.

        Returns:
            The name.

        Raises:
            ValueError: With the allowed names and the nearest.

        """
        options: Iterable[str] = self.fixed
        if self.attribute and info.context is not None:
            options = sorted(getattr(info.context, self.attribute))
        if not options or name in options:
            return name
        hint = nearest(name, options)
        allowed = listed(options, self.more)
        raise ValueError(f"unknown {self.what} {shown(name)}{hint} (allowed: {allowed})")

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:  # noqa: PLW3201
        """Tell pydantic to check it."""
        text = core_schema.str_schema(strict=True)
        return core_schema.with_info_after_validator_function(self.check, text)

    def __get_pydantic_json_schema__(  # noqa: PLW3201
        self, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Tell editors what is allowed."""
        return {"type": "string", "enum": list(self.fixed)} if self.fixed else {"type": "string"}


def listen_address(raw: str) -> str:
    """
    Check an address to listen on.

    Args:
        raw: HOST:PORT, with an IPv6 host in brackets.

    Returns:
        The same.

    Raises:
        ValueError: With the way to write it.

    """
    way = "write HOST:PORT, like 127.0.0.1:10987, 0.0.0.0:10987 or [::1]:10987"
    match = _ADDRESS.fullmatch(raw)
    if match is None:
        raise ValueError(f"{shown(raw)} is no address to listen on; {way}")
    if int(match[2]) > _LAST_PORT:
        raise ValueError(f"port {match[2]} does not exist; use 0 to {_LAST_PORT}")
    host = match[1].strip("[]")
    if host != match[1] or not host.strip("0123456789."):
        _check_ip(host, way)
    return raw


def _check_ip(host: str, way: str) -> None:
    """Refuse a number that is no IP address."""
    import ipaddress

    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        raise ValueError(f"{shown(host)} is no IP address; {way}") from error


def absolute_path(raw: str) -> str:
    """
    Check the path of a directory.

    Args:
        raw: As written.

    Returns:
        The same.

    Raises:
        ValueError: When it is relative or cannot be a path.

    """
    if not raw.startswith("/") or "\0" in raw:
        raise ValueError(f"{shown(raw)} is no absolute path; write one that starts with /")
    return raw


def crontab(raw: str) -> str:
    """
    Check a crontab line with what will read it later.

    Args:
        raw: Five fields.

    Returns:
        The same.

    Raises:
        ValueError: With the way to write it.

    """
    from exporter.timetable import Crontab

    try:
        Crontab(raw)
    except ValueError as error:
        way = 'write "MINUTE HOUR DAY MONTH WEEKDAY", like "*/15 * * * *"'
        reason = str(error).removeprefix(f"crontab line {raw.lower()!r}: ")
        reason = reason.removeprefix(f"crontab line {raw!r}: ")
        raise ValueError(f"{shown(raw)} is no crontab line: {reason}; {way}") from error
    return raw
