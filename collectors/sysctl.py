"""Kernel settings that rules and advice look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collectors.base import Context, collector
from collectors.model import Unavailable
from collectors.text import label

_IPV4 = (
    "tcp_congestion_control", "tcp_available_congestion_control", "tcp_rmem", "tcp_wmem",
    "tcp_mem", "udp_mem", "tcp_max_syn_backlog",
    "tcp_tw_reuse", "tcp_max_tw_buckets", "tcp_max_orphans", "tcp_keepalive_time",
    "tcp_keepalive_intvl", "tcp_keepalive_probes", "ip_local_port_range", "tcp_fin_timeout",
    "tcp_slow_start_after_idle", "tcp_fastopen", "tcp_syncookies", "tcp_notsent_lowat",
    "tcp_mtu_probing", "tcp_moderate_rcvbuf", "tcp_adv_win_scale", "tcp_abort_on_overflow",
    "ip_local_reserved_ports", "neigh.default.gc_thresh1", "neigh.default.gc_thresh2",
    "neigh.default.gc_thresh3",
)  # fmt: skip
_CORE = (
    "somaxconn", "netdev_budget", "netdev_budget_usecs", "netdev_max_backlog", "rmem_max",
    "wmem_max", "rmem_default", "wmem_default", "optmem_max", "default_qdisc",
)  # fmt: skip
_VM = (
    "swappiness", "overcommit_memory", "overcommit_ratio", "overcommit_kbytes", "dirty_ratio",
    "dirty_bytes", "dirty_background_ratio", "dirty_background_bytes", "min_free_kbytes",
    "watermark_scale_factor", "watermark_boost_factor", "dirty_expire_centisecs",
    "dirty_writeback_centisecs", "zone_reclaim_mode", "max_map_count", "extfrag_threshold",
    "compaction_proactiveness", "vfs_cache_pressure", "page-cluster", "panic_on_oom",
    "oom_kill_allocating_task",
)  # fmt: skip
# The two of the scheduler left /proc/sys with 5.13 and are None since.
_KERNEL = (
    "numa_balancing", "pid_max", "threads-max", "sched_latency_ns", "sched_min_granularity_ns",
    "dmesg_restrict", "panic", "panic_on_oops", "hung_task_timeout_secs",
)  # fmt: skip
_FS = (
    "file-max", "nr_open", "inotify.max_user_instances", "inotify.max_user_watches",
    "inotify.max_queued_events", "aio-max-nr", "aio-nr",
)  # fmt: skip
WANTED: tuple[str, ...] = (
    *(f"net.ipv4.{n}" for n in _IPV4),
    *(f"net.core.{n}" for n in _CORE),
    *(f"vm.{n}" for n in _VM),
    *(f"kernel.{n}" for n in _KERNEL),
    *(f"fs.{n}" for n in _FS),
    "net.ipv6.neigh.default.gc_thresh1",
    "net.ipv6.neigh.default.gc_thresh2",
    "net.ipv6.neigh.default.gc_thresh3",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
)
_SWAPPED = str.maketrans("./", "/.")


_LONGEST = 4096  # [bytes] of one setting


@dataclass(frozen=True, slots=True)
class SysctlSample:
    """
    Kernel settings.

    Attributes:
        values: Dotted name to value with single blanks; None where this kernel has none.

    """

    values: Mapping[str, str | None]


@collector(category="kernel")
def collect(ctx: Context) -> SysctlSample:
    """
    Read each wanted setting once.

    Args:
        ctx: Paths.

    Returns:
        The settings.

    Raises:
        Unavailable: When there is no sysctl tree.

    Source:
        /proc/sys, Documentation/admin-guide/sysctl.

    """
    tree = ctx.paths.proc / "sys"
    if not tree.is_dir():
        raise Unavailable(f"{tree} does not exist")
    # Joining 80 paths takes as long as reading half of the files.
    files = ctx.memory.setdefault(str(tree), {name: tree / path_of(name) for name in WANTED})
    raws = {name: ctx.try_read(file, limit=_LONGEST) for name, file in files.items()}
    return SysctlSample({n: None if r is None else parse(r) for n, r in raws.items()})


def path_of(name: str) -> str:
    """
    Give the file of a setting.

    Args:
        name: Dotted; a slash in it stands for a dot in a file's name, as in
            "net.ipv4.conf.eth0/100.rp_filter".

    Returns:
        Its path below /proc/sys.

    Source:
        sysctl(8): either of both may separate, then the other is part of a name.

    """
    return name.translate(_SWAPPED)


def parse(raw: bytes) -> str:
    """
    Read a setting.

    Args:
        raw: The file's content.

    Returns:
        The value, its fields separated by single blanks.

    """
    return label(b" ".join(raw.split()), 128)
