"""Reading one control group's files, of either generation, into plain numbers."""

from __future__ import annotations

import os
from collections.abc import Collection

from collectors.cgroup_tree import Hierarchies
from collectors.text import key_values, natural_or_none

Numbers = dict[str, int]

_READ = 1 << 16
# v1 says "unlimited" as the largest page count there is, rounded down to pages.
_UNLIMITED = 1 << 62
_NANO = 1_000
_STALLS = ("cpu", "memory", "io")
_CPU_STAT = {
    "usage_usec": "cpu",
    "throttled_usec": "throttled_time",
    "nr_periods": "periods",
    "nr_throttled": "throttled",
}
_MEMORY_EVENTS = {k: k for k in ("oom", "oom_kill", "high", "max")}
_PIDS_EVENTS = {"max": "fork_refused"}
# A device's bytes reach the device below it as well and must not count twice:
# loop devices and software RAID by their fixed numbers.
STACKED = frozenset({b"7", b"9"})


def counters(tree: Hierarchies, path: str, stacked: Collection[bytes] = STACKED) -> Numbers:
    """
    Read what a group has counted since it exists.

    Args:
        tree: The hierarchies.
        path: The group's path.
        stacked: Major numbers of devices that stand on other devices.

    Returns:
        dict name -> number; what is not told is not in it. cpu [us], periods,
        throttled, throttled_time [us], oom, oom_kill, high, max, fork_refused,
        read [bytes], write [bytes], and some and full stalls [us] such as "memory_full".

    Source:
        v2: cpu.stat, memory.events, pids.events, io.stat, *.pressure
        (Documentation/admin-guide/cgroup-v2.rst). v1: cpuacct.usage, cpu.stat,
        memory.oom_control, pids.events, blkio.throttle.io_service_bytes
        (Documentation/admin-guide/cgroup-v1/).

    """
    found = _counters_v1(tree.v1, path, stacked) if tree.v1 else {}
    if tree.unified is not None:
        found |= _counters_v2(tree.unified + path, tree.features, stacked)
    return found


def levels(tree: Hierarchies, path: str) -> Numbers:
    """
    Read what a group uses now and what it may use.

    Args:
        tree: The hierarchies.
        path: The group's path.

    Returns:
        dict name -> number: memory, anon, inactive_file, active_file,
        shmem, slab_reclaimable [bytes], pids, and what `limits` says.

    Source:
        v2: memory.current, memory.stat, pids.current. v1:
        memory.usage_in_bytes, memory.stat (the total_ lines), pids.current.

    """
    found: Numbers = {}
    if "memory" in tree.v1:
        base = tree.v1["memory"] + path
        _put(found, "memory", base + "/memory.usage_in_bytes")
        found |= parse_memory_stat(read(base + "/memory.stat"), b"total_")
    elif tree.unified is not None and "memory" in tree.features:
        base = tree.unified + path
        _put(found, "memory", base + "/memory.current")
        found |= parse_memory_stat(read(base + "/memory.stat"))
    if "pids" in tree.v1:
        _put(found, "pids", tree.v1["pids"] + path + "/pids.current")
    elif tree.unified is not None and "pids" in tree.features:
        _put(found, "pids", tree.unified + path + "/pids.current")
    return found | limits(tree, path)


def limits(tree: Hierarchies, path: str) -> Numbers:
    """
    Read what a group itself may use at most.

    Args:
        tree: The hierarchies.
        path: The group's path.

    Returns:
        dict name -> number; an absent one is not limited: quota [us of CPU time
        per second], memory_limit [bytes], memory_high [bytes], pids_limit.

    Source:
        v2: cpu.max, memory.max, memory.high, pids.max. v1: cpu.cfs_quota_us,
        cpu.cfs_period_us, memory.limit_in_bytes, pids.max.

    """
    found: Numbers = {}
    if "cpu" in tree.v1:
        base = tree.v1["cpu"] + path
        quota = read(base + "/cpu.cfs_quota_us").strip()
        # An unlimited group says -1: the period is of no interest then.
        if quota.isdigit():
            found |= parse_quota(quota + b" " + read(base + "/cpu.cfs_period_us"))
    if "memory" in tree.v1:
        _put(found, "memory_limit", tree.v1["memory"] + path + "/memory.limit_in_bytes")
    if "pids" in tree.v1:
        _put(found, "pids_limit", tree.v1["pids"] + path + "/pids.max")
    if tree.unified is not None:
        found |= _limits_v2(tree.unified + path, tree.features)
    return {k: v for k, v in found.items() if v < _UNLIMITED}


def populated(tree: Hierarchies, path: str) -> bool:
    """
    Tell whether a group has processes of its own.

    Args:
        tree: The hierarchies.
        path: The group's path.

    Returns:
        True when it has one in any hierarchy.

    Source:
        cgroup.procs.

    """
    return any(read(f"{base}{path}/cgroup.procs", 1) for base in tree.directories())


def parse_quota(raw: bytes) -> Numbers:
    """
    Parse a CPU quota.

    Args:
        raw: Content of cpu.max: microseconds of CPU time, then of each period.

    Returns:
        "quota" [us of CPU time per second]; nothing when it is "max".

    """
    fields = raw.split()
    quota, period = (natural_or_none(f) for f in [*fields, b"", b""][:2])
    return {"quota": quota * 1_000_000 // period} if quota and period else {}


def parse_memory_stat(raw: bytes, prefix: bytes = b"") -> Numbers:
    """
    Pick from a group's memory statistics.

    Args:
        raw: Content of memory.stat.
        prefix: "total_" for the v1 lines that include subgroups.

    Returns:
        dict name -> bytes, for the kinds of memory that matter here.

    """
    wanted = {
        prefix + (b"rss" if prefix else b"anon"): "anon",
        prefix + b"inactive_file": "inactive_file",
        prefix + b"active_file": "active_file",
        prefix + b"shmem": "shmem",
        b"slab_reclaimable": "slab_reclaimable",
    }
    found: Numbers = {}
    text = b"\n" + raw
    for key, name in wanted.items():
        # Searching beats splitting: the file has some sixty lines.
        _, _, rest = text.partition(b"\n" + key + b" ")
        value = natural_or_none(rest.partition(b"\n")[0])
        if value is not None:
            found[name] = value
    return found


def parse_stalls(raw: bytes, name: str) -> Numbers:
    """
    Pick the stall totals from a pressure file.

    Args:
        raw: Content of a *.pressure file.
        name: Of the resource, for the keys.

    Returns:
        Such as "memory_some" and "memory_full" [us].

    """
    found: Numbers = {}
    for line in raw.splitlines():
        total = natural_or_none(line.rpartition(b"total=")[2])
        kind = line[:5]
        if total is not None and kind in (b"some ", b"full "):
            found[f"{name}_{kind.strip().decode('ascii')}"] = total
    return found


def parse_io(raw: bytes, stacked: Collection[bytes] = STACKED) -> Numbers:
    """
    Add up a v2 group's bytes over the devices.

    Args:
        raw: Content of io.stat.
        stacked: Major numbers of devices that stand on others, which are left out.

    Returns:
        "read" and "write" [bytes]; a group that did no I/O has none of both.

    """
    total = {"read": 0, "write": 0}
    for device, *fields in (line.split() for line in raw.splitlines() if line.strip()):
        if device.partition(b":")[0] in stacked:
            continue
        pairs = dict(f.partition(b"=")[::2] for f in fields)
        total["read"] += natural_or_none(pairs.get(b"rbytes")) or 0
        total["write"] += natural_or_none(pairs.get(b"wbytes")) or 0
    return total


def parse_service_bytes(raw: bytes, stacked: Collection[bytes] = STACKED) -> Numbers:
    """
    Add up a v1 group's bytes over the devices.

    Args:
        raw: Content of blkio.throttle.io_service_bytes_recursive.
        stacked: Major numbers of devices that stand on others, which are left out.

    Returns:
        "read" and "write" [bytes].

    """
    total = {"read": 0, "write": 0}
    for fields in (line.split() for line in raw.splitlines()):
        if len(fields) != 3 or fields[0].partition(b":")[0] in stacked:  # noqa: PLR2004
            continue
        key = fields[1].decode("ascii", "replace").lower()
        if key in total:
            total[key] += natural_or_none(fields[2]) or 0
    return total


def read(path: str, limit: int = _READ) -> bytes:
    """
    Read a group's file, which may vanish with its group at any time.

    Args:
        path: The file.
        limit: Most that is read [bytes].

    Returns:
        Its content; nothing when it cannot be read.

    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(handle, limit)
    except OSError:
        # The group is gone, or pressure accounting is off for it.
        return b""
    finally:
        os.close(handle)


def _counters_v2(base: str, features: Collection[str], stacked: Collection[bytes]) -> Numbers:
    """Read the counters of the unified hierarchy."""
    # Every group has this file, with the controller or without it.
    found = _renamed(key_values(read(base + "/cpu.stat")), _CPU_STAT)
    if "memory" in features:
        found |= _renamed(key_values(read(base + "/memory.events")), _MEMORY_EVENTS)
    if "pids" in features:
        found |= _renamed(key_values(read(base + "/pids.events")), _PIDS_EVENTS)
    if "io" in features:
        found |= parse_io(read(base + "/io.stat"), stacked)
    if "pressure" in features:
        for name in _STALLS:
            found |= parse_stalls(read(f"{base}/{name}.pressure"), name)
    return found


def _counters_v1(v1: dict[str, str], path: str, stacked: Collection[bytes]) -> Numbers:
    """Read the counters of the split hierarchies."""
    found: Numbers = {}
    if "cpuacct" in v1:
        _put(found, "cpu", v1["cpuacct"] + path + "/cpuacct.usage")
    if "cpu" in v1:
        found |= key_values(read(v1["cpu"] + path + "/cpu.stat"))
    found = _renamed(found, {"cpu": "cpu", "nr_periods": "periods", "nr_throttled": "throttled",
                             "throttled_time": "throttled_time"})  # fmt: skip
    for key in ("cpu", "throttled_time"):
        if key in found:
            found[key] //= _NANO
    if "memory" in v1:
        control = key_values(read(v1["memory"] + path + "/memory.oom_control"))
        found |= _renamed(control, {"oom_kill": "oom_kill"})
    if "pids" in v1:
        events = key_values(read(v1["pids"] + path + "/pids.events"))
        found |= _renamed(events, _PIDS_EVENTS)
    if "blkio" in v1:
        file = v1["blkio"] + path + "/blkio.throttle.io_service_bytes"
        raw = read(file + "_recursive") or read(file)
        found |= parse_service_bytes(raw, stacked) if raw else {}
    return found


def _limits_v2(base: str, features: Collection[str]) -> Numbers:
    """Read the limits of the unified hierarchy."""
    found: Numbers = {}
    if "cpu" in features:
        found |= parse_quota(read(base + "/cpu.max"))
    if "memory" in features:
        _put(found, "memory_limit", base + "/memory.max")
        _put(found, "memory_high", base + "/memory.high")
    if "pids" in features:
        _put(found, "pids_limit", base + "/pids.max")
    return found


def _renamed(table: Numbers, names: dict[str, str]) -> Numbers:
    """Keep some entries under other names."""
    return {new: table[old] for old, new in names.items() if old in table}


def _put(table: Numbers, name: str, path: str) -> None:
    """Add a file's number, unless it is none ("max")."""
    value = natural_or_none(read(path))
    if value is not None:
        table[name] = value
