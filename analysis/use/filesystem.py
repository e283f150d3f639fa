"""Use of the file systems."""

from __future__ import annotations

from analysis.model import Facts
from analysis.registry import use
from analysis.use_model import DeviceUse, ErrorCount, ResourceUse
from collectors.filesystem import Filesystem, FilesystemSample
from collectors.model import UNKNOWN, Distribution

MOST_DEVICES = 32


@use("filesystem")
def filesystem(facts: Facts) -> ResourceUse | None:
    """
    Tell how full the file systems are and what errors they found in themselves.

    Args:
        facts: What is known of the host.

    Returns:
        Used share of the fullest that can be written, of its room and of its
        inodes; None when the mounts are unknown.

    Source:
        statvfs(3); /sys/fs/ext4/*/errors_count; storage capacity in the USE
        method's checklist for Linux, Brendan Gregg.

    """
    sample = facts.sample(FilesystemSample)
    if sample is None:
        return None
    writable = [f for f in sample.filesystems if not f.read_only]
    used = [f.used for f in writable if f.used is not None]
    inodes = [f.inodes_used for f in writable if f.inodes_used is not None]
    totals = [f.errors for f in sample.filesystems if f.errors is not None]
    rises = [f.errors_increase for f in sample.filesystems if f.errors_increase is not None]
    return ResourceUse(
        utilization=_level(max(used, default=None)),
        saturation={"inodes": max(inodes, default=None)},
        errors={
            "metadata": ErrorCount(sum(totals) if totals else None, sum(rises) if rises else None)
        },
        devices={f.mount: _device(f) for f in _bounded(sample.filesystems)},
    )


def _device(found: Filesystem) -> DeviceUse:
    """Tell one file system's use."""
    return DeviceUse(
        utilization=_level(found.used),
        saturation={"inodes": found.inodes_used},
        errors={"metadata": ErrorCount(found.errors, found.errors_increase)},
    )


def _bounded(found: tuple[Filesystem, ...]) -> list[Filesystem]:
    """Keep the fullest file systems, in the order of mounting."""
    ranked = sorted(found, key=lambda f: -(f.used or 0.0))[:MOST_DEVICES]
    mounts = {f.mount for f in ranked}
    return [f for f in found if f.mount in mounts]


def _level(share: float | None) -> Distribution:
    """Give a level that was read once."""
    return UNKNOWN if share is None else Distribution(share, share)
