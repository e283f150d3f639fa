"""Control groups with limits, of either version."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.scenario import Impossible

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # [us]
_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Group:
    """
    A control group.

    Attributes:
        name: Its name.
        places: Controller to its directory.
        unified: Whether it is of version 2.

    """

    name: str
    places: dict[str, Path]
    unified: bool

    @property
    def doors(self) -> tuple[Path, ...]:
        """Files into which a process writes its pid to join."""
        return tuple(dict.fromkeys(place / "cgroup.procs" for place in self.places.values()))

    def cores(self, cores: float) -> None:
        """
        Limit CPU time.

        Args:
            cores: How many cores it may use.

        """
        quota, place = int(cores * _PERIOD), self.places["cpu"]
        if self.unified:
            (place / "cpu.max").write_text(f"{quota} {_PERIOD}")
        else:
            (place / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (place / "cpu.cfs_quota_us").write_text(str(quota))

    def memory(self, limit: int) -> None:
        """
        Limit memory, with no way out into swap.

        Args:
            limit: How much it may hold [bytes].

        """
        first, more = (
            ("memory.max", ("memory.swap.max", 0))
            if self.unified
            else ("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", limit))
        )
        (self.places["memory"] / first).write_text(str(limit))
        with contextlib.suppress(OSError):
            (self.places["memory"] / more[0]).write_text(str(more[1]))

    def memory_high(self, limit: int) -> None:
        """
        Hold processes back, but kill none.

        Args:
            limit: How much memory it may hold before it is slowed down [bytes].

        Raises:
            Impossible: In version 1, which knows no such limit.

        """
        if not self.unified:
            raise Impossible("memory.high: control groups are of version 1 here")
        (self.places["memory"] / "memory.high").write_text(str(limit))

    def tasks(self, limit: int) -> None:
        """
        Limit tasks.

        Args:
            limit: How many it may have.

        """
        (self.places["pids"] / "pids.max").write_text(str(limit))

    def requests(self, device: str, per_second: int) -> None:
        """
        Limit requests to a disk.

        Args:
            device: Its number, "major:minor".
            per_second: Reads and writes each [1/s].

        """
        if self.unified:
            line = f"{device} riops={per_second} wiops={per_second}"
            (self.places["io"] / "io.max").write_text(line)
            return
        for kind in ("read", "write"):
            file = self.places["io"] / f"blkio.throttle.{kind}_iops_device"
            file.write_text(f"{device} {per_second}")


@contextmanager
def group(*controllers: str) -> Iterator[Group]:
    """
    Make a control group, and remove it with all that is in it.

    Args:
        controllers: cpu, cpuacct (a part of cpu in version 2), memory, pids, io.

    Yields:
        The group.

    """
    name = f"sysdx-fault-{os.getpid()}"
    wanted = [c for c in controllers if not (unified() and c == "cpuacct")]
    with ExitStack() as stack:
        places = {c: _make(parent(c) / name, stack) for c in wanted}
        yield Group(name, places, unified())


def unified() -> bool:
    """
    Tell which version of control groups this host has.

    Returns:
        Whether it is version 2 that has the controllers.

    """
    return (_ROOT / "cgroup.controllers").exists()


def parent(controller: str) -> Path:
    """
    Give the topmost directory of a controller, and switch it on.

    Args:
        controller: cpu, cpuacct, memory, pids, io.

    Returns:
        The directory.

    Raises:
        Impossible: When there are no control groups for it.

    """
    if unified():
        (_ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
        return _ROOT
    parent = _ROOT / {"io": "blkio"}.get(controller, controller)
    if not (parent / "cgroup.procs").exists():
        raise Impossible(f"there are no control groups for {controller}")
    return parent


def _make(place: Path, stack: ExitStack) -> Path:
    """Make a directory that is removed later; one that is left over is taken."""
    with contextlib.suppress(FileExistsError):
        place.mkdir()
        stack.callback(_remove, place)
    return place


def _remove(place: Path) -> None:
    """Empty a group by force and remove it; the dead leave it a moment later."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(OSError):
            for pid in (place / "cgroup.procs").read_text().split():
                os.kill(int(pid), 9)
        with contextlib.suppress(OSError):
            place.rmdir()
            return
        time.sleep(0.05)
    place.rmdir()
