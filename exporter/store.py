"""The ring of reports: the newest in memory, the last ones on disk."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.report_file import (
    REPORT_ID,
    TEMPORARY,
    ReportHeader,
    read_body,
    read_header,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ReportHeader", "Store", "StoredReport"]

_RECENT = 3  # reports among which a complete one is preferred to a newer partial one


@dataclass(frozen=True, slots=True)
class StoredReport:
    """
    A report as it is served.

    Attributes:
        report_id: Time, profile and a random part: `20261124T081530Z-quick-3f9a2c1b`.
        profile: The profile that was swept.
        started_at: Start of the sweep, RFC 3339.
        complete: False when a collector was late or the sweep was cancelled.
        health_score: The score, None when too little was known.
        size_bytes: Length of the JSON text [bytes].
        body: The JSON text, not compressed.

    """

    report_id: str
    profile: str
    started_at: str
    complete: bool
    health_score: float | None
    size_bytes: int
    body: bytes

    @property
    def header(self) -> ReportHeader:
        """The same without the body."""
        return ReportHeader(
            self.report_id,
            self.profile,
            self.started_at,
            self.complete,
            self.health_score,
            self.size_bytes,
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """
    A line of the index.

    Attributes:
        header: What a listing tells.
        path: The file, None for a report that is in memory only.
        disk_bytes: Length of the file [bytes].

    """

    header: ReportHeader
    path: Path | None
    disk_bytes: int


class Store:
    """
    Keep reports: a bounded ring on disk, the newest of each profile in memory.

    One thread puts, any thread reads; a reader never waits for the disk of a
    writer. A disk that fails costs history, never the newest report.

    Attributes:
        problem: Why reports are not kept on disk, None while they are.
        write_errors: Reports that could not be written or removed.
        ignored: Files in the directory that are no readable report of this format.

    """

    def __init__(self, directory: Path | None, keep: int, max_size: int) -> None:
        """
        Load the index of what is on disk.

        Args:
            directory: Where the ring is; None keeps reports in memory only.
            keep: Most reports on disk, at least 1.
            max_size: Most room they take [bytes]; the newest stays whatever its size.

        """
        self.problem: str | None = None
        self.write_errors = 0
        self.ignored = 0
        self._directory = directory
        self._keep = max(1, keep)
        self._max_size = max_size
        self._lock = threading.Lock()
        self._index: list[_Entry] = []  # oldest first
        self._memory: dict[str, StoredReport] = {}
        if directory is not None:
            self._open(directory)

    def put(self, report: StoredReport) -> None:
        """
        Keep a report: readable at once, then written to disk, then the oldest removed.

        Args:
            report: The report.

        Raises:
            ValueError: The id is no report id of this profile, or the size is not the body's.

        """
        match = REPORT_ID.fullmatch(report.report_id)
        if match is None or match["profile"] != report.profile:
            raise ValueError(f"not a report id of {report.profile}: {report.report_id!r}")
        if report.size_bytes != len(report.body):
            raise ValueError(f"{report.report_id}: size_bytes is not the length of the body")
        self._remember(report, _Entry(report.header, None, 0))
        if self._directory is None:
            return
        try:
            path, size = write_file(self._directory, report.header, report.body)
        except OSError as error:
            self.write_errors += 1
            self.problem = f"reports cannot be written to {self._directory}: {error.strerror}"
            return
        self.problem = None
        self._remember(report, _Entry(report.header, path, size))
        self._prune()

    def newest(self, profile: str | None = None) -> StoredReport | None:
        """
        Return the newest complete report of the last three, or the newest when all are partial.

        Args:
            profile: Only reports of this profile; None for any.

        Returns:
            The report, None when there is none.

        """
        with self._lock:
            candidates = _by_preference(self._index, profile)
        reports = (self._load(entry, remember=True) for entry in candidates)
        return next((report for report in reports if report is not None), None)

    def get(self, report_id: str) -> StoredReport | None:
        """
        Return one report.

        Args:
            report_id: Its id; anything that is no id is answered with None.

        Returns:
            The report, None when it is not kept (any more).

        """
        if not REPORT_ID.fullmatch(report_id):
            return None
        with self._lock:
            entry = next((e for e in self._index if e.header.report_id == report_id), None)
        return None if entry is None else self._load(entry, remember=False)

    def list(self) -> list[ReportHeader]:
        """Return what is kept, newest first."""
        with self._lock:
            return [entry.header for entry in reversed(self._index)]

    def _open(self, directory: Path) -> None:
        """Read the index from the directory, or fall back to memory and say why."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(0, "it is not writable")
            entries = list(self._scan(directory))
        except OSError as error:
            self.problem = f"reports are kept in memory only: {directory}: {error.strerror}"
            self._directory = None
            return
        # The id begins with the time, so its order is the order of the sweeps.
        self._index = sorted(entries, key=lambda entry: entry.header.report_id)
        self._prune()

    def _scan(self, directory: Path) -> Iterator[_Entry]:
        """Yield the reports of a directory; remove what an interrupted write left."""
        with os.scandir(directory) as files:
            for file in files:
                path = Path(file.path)
                if file.name.startswith(TEMPORARY):
                    with contextlib.suppress(OSError):
                        path.unlink()
                elif (found := read_header(path)) is None:
                    self.ignored += 1
                else:
                    yield _Entry(found[0], path, found[1])

    def _remember(self, report: StoredReport, entry: _Entry) -> None:
        """Make a report the newest, in the index and in memory."""
        with self._lock:
            self._index = [e for e in self._index if e.header.report_id != report.report_id]
            self._index.append(entry)
            self._memory[report.report_id] = report
            self._tidy_memory()

    def _tidy_memory(self) -> None:
        """Keep in memory what `newest` can ask for, and drop entries that are nowhere."""
        wanted = _wanted(self._index)
        self._memory = {key: value for key, value in self._memory.items() if key in wanted}
        self._index = [
            entry
            for entry in self._index
            if entry.path is not None or entry.header.report_id in self._memory
        ]

    def _load(self, entry: _Entry, *, remember: bool) -> StoredReport | None:
        """Take a report from memory or read its file; forget a file that is damaged."""
        kept = self._memory.get(entry.header.report_id)
        if kept is not None or entry.path is None:
            return kept
        try:
            body = read_body(entry.path, entry.header.size_bytes)
        except OSError:
            return None  # out of descriptors, an I/O error: the file may be read another time
        if body is None:
            self._forget(entry)
            return None
        report = StoredReport(**asdict(entry.header), body=body)
        if remember:
            with self._lock:
                self._memory[report.report_id] = report
                self._tidy_memory()
        return report

    def _forget(self, entry: _Entry) -> None:
        """Take an entry out whose file vanished or is damaged."""
        with self._lock:
            if entry not in self._index:
                return  # removed by the ring, or replaced, while it was being read
            self._index.remove(entry)
            self.ignored += 1

    def _prune(self) -> None:
        """Remove the oldest files until both limits hold; the newest is never removed."""
        while (entry := self._surplus()) is not None:
            assert entry.path is not None
            try:
                entry.path.unlink(missing_ok=True)
            except OSError as error:
                self.write_errors += 1
                self.problem = f"old reports cannot be removed: {error.strerror}"
                return
            with self._lock:
                self._index = [_Entry(e.header, None, 0) if e is entry else e for e in self._index]
                self._tidy_memory()

    def _surplus(self) -> _Entry | None:
        """Return the file to remove next, None when the limits hold."""
        with self._lock:
            on_disk = [entry for entry in self._index if entry.path is not None]
            wanted = _wanted(self._index)
        total = sum(entry.disk_bytes for entry in on_disk)
        if len(on_disk) <= self._keep and total <= self._max_size:
            return None
        # The newest of a rare profile outlives many of a frequent one.
        on_disk = on_disk[:-1]
        dispensable = [entry for entry in on_disk if entry.header.report_id not in wanted]
        return next(iter(dispensable or on_disk), None)


def _by_preference(index: list[_Entry], profile: str | None) -> list[_Entry]:
    """
    Return the entries of a profile: a recent complete one first, then the newest first.

    Were an old complete report always preferred, a collector that hangs in every sweep
    would hide the trouble behind the picture of the time before.
    """
    fitting = [entry for entry in reversed(index) if profile in (None, entry.header.profile)]
    recent = sorted(fitting[:_RECENT], key=lambda entry: not entry.header.complete)
    return recent + fitting[_RECENT:]


def _wanted(index: list[_Entry]) -> set[str]:
    """Return the ids that must stay: the newest, overall and of each profile."""
    profiles: set[str | None] = {None, *(entry.header.profile for entry in index)}
    chosen = [entry for profile in profiles for entry in _by_preference(index, profile)[:1]]
    return {entry.header.report_id for entry in chosen + index[-1:]}
