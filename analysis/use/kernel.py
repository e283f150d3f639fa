"""Use of what the kernel has only so much of."""

from __future__ import annotations

from analysis.model import DeviceUse, Facts, ResourceUse
from analysis.registry import use
from collectors.limits import LimitsSample
from collectors.model import Distribution
from collectors.rates import ratio


@use("kernel")
def kernel(facts: Facts) -> ResourceUse | None:
    """
    Tell how much of the host's open files, tasks and process ids is taken.

    Args:
        facts: What is known of the host.

    Returns:
        One device for each of the three; None when the limits are unknown.

    Source:
        /proc/sys/fs/file-nr, /proc/loadavg, kernel.threads-max and kernel.pid_max.

    """
    sample = facts.sample(LimitsSample)
    if sample is None:
        return None
    shares = {
        "file_descriptors": ratio(sample.files, sample.files_max),
        "tasks": ratio(sample.tasks, sample.threads_max),
        "pids": ratio(sample.tasks, sample.pid_max),
    }
    return ResourceUse(
        devices={n: DeviceUse(Distribution(s, s)) for n, s in shares.items() if s is not None}
    )
