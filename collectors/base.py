"""What a collector is, how it is found, and what it is given."""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import collectors
from collectors import rights
from collectors.model import Cause, Problem, Unavailable

READ_LIMIT = 4 << 20
_ONE_VALUE = 512
_CAUSES = {
    errno.ENOENT: Cause.MISSING,
    errno.ENODEV: Cause.MISSING,
    errno.ENXIO: Cause.MISSING,
    errno.ESRCH: Cause.MISSING,
    errno.ENOTDIR: Cause.MISSING,
    errno.EACCES: Cause.PERMISSION,
    errno.EPERM: Cause.PERMISSION,
    errno.EOPNOTSUPP: Cause.ABSENT,
}

F = TypeVar("F", bound="Callable[[Context], Any]")


@dataclass(frozen=True, slots=True)
class Paths:
    """
    Where the kernel's file systems are, as seen from here.

    Attributes:
        proc: procfs.
        sys: sysfs.
        root: The host's root directory.

    """

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    root: Path = Path("/")


@dataclass(frozen=True, slots=True)
class Collector:
    """
    One source of facts.

    Attributes:
        name: Its module's name.
        category: The resource it tells of.
        essential: Whether its resource is unknown without it.
        summary: The first sentence of its module.
        collect: Reads the sample.

    """

    name: str
    category: str
    essential: bool
    summary: str
    collect: Callable[[Context], Any]


@dataclass(slots=True)
class Context:
    """
    What a collector may use: paths, the window, and a place to say what it missed.

    Attributes:
        paths: Where procfs, sysfs and the root are.
        duration: Length of the window [s].
        interval: Time between two samples [s].
        cancelled: Set when the sweep is to end now.
        memory: The collector's own notes, kept from sweep to sweep.
        options: Settings from the configuration, by name.
        problems: Sources that were wanted and not readable.

    """

    paths: Paths = field(default_factory=Paths)
    duration: float = 10.0
    interval: float = 1.0
    cancelled: threading.Event = field(default_factory=threading.Event)
    memory: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def ticks(self) -> Iterator[float]:
        """
        Walk through the window, one sample interval at a time.

        The grid is absolute, so slow readers do not make it drift, and an
        instant that has passed is left out instead of caught up.

        Yields:
            The monotonic time of each instant, taken when it is reached [s];
            the first at once, the last at the window's end.

        """
        start = time.monotonic()
        yield start
        target = 0.0
        while target < self.duration:
            elapsed = time.monotonic() - start
            # A tenth of an interval, because a wait may end a little early.
            step = int(elapsed / self.interval + 0.1) + 1
            target = min(step * self.interval, self.duration)
            if self.cancelled.wait(max(target - elapsed, 0.0)):
                return
            yield time.monotonic()

    def ends(self) -> Iterator[float]:
        """
        Visit only the window's two ends, for what has no peak worth its cost.

        Yields:
            The monotonic time at the start and at the end [s]; a cancelled
            window ends early, one of no duration has one instant.

        """
        start = time.monotonic()
        yield start
        if self.duration > 0:
            self.cancelled.wait(max(start + self.duration - time.monotonic(), 0.0))
            yield time.monotonic()

    def read(self, path: Path, limit: int = READ_LIMIT) -> bytes:
        """
        Read a small kernel file whole.

        Args:
            path: The file, usually below one of `paths`.
            limit: Most that is read [bytes].

        Returns:
            Its content.

        Raises:
            Unavailable: When it cannot be read, saying why.

        """
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unavailable(path, error) from error
        try:
            return _read_all(handle, limit)
        except OSError as error:
            raise _unavailable(path, error) from error
        finally:
            os.close(handle)

    def try_read(self, path: Path, limit: int = READ_LIMIT) -> bytes | None:
        """
        Read a kernel file that may be missing on this kernel.

        Args:
            path: The file.
            limit: Most that is read [bytes].

        Returns:
            Its content; None when it cannot be read. A file that exists and is
            not readable is noted among `problems`, a missing one is not.

        """
        try:
            return self.read(path, limit)
        except Unavailable as error:
            if error.cause not in (Cause.MISSING, Cause.ABSENT):
                self.note(str(path), error.cause, str(error))
            return None

    def note(self, source: str, cause: Cause, text: str) -> None:
        """
        Say that a wanted source was not readable; each source is kept once.

        Args:
            source: The file or interface.
            cause: The reason from the closed list.
            text: One sentence for people, with the way out where there is one.

        """
        if all(p.source != source for p in self.problems):
            self.problems.append(Problem(source, cause, text))


def _read_all(handle: int, limit: int) -> bytes:
    """Read until the end or the limit; procfs hands out a page or so at a time."""
    if limit <= _ONE_VALUE:
        # A file of one value comes whole; to ask for more costs a fifth of it all.
        return os.read(handle, limit)
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := os.read(handle, min(left, 1 << 16))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _unavailable(path: Path, error: OSError) -> Unavailable:
    """Turn a failed read into an answer with its cause."""
    cause = _CAUSES.get(error.errno or 0, Cause.UNREADABLE)
    hint = f" ({rights.way_out('CAP_DAC_READ_SEARCH')})" if cause is Cause.PERMISSION else ""
    return Unavailable(f"{path}: {(error.strerror or 'unreadable').lower()}{hint}", cause)


_registry: dict[str, Collector] = {}


def collector(*, category: str, essential: bool = False) -> Callable[[F], F]:
    """
    Declare a module's `collect` function; the module's name is the collector's.

    Args:
        category: The resource it tells of.
        essential: Whether its resource counts as unknown without it.

    Returns:
        A decorator that leaves the function as it is.

    """

    def declare(function: F) -> F:
        module = importlib.import_module(function.__module__)
        name = function.__module__.rpartition(".")[2]
        summary = (module.__doc__ or "").strip().splitlines()[0]
        _registry[name] = Collector(name, category, essential, summary, function)
        return function

    return declare


def discover() -> dict[str, Collector]:
    """
    Find every collector by walking the package; there is no list to edit.

    Returns:
        dict name -> collector, by name.

    """
    for module in pkgutil.iter_modules(collectors.__path__):
        if not module.ispkg:
            importlib.import_module(f"collectors.{module.name}")
    return dict(sorted(_registry.items()))
