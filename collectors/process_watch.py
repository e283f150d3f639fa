"""Following all processes through a window, as often as the cost allows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from collectors import rights
from collectors.base import Context
from collectors.model import Cause, Unavailable
from collectors.process_detail import progress
from collectors.process_scan import (
    Account,
    Identity,
    Refused,
    Row,
    Scan,
    accounts,
    scan,
)

# Between the ends, scanning may cost 0.1 % of a core: the next scan waits 1,000
# times as long as the last one took. 100 processes are scanned every two
# seconds, 2,000 at the ends of the window only.
_COST_FACTOR = 1000.0
# An ordinary user's picture has no gap worth a word when only few refuse; with
# all rights held, some processes may (a sealed init), however few there are.
_FEW_REFUSED = 0.2
_SEALED = 5
_RIGHTS = ("CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH")
# Most processes whose dearer files are read; beyond that only those that ran.
_MOST_ACCOUNTS = 400
_MOST_AT_FIRST = 300
_MOST_STUCK = 100
_INIT = 1


class Watch:
    """
    The processes of a window.

    Attributes:
        ctx: Paths, window and options.
        scans: How often all processes were looked at.
        started: Processes that appeared between two scans.
        exited: Processes that vanished between two scans.
        first: The first scan.
        last: The newest scan.
        seen: Every process that was seen, as it was seen last.
        accounts: The dearer counters at the beginning.
        stuck: Uninterruptible processes to what they had done and since when they
            have done nothing [s]; kept from sweep to sweep.
        waited: Those of them that were uninterruptible at the last two scans, to
            how long they have done nothing [s].
        refused: What the kernel did not let us read.

    """

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.without = frozenset((os.getpid(), *ctx.options.get("exclude_pids", ())))
        self.refused = Refused()
        self.scans = 0
        self.started = self.exited = 0
        self.first: Scan | None = None
        self.last: Scan | None = None
        self.seen: dict[Identity, Row] = {}
        self.accounts: dict[Identity, Account] = {}
        self.stuck: dict[Identity, tuple[bytes, float]] = ctx.memory.get("stuck", {})
        self.waited: dict[Identity, float] = {}
        self._next = 0.0
        self._remembered: dict[Identity, str | None] = {}

    def follow(self) -> tuple[Scan, Scan]:
        """
        Scan through the whole window.

        Returns:
            The first and the last scan; the same one for a window without length.

        Raises:
            Unavailable: When procfs cannot be listed.

        """
        at, before_end = 0.0, self.ctx.duration - self.ctx.interval / 2
        for at in self.ctx.ticks():
            if self.first is None:
                self._look(at)
            elif self._next <= at < self.first.at + before_end:
                self._glance(at)
        if self.last is not None and at > self.last.at:
            self._look(at)
        if self.first is None or self.last is None:
            raise Unavailable("the sweep was cancelled before the first scan", Cause.CANCELLED)
        self._note(self.last)
        return self.first, self.last

    def later(self) -> dict[Identity, Account]:
        """
        Read the dearer counters again, at the end of the window.

        Returns:
            dict identity -> account; a process that started after the first scan
            is among them, and is given a beginning of 0.

        """
        if self.first is None or self.last is None:
            return {}
        rows, first = self.last.rows, self.first
        new = [r for i, r in rows.items() if i not in first.rows and first.began_after(r)]
        for row in new[:_MOST_ACCOUNTS]:
            self.accounts.setdefault(row.identity, Account(first.at, 0, 0, 0))
        again = (rows[i] for i in self.accounts if i in rows)
        return accounts(self.ctx.paths.proc, again, self.last.at, self.refused)

    def remember(self, identity: Identity, read: Callable[[Path, int], str | None]) -> str | None:
        """
        Read something of a process once, however many lists it is in.

        Args:
            identity: The process.
            read: Reads it, given procfs and the pid.

        Returns:
            What was read.

        """
        if identity not in self._remembered:
            self._remembered[identity] = read(self.ctx.paths.proc, identity[0])
        return self._remembered[identity]

    def _look(self, at: float) -> None:
        """Scan all processes."""
        began = time.thread_time()
        self._take(self._scan(at, self.without))
        self._next = at + (time.thread_time() - began) * _COST_FACTOR

    def _glance(self, at: float) -> None:
        """Scan between the ends, without kernel threads: half of all, which hardly change."""
        began = time.thread_time()
        known = {i: r for i, r in self.last.rows.items() if r.kernel_thread} if self.last else {}
        found = self._scan(at, self.without | {pid for pid, _ in known})
        self._take(replace(found, rows=known | found.rows))
        self._next = at + (time.thread_time() - began) * _COST_FACTOR

    def _scan(self, at: float, without: frozenset[int]) -> Scan:
        """Look at the processes."""
        try:
            return scan(self.ctx.paths.proc, at, without)
        except OSError as error:
            text = f"{self.ctx.paths.proc}: {error.strerror}"
            raise Unavailable(text, Cause.UNREADABLE) from error

    def _take(self, found: Scan) -> None:
        """Compare a scan with the one before it."""
        before, self.last = self.last, found
        self.first = self.first or found
        self.scans += 1
        if before is not None:
            self.started += len(found.rows.keys() - before.rows.keys())
            self.exited += len(before.rows.keys() - found.rows.keys())
        self.seen |= found.rows
        self._observe_blocked(before, found)
        rows = _candidates(self.first, found, self.accounts)
        self.accounts |= accounts(self.ctx.paths.proc, rows, found.at, self.refused)

    def _observe_blocked(self, before: Scan | None, found: Scan) -> None:
        """Note since when uninterruptible processes have done nothing at all."""
        rows = [r for r in found.rows.values() if r.state == "D" and not r.kernel_thread]
        now: dict[Identity, tuple[bytes, float]] = {}
        self.waited = {}
        for row in rows[:_MOST_STUCK]:
            done = progress(self.ctx.paths.proc, row)
            old = self.stuck.get(row.identity)
            now[row.identity] = old if old and old[0] == done else (done, found.at)
            earlier = before.rows.get(row.identity) if before else None
            if earlier is not None and earlier.state == "D":
                self.waited[row.identity] = found.at - now[row.identity][1]
        self.stuck = self.ctx.memory["stuck"] = now

    def _note(self, last: Scan) -> None:
        """Say once what is hidden from an ordinary user."""
        if last.rows and _INIT not in self.without and all(i[0] != _INIT for i in last.rows):
            text = "processes of other users are hidden by hidepid (grant CAP_SYS_PTRACE)"
            self.ctx.note("/proc", Cause.PERMISSION, text)

    def note_refused(self) -> None:
        """Say once what could not be read of other users' processes, and why."""
        refused, known = len(self.refused_pids()), len(self.accounts)
        # With all rights held, a few that still refuse are sealed on purpose:
        # nobody can give more, so that is how this host is, and no gap to close.
        sealed = _SEALED if not rights.missing(*_RIGHTS) else 0
        if refused <= max(known * _FEW_REFUSED, sealed):
            return
        files = ", ".join(f"/proc/PID/{name}" for name in sorted(self.refused.files))
        text = (
            f"{files}: permission denied for {refused} of {known} processes "
            f"({rights.way_out(*_RIGHTS)})"
        )
        self.ctx.note("/proc/PID", Cause.PERMISSION, text)

    def refused_pids(self) -> set[int]:
        """
        Tell which processes did not let themselves be looked at.

        Returns:
            The ids of those that refused at least one file.

        """
        return set().union(*self.refused.files.values())


def _candidates(first: Scan, found: Scan, known: Mapping[Identity, Account]) -> list[Row]:
    """Choose more processes whose dearer files are read; those that began later need none yet."""
    rows = [r for r in found.rows.values() if not r.kernel_thread and r.state != "Z"]
    # Whoever moves data or waits for a CPU has used some CPU time as well: at
    # first it can only be told from its whole life, and then from the window.
    old = first.rows
    new = [r for r in rows if r.identity in old and r.identity not in known]
    if len(rows) > _MOST_ACCOUNTS:
        ran = [(r.ticks - old[r.identity].ticks if known else r.ticks, r) for r in new]
        ran.sort(key=lambda pair: (pair[1].state not in "RD", -pair[0]))
        new = [r for ticks, r in ran if ticks > 0]
    most = _MOST_AT_FIRST if not known and len(rows) > _MOST_ACCOUNTS else _MOST_ACCOUNTS
    return new[: max(most - len(known), 0)]
