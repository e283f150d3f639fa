"""What the kernel tells of eBPF programs and maps beside their file descriptors."""

from __future__ import annotations

import os
import re
from pathlib import Path

_COUNTED_SINCE = (6, 7)  # calls of tracepoints and kprobes that are left out


def memory(map_fd: int) -> int:
    """
    Read what a map takes.

    Args:
        map_fd: Descriptor of the map.

    Returns:
        Kernel memory [bytes].

    Source:
        /proc/self/fdinfo/FD, memlock; there in all kernels that have these maps.

    """
    return _number(map_fd, "memlock") or 0


def skipped(program_fd: int, *, raw: bool) -> int | None:
    """
    Read how often an event came, and the kernel did not call a program.

    It does not where it is in an eBPF program on that CPU already. What runs on tracepoints and
    kprobes stands back for each other; a program on a raw tracepoint only for itself.

    Args:
        program_fd: Descriptor of the program.
        raw: Whether it is on a raw tracepoint.

    Returns:
        Calls left out since it was loaded; None where the kernel does not count them. 6.1 shows
        0 for a tracepoint and leaves out calls; 6.12 counts them.

    Source:
        /proc/self/fdinfo/FD, recursion_misses.

    """
    if not raw and _release() < _COUNTED_SINCE:
        return None
    return _number(program_fd, "recursion_misses")


def _release() -> tuple[int, int]:
    """Read the kernel's version; (0, 0) when it has none of the usual form."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _number(fd: int, field: str) -> int | None:
    """Read a field; None where there is none."""
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value)
    return None
