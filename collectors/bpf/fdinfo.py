"""What the kernel tells of eBPF programs and maps beside their file descriptors."""

from __future__ import annotations

from pathlib import Path


def memory(map_fd: int) -> int:
    """
    Read what a map takes.

    Args:
        map_fd: Descriptor of the map.

    Returns:
        Kernel memory [bytes].

    Source:
        /proc/self/fdinfo/FD, memlock.

    """
    return _number(map_fd, "memlock")


def skipped(program_fd: int) -> int:
    """
    Read how often an event came, and the kernel did not call a program.

    It does not where it is in an eBPF program on that CPU already. What runs on tracepoints and
    kprobes stands back for each other; a program on a raw tracepoint only for itself.

    Args:
        program_fd: Descriptor of the program.

    Returns:
        Calls left out since it was loaded. 0 also where that is not counted: of tracepoints and
        kprobes it is since Linux 6.7 (6.1 told of none where 6.12 did).

    Source:
        /proc/self/fdinfo/FD, recursion_misses.

    """
    return _number(program_fd, "recursion_misses")


def _number(fd: int, field: str) -> int:
    """Read a field; 0 where there is none."""
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value)
    return 0
