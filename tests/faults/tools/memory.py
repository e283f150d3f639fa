"""Taking memory: of the whole host, but never so much that it dies of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.tools.processes import program

# Killed first should it go wrong, and never moved to swap.
_CODE = """
import ctypes, mmap
open("/proc/self/oom_score_adj", "w").write("1000")
held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.madvise(14 if huge else 15)
start = ctypes.addressof(ctypes.c_char.from_buffer(held))
libc = ctypes.CDLL(None, use_errno=True)
# Holes in what is locked would be too many mappings.
if holes:
    held.madvise(23)
elif libc.mlock(ctypes.c_void_p(start), ctypes.c_size_t(size)):
    raise OSError(ctypes.get_errno(), "mlock")
for offset in range(0, size if holes else 0, 2 * 4096):
    held.madvise(4, offset, 4096)
ready()
while True:
    time.sleep(60)
"""


def meminfo(name: str) -> int:
    """
    Read a line of /proc/meminfo.

    Args:
        name: Its name.

    Returns:
        What it says [bytes].

    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


@contextmanager
def hog(left: float, *, holes: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """
    Take memory until little is available.

    Args:
        left: What stays available, of all memory [ratio].
        holes: Take small pages and give back every other, so that what is left is in pieces.

    Yields:
        The process that has it.

    """
    size = meminfo("MemAvailable") - int(left * meminfo("MemTotal"))
    page = os.sysconf("SC_PAGE_SIZE")
    given = {"size": size // page * page, "huge": not holes, "holes": holes}
    with program("sysdx-hog", _CODE, constants=given) as process:
        yield process
