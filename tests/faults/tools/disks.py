"""Work for the disk that holds the temporary files; of bounded size, so that it never fills."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.tools.processes import program

_SIZE = 512 << 20
_CODE = """
import mmap, random
for _ in range(processes - 1):
    if os.fork() == 0: break
file = os.open(path, os.O_RDONLY | os.O_DIRECT)
into = mmap.mmap(-1, size)
ready()
while True: os.preadv(file, [into], random.randrange(whole // size) * size)
"""


def filled(path: Path, size: int = _SIZE) -> Path:
    """
    Write a file that really lies on the disk.

    Args:
        path: The file.
        size: Its size [bytes].

    Returns:
        The file.

    """
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


@contextmanager
def reader(
    folder: Path, name: str, processes: int, size: int, groups: Iterable[Path] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Read at random places past the cache.

    Args:
        folder: Where the file is made.
        name: What the kernel shall call the processes.
        processes: How many read.
        size: How much at once [bytes].
        groups: Files of control groups to join.

    Yields:
        The first of the processes.

    """
    path = filled(folder / "data")
    given = {"path": str(path), "whole": _SIZE, "size": size, "processes": processes}
    with program(name, _CODE, groups, given) as process:
        yield process


def disk_of(folder: Path) -> str:
    """
    Name the disk that a folder is on.

    Args:
        folder: The folder.

    Returns:
        Its number, "major:minor", of the whole disk where the folder is on a partition.

    """
    number = folder.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    whole = device.parent if (device / "partition").exists() else device
    return (whole / "dev").read_text().strip()
