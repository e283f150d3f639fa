"""What this program may do, so that a refusal is explained truthfully."""

from __future__ import annotations

import os
from pathlib import Path

_STATUS = Path("/proc/self/status")
_UID_MAP = Path("/proc/self/uid_map")
_NUMBERS = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYSLOG": 34,
}
# Who may override may read as well.
_IMPLIED = {"CAP_DAC_READ_SEARCH": "CAP_DAC_OVERRIDE"}


def parse_capabilities(raw: bytes) -> int | None:
    """
    Read the effective capabilities of a process.

    Args:
        raw: Content of /proc/PID/status.

    Returns:
        One bit for each capability; None when they are not told.

    Source:
        "CapEff" of /proc/PID/status, proc(5); the bits are those of capabilities(7).

    """
    _, mark, rest = raw.partition(b"\nCapEff:")
    word = rest.split(None, 1)[:1]
    try:
        return int(word[0], 16) if mark and word and word[0].isalnum() else None
    except ValueError:
        return None


def parse_uid_map(raw: bytes) -> bool | None:
    """
    Tell whether a process is in the user namespace that the host began with.

    Args:
        raw: Content of /proc/PID/uid_map.

    Returns:
        False in one that was made later, where even all capabilities count only
        for what belongs to it; None when it is not told.

    Source:
        user_namespaces(7): the first namespace maps all ids to themselves.

    """
    fields = raw.split()
    return fields == [b"0", b"0", b"4294967295"] if fields else None


def missing(*wanted: str) -> tuple[str, ...]:
    """
    Tell which capabilities this program lacks.

    Args:
        wanted: Their names.

    Returns:
        Those it does not have in effect; all of them when that is not told.

    Source:
        /proc/self/status.

    """
    held = parse_capabilities(_content(_STATUS)) or 0
    return tuple(n for n in wanted if not (_holds(held, n) or _holds(held, _IMPLIED.get(n, n))))


def way_out(*wanted: str) -> str:
    """
    Say what would make a refused file readable.

    Args:
        wanted: The capabilities that the kernel asks for.

    Returns:
        A clause for the end of a sentence: what to grant, or why nothing helps.

    Source:
        /proc/self/status and /proc/self/uid_map.

    """
    lacking = " and ".join(missing(*wanted))
    if lacking:
        return (
            f"this root lacks {lacking}"
            if os.geteuid() == 0
            else f"run as root, or grant {lacking}"
        )
    if parse_uid_map(_content(_UID_MAP)) is False:
        return "the capabilities held count only in this program's own user namespace"
    return (
        f"not for want of {' and '.join(wanted)}: a security module or the file itself forbids it"
    )


def _holds(held: int, name: str) -> bool:
    """Look up a capability."""
    return bool(held >> _NUMBERS[name] & 1)


def _content(path: Path) -> bytes:
    """Read a file of this process; without a procfs of our own nothing is known."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
