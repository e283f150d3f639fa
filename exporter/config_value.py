"""Values as people write them in a configuration: names, addresses, paths, crontab lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

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

    def check(self, name: object, info: ValidationInfo) -> str:
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
        if isinstance(name, str) and (not options or name in options):
            return name
        hint = nearest(name, options) if isinstance(name, str) else ""
        allowed = listed(options, self.more)
        raise ValueError(f"unknown {self.what} {shown(name)}{hint} (allowed: {allowed})")

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        """Tell pydantic to check it."""
        return core_schema.with_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(
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
