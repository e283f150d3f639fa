"""Settings of the kernel that are changed for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.scenario import Impossible

_PROC_SYS = Path("/proc/sys")


@contextmanager
def sysctl(name: str, value: object) -> Iterator[str]:
    """
    Change a setting until the context is left.

    Args:
        name: Its name, with dots.
        value: Its value meanwhile.

    Yields:
        What it was.

    """
    with setting(_PROC_SYS / name.replace(".", "/"), value) as before:
        yield before


@contextmanager
def setting(path: Path, value: object) -> Iterator[str]:
    """
    Change a file of the kernel until the context is left.

    Args:
        path: The file.
        value: Its content meanwhile.

    Yields:
        What it was; of a choice in brackets the one that was chosen.

    """
    try:
        before = path.read_text().strip()
    except OSError as error:
        raise Impossible(f"{path}: {error.strerror}") from error
    before = before.partition("[")[2].partition("]")[0] or before
    path.write_text(str(value))
    try:
        yield before
    finally:
        path.write_text(before)
