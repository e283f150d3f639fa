"""Use of what the kernel has only so much of."""

from __future__ import annotations

from analysis.model import Facts
from analysis.registry import use
from analysis.use_model import DeviceUse, ResourceUse
from collectors.limits import LimitsSample
from collectors.rates import distribution, ratio


@use("kernel")
def kernel(facts: Facts) -> ResourceUse | None:
    """
    Tell how much is taken of the host's files, tasks, process ids and asynchronous I/O.

    Args:
        facts: What is known of the host.

    Returns:
        One device for each that has a limit; None when the limits are unknown.

    Source:
        /proc/sys/fs/file-nr, /proc/loadavg, kernel.threads-max, kernel.pid_max,
        fs.aio-nr and fs.aio-max-nr.

    """
    sample = facts.sample(LimitsSample)
    if sample is None:
        return None
    requests = ratio(sample.aio_requests, sample.aio_requests_max)
    uses = {
        "file_descriptors": sample.files_utilization,
        "tasks": sample.tasks_utilization,
        "pids": sample.pids_utilization,
        "aio_requests": distribution([requests]),
    }
    return ResourceUse(devices={n: DeviceUse(u) for n, u in uses.items() if u.mean is not None})
