"""What is read only of the few processes that matter."""

from __future__ import annotations

import os
from pathlib import Path

from collectors.process_scan import Refused, Row, attempt
from collectors.text import label, natural


def progress(proc: Path, row: Row) -> bytes:
    """
    Read something that changes whenever a process runs at all.

    Args:
        proc: procfs.
        row: The process.

    Returns:
        Bytes to compare with those of another time.

    Source:
        /proc/PID/schedstat, which counts nanoseconds and turns on a CPU; CPU
        ticks where the kernel does not have it.

    """
    waits = attempt(f"{os.fspath(proc)}/{row.pid}/schedstat", "schedstat", Refused())
    return waits or b"%d" % row.ticks


def open_files(proc: Path, pid: int, refused: Refused) -> int | None:
    """
    Count a process's open file descriptors.

    Args:
        proc: procfs.
        pid: The process.
        refused: Takes what the kernel did not let us read.

    Returns:
        Their number; None when unknown.

    Source:
        Size of /proc/PID/fd, which is the count since Linux 6.2 (f1f1f2569901);
        older kernels say 0 and the directory is listed.

    """
    path = f"{os.fspath(proc)}/{pid}/fd"
    try:
        return os.stat(path).st_size or len(os.listdir(path))  # noqa: PTH116, PTH208  as above
    except PermissionError:
        refused.files["fd"] = refused.files.get("fd", 0) + 1
    except OSError:
        pass
    return None


def open_files_limit(proc: Path, pid: int) -> int | None:
    """
    Read how many files a process may open.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        The soft limit; None when unknown or unlimited.

    Source:
        "Max open files" of /proc/PID/limits.

    """
    raw = attempt(f"{os.fspath(proc)}/{pid}/limits", "limits", Refused()) or b""
    _, _, rest = raw.partition(b"Max open files")
    fields = rest.split(None, 1)
    return natural(fields[0][:20]) if fields and fields[0].isdigit() else None


def control_group(proc: Path, pid: int) -> str | None:
    """
    Read which control group a process is in.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        Its path, of the unified hierarchy unless that is not used; None when unknown.

    Source:
        /proc/PID/cgroup, cgroups(7).

    """
    raw = attempt(f"{os.fspath(proc)}/{pid}/cgroup", "cgroup", Refused())
    if not raw:
        return None
    lines = (line.split(b":", 2) for line in raw.splitlines())
    groups = {parts[0]: parts[2] for parts in lines if len(parts) == 3}  # noqa: PLR2004
    unified = groups.get(b"0", b"/")
    used = next((g for g in (unified, *groups.values()) if g != b"/"), b"/")
    return label(used, 128)


def sleeps_in(proc: Path, pid: int) -> str | None:
    """
    Read the kernel function a process sleeps in.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        Its name; None when unknown.

    Source:
        /proc/PID/wchan, proc(5).

    """
    raw = attempt(f"{os.fspath(proc)}/{pid}/wchan", "wchan", Refused())
    return label(raw) if raw and raw != b"0" else None


def arguments(proc: Path, pid: int) -> list[bytes]:
    """
    Read a process's command line, which may wait for the process's memory lock.

    Args:
        proc: procfs.
        pid: The process.

    Returns:
        Its words; empty when unknown.

    Source:
        /proc/PID/cmdline, proc(5).

    """
    raw = attempt(f"{os.fspath(proc)}/{pid}/cmdline", "cmdline", Refused()) or b""
    return [word for word in raw.split(b"\0") if word]
