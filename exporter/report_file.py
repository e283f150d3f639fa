"""A report's file: its name, how it is written so that no crash spoils it, how it is read."""

from __future__ import annotations

import contextlib
import errno
import gzip
import math
import os
import re
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

FORMAT = 1
REPORT_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-(?P<profile>[a-z]{1,16})-[0-9a-f]{8}", re.ASCII)
# Everything that a listing tells stands in the file's name, so that a start
# with hundreds of reports opens none of them further than its last four bytes.
_FILE_NAME = re.compile(
    rf"(?P<id>{REPORT_ID.pattern})\.(?P<state>complete|partial)"
    rf"\.(?P<score>none|[0-9]{{1,3}}\.[0-9]{{2}})\.(?P<size>[0-9]{{1,10}})\.v{FORMAT}\.json\.gz",
    re.ASCII,
)
TEMPORARY = ".new-"
_GZIP_FASTEST = 1
_GZIP_SMALLEST_FILE = 18  # [bytes] header and trailer around nothing
_UINT32 = 0xFFFFFFFF
_DAMAGED = (FileNotFoundError, gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class ReportHeader:
    """
    What a listing tells about a report.

    Attributes:
        report_id: Time, profile and a random part: `20261124T081530Z-quick-3f9a2c1b`.
        profile: The profile that was swept.
        started_at: Start of the sweep, RFC 3339.
        complete: False when a collector was late or the sweep was cancelled.
        health_score: The score, None when too little was known.
        size_bytes: Length of the JSON text [bytes].

    """

    report_id: str
    profile: str
    started_at: str
    complete: bool
    health_score: float | None
    size_bytes: int


def file_name(header: ReportHeader) -> str:
    """Return the name that carries everything a listing tells."""
    state = "complete" if header.complete else "partial"
    known = header.health_score is not None and math.isfinite(header.health_score)
    score = f"{header.health_score:.2f}" if known else "none"
    return f"{header.report_id}.{state}.{score}.{header.size_bytes}.v{FORMAT}.json.gz"


def _parse_name(name: str) -> ReportHeader | None:
    """Return what a file's name tells, None for a name that is not ours."""
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        return None
    report_id, score = match["id"], match["score"]
    day, clock = report_id[:8], report_id[9:15]
    return ReportHeader(
        report_id=report_id,
        profile=match["profile"],
        started_at=f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z",
        complete=match["state"] == "complete",
        health_score=None if score == "none" else float(score),
        size_bytes=int(match["size"]),
    )


def read_header(path: Path) -> tuple[ReportHeader, int] | None:
    """
    Return what a file's name tells, after a look at its end.

    Args:
        path: The file.

    Returns:
        The header and the length of the file [bytes], None when the file is
        foreign, of another format, cut short or not a regular file.

    """
    header = _parse_name(path.name)
    if header is None:
        return None
    try:
        descriptor = _open_regular(path)
        try:
            size = os.fstat(descriptor).st_size
            trailer = os.pread(descriptor, 4, max(0, size - 4))
        finally:
            os.close(descriptor)
    except OSError:
        return None
    # RFC 1952: the last four bytes of a gzip file are the length of the text.
    expected = struct.pack("<I", header.size_bytes & _UINT32)
    return (header, size) if size >= _GZIP_SMALLEST_FILE and trailer == expected else None


def _open_regular(path: Path) -> int:
    """Open a regular file for reading; a link, pipe or device raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor


def read_body(path: Path, size: int) -> bytes | None:
    """
    Return the text of a report file.

    Args:
        path: The file.
        size: Its length as the name tells it [bytes].

    Returns:
        The text, None when the file vanished, is damaged or is not `size` long.

    Raises:
        OSError: It cannot be read now.

    """
    try:
        with os.fdopen(_open_regular(path), "rb") as raw, gzip.GzipFile(fileobj=raw) as file:
            # One byte more than expected is enough to know that it is foreign,
            # and reaching the end is what checks the checksum.
            body = file.read(size + 1)
    except _DAMAGED:
        return None
    return body if len(body) == size else None


def write_file(directory: Path, header: ReportHeader, body: bytes) -> tuple[Path, int]:
    """
    Write a report so that a crash at any moment leaves all of it or nothing.

    Args:
        directory: Where to write.
        header: What the name tells.
        body: The JSON text.

    Returns:
        The file and its length [bytes].

    Raises:
        OSError: The file system refused.

    """
    name = file_name(header)
    temporary, path = directory / f"{TEMPORARY}{name}", directory / name
    packed = gzip.compress(body, _GZIP_FASTEST, mtime=0)
    try:
        _create(temporary, packed)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(directory)
    return path, len(packed)


def _create(path: Path, content: bytes) -> None:
    """Create a file that only its owner reads, and wait until the disk has it."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    """Wait until the disk has the directory, and with it the new name."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that cannot do this say so
            raise
    finally:
        os.close(descriptor)
