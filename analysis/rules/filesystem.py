"""Rules on the file systems: room that ends, damage, and mounts that do not answer."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable

from analysis.advice import investigate
from analysis.model import Culprit, Evidence, Facts, Kind, Recommendation, Scale, Signal
from analysis.registry import rule
from analysis.text import duration, percent, size
from collectors.filesystem import Filesystem, FilesystemSample

# Beyond these sizes a share means nothing: 5 % of 20 TB is a lot of room. A
# larger file system is judged by what is left, as if it were this large.
_LARGE = 100 << 30
_MANY_INODES = 2_000_000
_BROKEN = frozenset({"ESTALE", "ENOTCONN", "EIO", "ESHUTDOWN", "EUCLEAN", "ETIMEDOUT", "EHOSTDOWN"})


def _find_room(_: Facts, signal: Signal) -> Iterable[Recommendation]:
    """Advise to look at what fills a file system."""
    point = signal.subject or ""
    # A name that had to be made safe to show is not the path any more.
    if not point.startswith("/") or "\\x" in point or "\ufffd" in point or point.endswith("…"):
        return
    path = shlex.quote(point)
    yield investigate(
        f"filesystem:room:{point}",
        resource="filesystem",
        rule="filesystem_space",
        title=f"Find what fills {point}",
        why="The largest directories show what to remove, move or rotate; room that du does "
        "not find is held by deleted files that are still open.",
        commands=(
            f"du -xh --max-depth=2 {path} | sort -rh | head -20",
            f"lsof +L1 {path}",
        ),
        evidence=signal.evidence,
    )


def _find_files(facts: Facts, signal: Signal) -> Iterable[Recommendation]:
    """Advise to look for the directory with too many files."""
    for advice in _find_room(facts, signal):
        path = shlex.quote(signal.subject or "")
        yield investigate(
            f"filesystem:inodes:{signal.subject}",
            resource="filesystem",
            rule="filesystem_inodes",
            title=f"Find the many small files on {signal.subject}",
            why="Every file takes an inode, however small it is; sessions, caches and mail "
            "queues are the usual ones.",
            commands=(f"du -x --inodes --max-depth=2 {path} | sort -rn | head -20",),
            evidence=advice.evidence,
        )


@rule(
    resource="filesystem",
    cause="filesystem_full",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.95,
    critical=0.98,
    source="node-mixin NodeFilesystemAlmostOutOfSpace (5 % and 3 % left); as in netdata's "
    "disk_space_usage a large one is judged by the bytes left: 5 GiB and 2 GiB",
    gate="mounted read-write; beyond 100 GiB judged as if it were 100 GiB large",
    explanation="Ordinary users can hardly write any more: programs will fail, and many lose data.",
    next_steps=("Find what fills it; see the recommendation.",),
    advise=_find_room,
)
def filesystem_space(facts: Facts) -> Signal | None:
    """Watch the room that ordinary users have left, on the fullest file system."""
    return _fullest(facts, _space, _space_message, _space_evidence)


@rule(
    resource="filesystem",
    cause="filesystem_full",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.95,
    critical=0.98,
    source="node-mixin NodeFilesystemAlmostOutOfFiles (5 % and 3 % left); a large table is "
    "judged by the inodes left: 100,000 and 40,000",
    gate="mounted read-write; beyond 2 million inodes judged as if it had 2 million",
    explanation='No file can be made any more once the inodes are used up: "no space left on '
    'device" with room to spare.',
    next_steps=("Find the directory with too many files; see the recommendation.",),
    advise=_find_files,
)
def filesystem_inodes(facts: Facts) -> Signal | None:
    """Watch the inodes that are left, on the file system that has fewest."""
    return _fullest(facts, _inodes, _inodes_message, _inodes_evidence)


@rule(
    resource="filesystem",
    cause="filesystem_damage",
    kind=Kind.ERRORS,
    unit="file systems",
    warning=0.5,
    critical=1,
    source="the kernel stops writing to save what is left (ext4 errors=remount-ro, btrfs, xfs "
    "shutdown), ext4(5); a person's `mount -o ro` marks the mount as well and is not counted",
    explanation="The kernel stopped all writing to a file system after an error.",
    next_steps=("dmesg | grep -iE 'ext4|xfs|btrfs|I/O error'", "Save the data, then fsck."),
    at_once=True,
)
def filesystem_readonly(facts: Facts) -> Signal | None:
    """Watch for file systems that were mounted to be written and no longer can be."""
    found = _found(facts)
    if found is None:
        return None
    stopped = [f for f in found if f.stopped]
    names = ", ".join(f.mount for f in stopped[:3])
    earlier = facts.before(FilesystemSample)
    fine = {f.mount for f in earlier.filesystems if not f.stopped} if earlier else set()
    news = " since the sweep before" if any(f.mount in fine for f in stopped) else ""
    return _counted(
        stopped,
        f"The kernel made {names} read-only{news}" if stopped else "All are writable as mounted",
        "file systems the kernel made read-only",
        "super options of /proc/1/mountinfo",
    )


@rule(
    resource="filesystem",
    cause="filesystem_damage",
    kind=Kind.ERRORS,
    unit="errors",
    warning=1,
    critical=5,
    scale=Scale.LOG,
    source="any error is damage: Documentation/ABI/testing/sysfs-fs-ext4, btrfs-device(8) stats",
    explanation="A file system found its own structures damaged or unreadable.",
    next_steps=("dmesg | grep -iE 'ext4|btrfs|I/O error'", "Check the disk, then fsck."),
    at_once=True,
)
def filesystem_errors(facts: Facts) -> Signal | None:
    """Watch the errors that file systems found since the sweep before, or in the window."""
    found = _found(facts)
    if found is None:
        return None
    earlier = facts.before(FilesystemSample)
    before = {(f.mount, f.source): f.errors for f in earlier.filesystems} if earlier else {}
    rises = {f: _rise(f, before.get((f.mount, f.source))) for f in found}
    known = {f: r for f, r in rises.items() if r is not None}
    if not known:
        return None
    worst = max(known, key=lambda f: known[f])
    count = known[worst]
    return Signal(
        value=float(count),
        message=f"{worst.mount} ({worst.type} on {worst.source}) found {count} errors in itself"
        if count
        else "No file system found an error in itself",
        subject=worst.mount if count else None,
        evidence=(Evidence("new errors", count, "errors", "/sys/fs/ext4/*/errors_count"),),
        culprits=(_culprit(worst, count, "errors"),) if count else (),
    )


@rule(
    resource="filesystem",
    cause="filesystem_hung",
    kind=Kind.ERRORS,
    unit="s",
    warning=2,
    critical=55,
    scale=Scale.LOG,
    source="statvfs answers out of memory within milliseconds, over a network within a second; "
    "unanswered from one sweep to the next the server or its process is gone",
    explanation="A mount does not answer: every program that touches it waits, and may not be "
    "killable.",
    next_steps=("Look at the server or the FUSE process.", "umount -l detaches the mount."),
)
def filesystem_hung(facts: Facts) -> Signal | None:
    """Watch for mounts that do not answer."""
    sample = facts.sample(FilesystemSample)
    if sample is None:
        return None
    if not sample.hung:
        return Signal(0.0, "Every mount that was asked answered")
    worst = max(sample.hung, key=lambda h: h.seconds)
    where = f", in {worst.where}" if worst.where else ""
    more = f", and {len(sample.hung) - 1} more" if len(sample.hung) > 1 else ""
    return Signal(
        value=worst.seconds,
        message=f"{worst.mount} ({worst.type}, {worst.source}) has not answered for "
        f"{duration(worst.seconds)}{where}{more}",
        subject=worst.mount,
        evidence=(Evidence("without an answer", worst.seconds, "s", "statvfs"),),
        culprits=tuple(
            Culprit("mount", h.mount, value=h.seconds, unit="s", detail=f"{h.type} {h.source}")
            for h in sorted(sample.hung, key=lambda h: -h.seconds)[:5]
        ),
    )


@rule(
    resource="filesystem",
    cause="filesystem_hung",
    kind=Kind.ERRORS,
    unit="file systems",
    warning=1,
    critical=None,
    source="statvfs(3): it fails so only when the server, the process or the device is gone",
    explanation="A mount answers every question with an error.",
    next_steps=("Mount it again.", "Look at the server or the device."),
)
def filesystem_broken(facts: Facts) -> Signal | None:
    """Watch for mounts that answer with an error that means they are gone."""
    found = _found(facts)
    if found is None:
        return None
    broken = [f for f in found if f.failure in _BROKEN]
    names = ", ".join(f"{f.mount} ({f.failure})" for f in broken[:3])
    message = f"Nothing can be read from {names}" if broken else "No mount is broken"
    return _counted(broken, message, "mounts that answer with an error", "statvfs")


def _found(facts: Facts) -> tuple[Filesystem, ...] | None:
    """Give the file systems; None when unknown."""
    sample = facts.sample(FilesystemSample)
    return None if sample is None else sample.filesystems


def _space(found: Filesystem) -> float | None:
    """Give the share of the room that is not available, of a size of at most 100 GiB."""
    if not found.size_bytes or found.available_bytes is None or found.used is None:
        return None
    # What is kept for root cannot be used up by others, so it is no room of theirs.
    total = found.available_bytes / (1 - found.used) if found.used < 1 else found.size_bytes
    return max(1 - found.available_bytes / min(total, _LARGE), 0.0)


def _space_message(found: Filesystem) -> str:
    """Tell how full a file system is."""
    return (
        f"{found.mount} has {size(found.available_bytes)} of {size(found.size_bytes)} left for "
        f"ordinary users: {percent(found.used)} used"
    )


def _space_evidence(found: Filesystem) -> tuple[Evidence, ...]:
    """Give the numbers on the room."""
    return (
        Evidence("available", found.available_bytes, "bytes", f"statvfs {found.mount} f_bavail"),
        Evidence("used", found.used, "ratio", f"statvfs {found.mount}"),
    )


def _inodes(found: Filesystem) -> float | None:
    """Give the share of the inodes that is not available, of at most two million."""
    if not found.inodes or found.inodes_available is None:
        return None
    return max(1 - found.inodes_available / min(found.inodes, _MANY_INODES), 0.0)


def _inodes_message(found: Filesystem) -> str:
    """Tell how many inodes are left."""
    return f"{found.mount} has {found.inodes_available:,} of {found.inodes:,} inodes left"


def _inodes_evidence(found: Filesystem) -> tuple[Evidence, ...]:
    """Give the numbers on the inodes."""
    source = f"statvfs {found.mount} f_favail"
    return (Evidence("inodes left", found.inodes_available, "inodes", source),)


def _fullest(
    facts: Facts,
    level: Callable[[Filesystem], float | None],
    message: Callable[[Filesystem], str],
    evidence: Callable[[Filesystem], tuple[Evidence, ...]],
) -> Signal | None:
    """Look at the file system of the highest level."""
    levels = {f: level(f) for f in _found(facts) or () if not f.read_only}
    known = {f: v for f, v in levels.items() if v is not None}
    if not known:
        return None
    ranked = sorted(known, key=lambda f: -known[f])
    worst = ranked[0]
    return Signal(
        value=known[worst],
        message=message(worst),
        subject=worst.mount,
        evidence=evidence(worst),
        culprits=tuple(_culprit(f, known[f], "ratio") for f in ranked[:3] if known[f] >= 0.9),  # noqa: PLR2004
    )


def _rise(found: Filesystem, before: int | None) -> int | None:
    """Give the new errors since the sweep before, or within the window where there was none."""
    if found.errors is None:
        return None
    if before is None or found.errors < before:
        return found.errors_increase
    return found.errors - before


def _counted(found: list[Filesystem], message: str, text: str, source: str) -> Signal:
    """Make a signal of the number of file systems."""
    return Signal(
        value=float(len(found)),
        message=message,
        subject=found[0].mount if found else None,
        evidence=(Evidence(text, len(found), "file systems", source),),
        culprits=tuple(_culprit(f, None, "") for f in found[:5]),
    )


def _culprit(found: Filesystem, value: float | None, unit: str) -> Culprit:
    """Name a file system."""
    detail = f"{found.type} on {found.source}"
    return Culprit("mount", found.mount, value=value, unit=unit, detail=detail)
