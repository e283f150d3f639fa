"""Durations and sizes as people write them in a configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from exporter.config_value import shown

_NUMBER = re.compile(r"([0-9]{1,9})([A-Za-z]*)", re.ASCII)


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
        text = raw if isinstance(raw, str) else ""
        match = _NUMBER.fullmatch(text)
        if match is None:
            fault = "has no unit" if type(raw) in (int, float) else f"is no {self.what}"
            raise ValueError(f"{shown(raw)} {fault}; {self._way()}")
        number, unit = match.groups()
        if unit not in dict(self.units):
            raise ValueError(f"{shown(raw)} {self._wrong(unit)}; {self._way(number, unit)}")
        value = self._value(text)
        if not self._value(self.low) <= value <= self._value(self.high):
            raise ValueError(f"{text} is out of range; use {self.span}")
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

    def _way(self, number: str = "", unit: str = "") -> str:
        """Say how it is written, and what may have been meant."""
        meant = self._meant(unit)
        way = f"write a whole number and one of {', '.join(dict(self.units))}, like {self.example}"
        return f"{way}; did you mean {number}{meant}?" if meant else way

    def _meant(self, unit: str) -> str | None:
        """Guess the unit by its first letter: seconds, min, hours, MB, gb."""
        if not unit:
            return None
        same = [u for u, _ in self.units if u.casefold() == unit.casefold()]
        milli = [
            u for u, _ in self.units if u == "ms" and unit.casefold().startswith(("ms", "mil"))
        ]
        first = [u for u, _ in self.units if u != "ms" and u[0].casefold() == unit[0].casefold()]
        return next(iter([*same, *milli, *first]), None)

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        """Tell pydantic to read and write it this way."""
        return core_schema.with_info_plain_validator_function(
            self.accept, serialization=core_schema.plain_serializer_function_ser_schema(self.write)
        )

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Tell editors what is allowed."""
        return {"type": "string", "pattern": f"^[0-9]{{1,9}}({'|'.join(dict(self.units))})$"}


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
