"""Command lines without the secrets in them."""

from __future__ import annotations

import re

from collectors.text import label

_SECRET = re.compile(rb"(?i)(pass|token|secret|key|auth|cred)")
_USERINFO = re.compile(rb"//[^/@\s]+@")


def shown(words: list[bytes], mode: str) -> str | None:
    """
    Write a command line so that it tells no secret.

    Args:
        words: The command and its arguments.
        mode: "argv0" for the command alone; "redacted" for all of it without
            the values of options that sound like secrets and without the users
            and passwords in addresses.

    Returns:
        The text; None for a process without a command line.

    """
    if not words:
        return None
    if mode == "argv0":
        return label(words[0], 128)
    safe: list[bytes] = []
    hide = False
    for word in words:
        name, equals, _ = word.partition(b"=")
        secret = bool(_SECRET.search(name))
        safe.append(b"***" if hide else name + b"=***" if secret and equals else word)
        # The value of "--password VALUE" is the next word.
        hide = secret and not equals and word.startswith(b"-")
    return label(_USERINFO.sub(b"//***@", b" ".join(safe)), 256)
