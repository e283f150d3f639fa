"""Rules on what users run out of although the host does not: terminals, keys, watched files."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.advice import sysctl
from analysis.model import Culprit, Evidence, Facts, Kind, Recommendation, Signal
from analysis.registry import rule
from analysis.text import percent
from collectors.inotify import Watcher
from collectors.limits import KeyUser, LimitsSample
from collectors.rates import ratio

_MOST = 5
_FAR = 0.5


def _more_watches(facts: Facts, _: Signal) -> Iterable[Recommendation]:
    """Advise twice as many of what is nearly used up: watches, instances, or both."""
    sample = facts.sample(LimitsSample)
    if sample is None or not sample.inotify_users:
        return
    for name, limit in (
        ("watches", sample.inotify_watches_max),
        ("instances", sample.inotify_instances_max),
    ):
        used = max(getattr(user, name) for user in sample.inotify_users)
        # Raising the limit that is far away would change nothing.
        if limit and used >= _FAR * limit:
            yield from sysctl(
                facts,
                f"fs.inotify.max_user_{name}",
                2 * limit,
                rule="inotify_limit",
                resource="kernel",
                direction="raise",
                why="Programs that watch files fail at the limit, or stop noticing changes.",
                risk="a watch takes up to 1 KiB of kernel memory; look at the culprit first",
                source="inotify(7), /proc interfaces",
            )


@rule(
    resource="kernel",
    cause="terminals",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.60,
    critical=0.90,
    source="Documentation/admin-guide/sysctl/kernel.rst, pty: the last kernel.pty.reserve (1,024 "
    "of 4,096) are kept for the host's own, so that containers fail from 75 % on; warned of "
    "before that",
    explanation="The host runs out of terminals; then nobody can log in over the network, and "
    "nobody can look into a container.",
    next_steps=("ls /dev/pts | wc -l", "ps -eo tty,user,comm | grep pts: who keeps so many open?"),
)
def terminals(facts: Facts) -> Signal | None:
    """Watch pseudo-terminals against their limit."""
    sample = facts.sample(LimitsSample)
    share = ratio(sample.terminals, sample.terminals_max) if sample else None
    if sample is None or share is None:
        return None
    return Signal(
        value=share,
        message=f"{sample.terminals} of {sample.terminals_max} pseudo-terminals are in use",
        evidence=(Evidence("terminals", share, "ratio", "/proc/sys/kernel/pty/nr, max"),),
    )


@rule(
    resource="kernel",
    cause="key_quota",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.80,
    critical=0.95,
    source="keyrings(7), /proc/sys/kernel/keys: at maxkeys or maxbytes adding a key fails with "
    "EDQUOT; warned of in the last fifth, critical in the last twentieth",
    explanation="A user may hardly hold any more kernel keys; then logins of that user and starts "
    'of containers fail with "disk quota exceeded", though no disk is full.',
    next_steps=("cat /proc/key-users", "sysctl kernel.keys; raise maxkeys and maxbytes."),
)
def key_quota(facts: Facts) -> Signal | None:
    """Watch the user who is nearest to the quota of kernel keys."""
    sample = facts.sample(LimitsSample)
    if sample is None or not sample.key_users:
        return None
    worst = max(sample.key_users, key=lambda u: u.utilization)
    return Signal(
        value=worst.utilization,
        message=f"User {worst.user} holds {percent(worst.utilization)} of the kernel keys allowed",
        subject=f"uid {worst.user}",
        evidence=(
            Evidence("keys", worst.keys, "keys", "/proc/key-users"),
            Evidence("keys allowed", worst.keys_max, "keys", "/proc/key-users"),
            Evidence("their memory", worst.bytes, "bytes", "/proc/key-users"),
            Evidence("memory allowed", worst.bytes_max, "bytes", "/proc/key-users"),
        ),
        culprits=tuple(map(_keyholder, sample.key_users[:_MOST])),
    )


@rule(
    resource="kernel",
    cause="inotify",
    kind=Kind.CAPACITY,
    unit="ratio",
    warning=0.80,
    critical=0.95,
    source="inotify(7): at the limit inotify_add_watch fails with ENOSPC and inotify_init with "
    "EMFILE; warned of in the last fifth, critical in the last twentieth",
    gate="windows of 30 s and more: quick sweeps do not walk all descriptors",
    explanation='A user may watch hardly any more files; then programs fail with "no space left '
    'on device" or "too many open files", or miss changes.',
    next_steps=(
        "grep -c inotify /proc/PID/fdinfo/* of the culprit",
        "sysctl fs.inotify",
    ),
    advise=_more_watches,
    at_once=True,
    window=30.0,
)
def inotify_limit(facts: Facts) -> Signal | None:
    """Watch what the busiest user watches against the limits of each user."""
    sample = facts.sample(LimitsSample)
    if sample is None or sample.inotify_users is None:
        return None
    known = [(s, u) for u in sample.inotify_users if (s := _watched(sample, u)) is not None]
    if not known:
        return None if sample.inotify_users else Signal(0.0, "Nobody watches files")
    share, worst = max(known, key=lambda pair: pair[0])
    return Signal(
        value=share,
        message=f"User {worst.user} has {worst.watches:,} watches on files in {worst.instances} "
        f"inotify instances, {percent(share)} of what one user may have; most are of "
        f"{worst.process}",
        subject=f"uid {worst.user}",
        evidence=(
            Evidence("watches", worst.watches, "watches", "/proc/PID/fdinfo inotify"),
            Evidence("watches allowed", sample.inotify_watches_max, "watches", "max_user_watches"),
            Evidence("instances", worst.instances, "instances", "/proc/PID/fd inotify"),
            Evidence(
                "instances allowed", sample.inotify_instances_max, "instances", "max_user_instances"
            ),
        ),
        culprits=(_watcher(worst, share),),
    )


def _watched(sample: LimitsSample, user: Watcher) -> float | None:
    """Give the nearer of a user's two limits."""
    shares = (
        ratio(user.watches, sample.inotify_watches_max),
        ratio(user.instances, sample.inotify_instances_max),
    )
    return max((s for s in shares if s is not None), default=None)


def _watcher(user: Watcher, share: float) -> Culprit:
    """Name the process that watches most for a user."""
    name, _, pid = user.process.rpartition(" (")
    return Culprit("process", name, pid.rstrip(")"), share, "ratio", None, f"uid {user.user}")


def _keyholder(user: KeyUser) -> Culprit:
    """Name a user as the culprit; the kernel does not tell which process made a key."""
    return Culprit("user", f"uid {user.user}", None, float(user.keys), "keys", user.utilization)
